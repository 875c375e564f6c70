"""Requests that a stopping server cuts off."""

import asyncio
import json

import pytest

from icl.service.stopping import STOPPING, AnswerBeforeStopping


def cut_off(app, kind="http"):
    """What is sent when the server cancels a request."""
    sent = []

    async def send(message):
        sent.append(message)

    async def run():
        scope = {"type": kind, "method": "POST", "path": "/api/classify", "headers": []}
        task = asyncio.create_task(AnswerBeforeStopping(app)(scope, None, send))
        await asyncio.sleep(0.01)
        task.cancel()  # as uvicorn does when it has waited long enough
        await task

    return run, sent


async def slow(scope, receive, send):
    await asyncio.sleep(60)


async def slow_in_the_middle(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await asyncio.sleep(60)


def test_a_request_that_is_cut_off_is_told_to_come_again():
    run, sent = cut_off(slow)
    asyncio.run(run())
    start, body = sent
    assert start["status"] == 503
    assert (b"retry-after", b"10") in start["headers"]
    assert json.loads(body["body"]) == {"error": STOPPING}


@pytest.mark.parametrize(("app", "kind"), [(slow_in_the_middle, "http"), (slow, "websocket")])
def test_half_an_answer_and_a_socket_end_as_they_are(app, kind):
    run, sent = cut_off(app, kind)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    assert len(sent) == (kind == "http")
