"""What no page sends: one line of the log at most, no trace, and the others are answered."""

import asyncio
import json
import urllib.error
import urllib.request
import uuid

import pytest

from icl.chat.patches import events, session_ids
from tests.support import hostile_uploads
from tests.support.lazy import lazy
from tests.support.pages import free_port
from tests.support.signed_in import OpenPage, Visitor, page_of_a_class

socketio = lazy("socketio")


def message(**changes):
    """What the page sends, with some of it changed."""
    sent = {
        "id": str(uuid.uuid4()),
        "type": "user_message",
        "name": "anna",
        "output": "hello",
        "createdAt": "2026-01-01T00:00:00Z",
        "threadId": "",
        "metadata": {"location": "http://127.0.0.1/"},
        "command": None,
        "modes": {"selector": "topk"},
    }
    return {"message": sent | changes, "fileReferences": []}


def deep(levels=400):
    value = []
    for _ in range(levels):
        value = [value]
    return value


# --- what is taken ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        message(),
        message(output=""),
        message(modes=None, command="batch"),
        message(output="half \ud83d a pair"),
        {"message": message()["message"]},
        {**message(), "fileReferences": [{"id": "a"}]},
    ],
)
def test_what_the_page_sends_is_taken(sent):
    events.CHECKS["client_message"]((sent,))


VALUES = [
    *(None, True, -1, 1e308, "", "\x1b[31mred\x07", "a\nb", [], [1], {}, deep(), "x" * 100_000),
    {"message": None}, {"message": []}, {"message": {}}, {"message": {"id": None}},
    *({"message": message()["message"], "fileReferences": each} for each in (5, [5], [{"id": []}])),
    *(
        message(**{name: value})
        for name in ("id", "type", "output", "createdAt", "name", "modes", "command", "metadata")
        for value in (5, ["x"], {"a": {"b": deep(50)}}, 1.5)
    ),
]  # fmt: skip


def is_taken(event, value):
    try:
        events.CHECKS[event]((value,))
    except (ValueError, RecursionError):
        return False
    return True


@pytest.mark.parametrize("event", events.CHECKS)
def test_nothing_else_is(event):
    taken = [value for value in VALUES if is_taken(event, value)]
    plain = [{}, {"message": None}]
    usual = {"client_message": [], "chat_settings_change": plain, "chat_settings_edit": plain}
    assert taken == usual.get(event, [None])


@pytest.mark.parametrize(
    "said",
    [
        *(None, 5, "x", [], {}),
        {"sessionId": str(uuid.uuid4())},
        {"sessionId": str(uuid.uuid4()), "clientType": 5},
        *(
            {"sessionId": str(uuid.uuid4()), "clientType": "webapp", **more}
            for more in (
                {"threadId": {"a": 1}}, {"chatProfile": 5}, {"userEnv": "{"}, {"userEnv": "[1]"},
                {"userEnv": {"a": 1}}, {"userEnv": "[" * 100_000}, {"threadId": ["x"]},
            )
        ),
    ],
)  # fmt: skip
def test_nobody_connects_who_introduces_himself_as_no_page_does(said):
    assert not session_ids.is_introduction(said)


def test_the_page_may_connect():
    usual = {"threadId": "", "userEnv": "{}", "chatProfile": "Free%20prompt"}
    said = {"sessionId": str(uuid.uuid4()), "clientType": "webapp"}
    assert session_ids.is_introduction(said)
    assert session_ids.is_introduction(said | usual)


# --- a page under attack ------------------------------------------------------------------------

NAMES = [
    *("client_message", "edit_message", "message_favorite", "fetch_favorites", "window_message"),
    *("audio_start", "audio_chunk", "audio_end", "stop", "connection_successful"),
    *("clear_session", "chat_settings_change", "chat_settings_edit", "connect", "disconnect"),
    *("unknown", "", "\x1b[31m", "call_fn", "ask"),
]
NO_EVENTS = [
    *("2", "2[", "2[]", "2{}", "2[5]", "2[null]", "2[[]]", "2[{}]", "3", "3[]", "31[]", "9", "4"),
    *("5", "51-", "51-[]", '50-["x"]', '2/other,["x"]', "0/other,", "0", "1", "1/x", '2"x"', ""),
    *("\x00", "6", '51-["a",{"_placeholder":true,"num":0}]', '0{"a":1}', "0[1]"),
    *("2" + "[" * 100_000, '299999999999999999999["stop"]', '2["client_message",1,2,3]'),
    *('2["stop",1]', '2["client_message'),
]
NO_PACKETS = ["", "9", "x", "3", "5", "2probe", "\x1b[31m", "0{}", "7", "b", "bAAAA", "b!!"]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacked")
    port = free_port()
    with page_of_a_class(folder, port) as process:
        yield f"http://127.0.0.1:{port}", folder, process


def log_lines(folder):
    return [line for line in (folder / "log").read_bytes().decode().split("\n") if line]


@pytest.mark.slow
def test_hostile_events_cost_a_line_each_at_most_and_the_page_answers_on(attacked):
    url, folder, _ = attacked
    anna = Visitor(url)
    assert anna.sign_in("anna") == 200

    async def attack():
        sent = 0
        page = await OpenPage(anna).open()

        async def send(way, *data):
            nonlocal page, sent
            if not page.client.connected:
                page = await OpenPage(anna).open()
            sent += 1
            await way(page.client, *data)

        for name in NAMES:
            for value in VALUES:
                await send(lambda client, *event: client.emit(*event), name, value)
            for several in ((), (1, 2, 3)):
                await send(lambda client, *event: client.emit(*event), name, several)
            await asyncio.sleep(0.2)
        for text in NO_EVENTS:
            await send(lambda client, text: client.eio.send(text), text)
            await asyncio.sleep(0.05)
        for text in NO_PACKETS:
            await send(lambda client, text: client.eio.ws.send_str(text), text)
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        return sent, await (await OpenPage(anna).open()).say("win")

    before = len(log_lines(folder))
    sent, answer = asyncio.run(attack())
    said = log_lines(folder)
    print(f"{sent:,} events, {len(said) - before:,} lines")
    assert answer
    assert sent > 900
    assert len(said) - before <= sent
    assert not [line for line in said if "Traceback" in line or "\x1b" in line]


# What comes with requests, for each route that takes some; none of it is what the page sends.
BODIES = [
    *(b"", b"{", b"[]", b"null", b"5", b"[" * 5_000, b"username=\xff&password=x", b"\xff\xfe\x00"),
    *(
        json.dumps(body).encode()
        for body in (
            {}, {"sessionId": "x", "action": {}}, {"sessionId": "SESSION", "action": {}},
            {"sessionId": "SESSION", "action": {"name": "why", "payload": {}}},
            {"sessionId": "SESSION", "action": {"name": "why", "payload": {"turn": ["x"]}}},
            {"sessionId": "SESSION", "action": {"name": "sweep", "payload": 5}},
            {"sessionId": "SESSION", "action": {"name": "vote", "payload": {"turn": {}}}},
            {"sessionId": "SESSION", "action": {"name": "question", "payload": {}}},
            {"sessionId": "SESSION", "action": {"name": "\x1b[31m", "payload": {}}},
            {"pagination": {"first": 10**30, "cursor": "\x1b"}, "filter": {"search": "\ud800"}},
            {"pagination": {"first": -5, "cursor": "\ud800"}, "filter": {}},
            {"threadId": "\ud800", "name": "\ud800"}, {"threadId": "\0", "name": "\0"},
            {"feedback": {"forId": "\ud800", "value": 1}, "sessionId": "SESSION"},
            {"feedback": {"forId": "x", "value": 10**30}, "sessionId": "SESSION"},
            {"feedbackId": "\ud800"}, {"feedbackId": "\x1b[2J"},
        )
    ),
]  # fmt: skip
WITH_BODY = [
    *(("POST", path) for path in ("/project/action", "/project/threads", "/login", "/logout")),
    *(("POST", path) for path in ("/set-session-cookie", "/auth/header", "/api/classify")),
    *(("PUT", "/project/thread"), ("DELETE", "/project/thread")),
    *(("PUT", "/feedback"), ("DELETE", "/feedback")),
]
ADDRESSES = [
    *("/%1b[31m", "/project/file/x?session_id=y", "/project/file/%00?session_id=%1b%5b31m"),
    *("/project/thread/%ff", "/project/thread/%ed%a0%80", "/avatars/..%2f..%2fx", "/avatars/%1b"),
    *("/public/..%2f..%2fchat_app.py", "/public/%00", "/assets/%00", "/kept/x"),
    *("/kept/%00?signature=%ff&until=x", "/kept/%1b?mime=%1b&until=1&signature=x"),
    *("/project/translations?language=%1b%5b31m", "/project/settings?language=%00"),
    *("/project/settings?chat_profile=%1b", "/logo?theme=%00", "/ws/socket.io/"),
    *("/ws/socket.io/?EIO=x&transport=%1b", "/ws/socket.io/?EIO=4&transport=websocket"),
]


def form(name, content, mime="text/csv"):
    """An upload as browsers send it; without a name, it is no file."""
    named = "" if name is None else f'; filename="{name}"'
    kind = f"Content-Type: {mime}\r\n" if mime else ""
    head = f'--b\r\nContent-Disposition: form-data; name="file"{named}\r\n{kind}\r\n'
    return head.encode() + content + b"\r\n--b--\r\n"


UPLOADS = [
    *(form(*upload) for upload in hostile_uploads.UPLOADS.values()),
    *(form(None, b"x"), b"", b"--b", b"--b\r\n\r\n", form("a.csv", b"x", "")),
]


def asked(visitor, method, path, body=None, kind="application/json", **headers):
    """The status and the text of an answer."""
    request = urllib.request.Request(
        visitor.url + path, data=body, method=method, headers={"Content-Type": kind, **headers}
    )
    try:
        with visitor.opener.open(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.slow
def test_hostile_requests_cost_a_line_each_at_most_and_an_empty_file_is_said_to_be_empty(attacked):
    url, folder, _ = attacked
    anna = Visitor(url)
    assert anna.sign_in("anna") == 200

    async def attack():
        page = await OpenPage(anna).open()
        requests = [
            (method, path, body.replace(b"SESSION", page.session.encode()), kind)
            for method, path in WITH_BODY
            for body in BODIES
            for kind in ("application/json", "application/x-www-form-urlencoded")
        ]
        requests += [("GET", path, None, "text/plain") for path in ADDRESSES]
        upload = f"/project/file?session_id={page.session}"
        multipart = "multipart/form-data; boundary=b"
        requests += [("POST", upload, body, multipart) for body in UPLOADS]
        anna.sign_in("anna")
        answers = [asked(anna, *request) for request in requests]
        anna.sign_in("anna")  # one of them was signing out
        empty = asked(anna, "POST", upload, form("a.csv", b""), multipart)
        return answers, empty

    before = len(log_lines(folder))
    answers, (status, line) = asyncio.run(attack())
    said = log_lines(folder)
    print(f"{len(answers):,} requests, {len(said) - before:,} lines")
    assert (status, json.loads(line)) == (
        400, {"detail": "the file is empty; send one with at least one message"}
    )  # fmt: skip
    assert len(said) - before <= len(answers)
    assert not [line for line in said if "Traceback" in line or "\x1b" in line]
    assert not [text for _, text in answers if b"Traceback" in text]
