"""What every request has to pass: its host, its origin, its size."""

import asyncio
import tracemalloc

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket

from icl.service import guard
from icl.service.guard import (
    FRAME_POLICY,
    LINGER_BYTES,
    MAX_BODIES_BYTES,
    MAX_BODY_BYTES,
    SMALL_BODY_BYTES,
    TOO_LARGE,
    TOO_MANY,
    WRONG_HOST,
    WRONG_ORIGIN,
    Guard,
)

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
HOST = "class.example.org"
SOCKET = f"wss://{HOST}/socket"


async def read(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def ignore(request: Request) -> PlainTextResponse:
    return PlainTextResponse("not read")


async def speak(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


ROUTES = [
    Route("/healthz", ignore),
    WebSocketRoute("/socket", speak),
    Route("/ignore", ignore, methods=["POST"]),
    Route("/{rest:path}", read, methods=METHODS),
]


def open_guard():
    return Guard(Starlette(routes=ROUTES), {HOST}, anywhere=["/healthz"])


@pytest.fixture
def visitor():
    return TestClient(open_guard(), f"https://{HOST}")


# --- hosts and origins --------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_another_host_is_refused_whatever_is_asked(visitor, method):
    answer = visitor.request(method, "/page", headers={"Host": "evil.test"})
    assert answer.status_code == 403
    assert method == "HEAD" or answer.json() == {"detail": WRONG_HOST}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("origin", ["https://evil.test", "null", "", f"https://{HOST}:8443"])
def test_a_page_of_another_site_is_refused_whatever_it_asks(visitor, method, origin):
    answer = visitor.request(method, "/page", headers={"Origin": origin})
    assert answer.status_code == 403
    assert method == "HEAD" or answer.json() == {"detail": WRONG_ORIGIN}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("headers", [{}, {"Origin": f"https://{HOST}"}])
def test_its_own_page_and_what_is_no_browser_are_answered(visitor, method, headers):
    assert visitor.request(method, "/page", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        [("host", "evil.test"), ("x-forwarded-host", HOST)],
        [("host", "evil.test"), ("forwarded", f"host={HOST}")],
        [("host", HOST), ("host", HOST)],
        [("host", HOST), ("host", "evil.test")],
        [("host", HOST), ("origin", f"https://{HOST}"), ("origin", "https://evil.test")],
        [("host", HOST), ("origin", "https://evil.test"), ("x-forwarded-host", "evil.test")],
        [],
    ],
)
def test_no_other_header_counts_and_each_only_once(headers):
    assert asyncio.run(ask(open_guard(), headers=headers))[0] == 403


@pytest.mark.parametrize(
    ("headers", "line"),
    [({"Host": "evil.test"}, WRONG_HOST), ({"Origin": "https://evil.test"}, WRONG_ORIGIN)],
)
def test_a_socket_is_refused_before_it_opens(visitor, headers, line):
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        visitor.websocket_connect(SOCKET, headers=headers),
    ):
        pass
    assert refused.value.status_code == 403
    assert refused.value.json() == {"detail": line}


@pytest.mark.parametrize("headers", [{}, {"Origin": f"https://{HOST}"}])
def test_a_socket_of_its_own_page_opens(visitor, headers):
    with visitor.websocket_connect(SOCKET, headers=headers) as socket:
        assert socket.receive_text() == "hello"


def test_what_looks_after_the_server_is_answered_under_any_name(visitor):
    headers = {"Host": "10.0.0.7:8000", "Origin": "https://evil.test"}
    assert visitor.get("/healthz", headers=headers).text == "not read"
    for path in ("/healthz/more", "//healthz", "/health", "/healthz/../page"):
        assert visitor.get(path, headers=headers).status_code == 403


def test_behind_a_proxy_that_takes_a_path_away_the_path_does_not_count():
    visitor = TestClient(
        Starlette(routes=[Mount("/shot", open_guard())]), "http://10.0.0.7", root_path=""
    )
    assert visitor.get("/shot/healthz").status_code == 200
    assert visitor.get("/shot/api/x").json() == {"error": WRONG_HOST}


# --- sizes --------------------------------------------------------------------------------------


async def ask(app, path="/page", headers=(("host", HOST),), chunks=(b"",)):
    """Status, headers and body of an answer, and how much of a POST was taken before it."""
    sent, taken, before, parts = [], 0, None, iter(chunks)

    async def receive():
        nonlocal taken
        await asyncio.sleep(0)
        if (part := next(parts, None)) is None:
            return {"type": "http.request", "body": b"", "more_body": False}
        taken += len(part)
        return {"type": "http.request", "body": part, "more_body": True}

    async def send(message):
        nonlocal before
        before = taken if before is None else before
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "root_path": "", "query_string": b""}
    scope["headers"] = [(name.encode(), value.encode()) for name, value in headers]
    await app(scope, receive, send)
    assert taken <= MAX_BODY_BYTES + LINGER_BYTES + 200_000
    (start, *bodies) = sent
    body = b"".join(message["body"] for message in bodies).decode()
    return start["status"], dict(start["headers"]), body, before


def post(chunks, path="/page", app=None, **headers):
    named = [("host", HOST), *((name.replace("_", "-"), value) for name, value in headers.items())]
    return asyncio.run(ask(app or open_guard(), path, named, chunks))


def endless(size=100_000):
    while True:
        yield b"x" * size


LENGTHS = {
    "none": {},
    "chunked": {"transfer_encoding": "chunked"},
    "too short": {"content_length": "5"},
    "both": {"content_length": "5", "transfer_encoding": "chunked"},
    "not a number": {"content_length": "²"},
    "negative": {"content_length": "-1"},
}


@pytest.mark.parametrize("headers", LENGTHS.values(), ids=LENGTHS)
def test_a_body_is_counted_as_it_arrives_whatever_its_headers_say(headers):
    status, answered, body, taken = post(endless(), **headers)
    assert (status, TOO_LARGE in body) == (413, True)
    assert answered[b"connection"] == b"close"
    assert taken <= MAX_BODY_BYTES + 100_000


@pytest.mark.parametrize("length", [MAX_BODY_BYTES + 1, 10**18])
def test_a_body_that_is_announced_as_too_large_is_refused_before_it_is_read(length):
    status, _, body, taken = post(endless(), content_length=str(length))
    assert (status, TOO_LARGE in body, taken) == (413, True, 0)


def test_the_largest_body_is_read_to_its_end():
    assert post([b"x" * 500_000] * 5)[:3:2] == (200, str(MAX_BODY_BYTES))
    assert post([b"x" * 500_000] * 5 + [b"x"])[0] == 413


def test_whoever_sends_all_before_looking_for_an_answer_finds_one():
    """The connection is not closed while it is still sending, unless it goes on for long."""
    sent, closed = [], []

    async def receive():
        sent.append(b"x" * 500_000)
        return {"type": "http.request", "body": sent[-1], "more_body": len(sent) < 20}

    async def send(message):
        if message["type"] == "http.response.body" and not message.get("more_body"):
            closed.append(len(sent))

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", HOST.encode())]}
    asyncio.run(open_guard()(scope, receive, send))
    assert closed == [20]


def test_whoever_is_silent_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(guard, "LINGER_SECONDS", 0.05)
    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"host", HOST.encode()), (b"content-length", b"9999999")]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    asyncio.run(open_guard()(scope, asyncio.Event().wait, send))
    assert [message.get("more_body") for message in sent] == [None, True, None]


def test_a_body_that_nobody_would_read_is_counted_too():
    assert post([b"x" * 1000] * 10, "/ignore")[:3:2] == (200, "not read")
    assert post(endless(), "/ignore")[0] == 413


def test_a_body_in_single_bytes_costs_what_it_weighs():
    """As 2,500,000 messages it would take a hundred times as much."""
    tracemalloc.start()
    try:
        assert post([b"x"] * 50_000)[2] == "50000"
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_whoever_leaves_in_the_middle_of_a_body_has_asked_nothing():
    asked = []

    async def app(scope, receive, send):
        asked.append(scope)

    parts = iter([{"type": "http.request", "body": b"half", "more_body": True}])

    async def receive():
        return next(parts, {"type": "http.disconnect"})

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", HOST.encode())]}
    guarded = Guard(app, {HOST})
    asyncio.run(guarded(scope, receive, None))
    assert (asked, guarded._held) == ([], 0)


def test_a_body_that_stops_on_its_way_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.05)
    monkeypatch.setattr(guard, "LINGER_SECONDS", 0.05)
    parts, sent = iter([{"type": "http.request", "body": b"half", "more_body": True}]), []

    async def receive():
        return next(parts, None) or await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", HOST.encode())]}
    guarded = open_guard()
    asyncio.run(guarded(scope, receive, send))
    assert (sent[0]["status"], guarded._held) == (408, 0)


def test_what_comes_after_a_body_reaches_the_application():
    seen = []

    async def app(scope, receive, send):
        seen.extend([await receive(), await receive()])

    parts = iter([{"type": "http.request", "body": b"all", "more_body": False}])

    async def receive():
        return next(parts, {"type": "http.disconnect"})

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", HOST.encode())]}
    asyncio.run(Guard(app, {HOST})(scope, receive, None))
    assert [message["type"] for message in seen] == ["http.request", "http.disconnect"]
    assert seen[0]["body"] == b"all"


def test_large_bodies_share_what_memory_there_is_and_small_ones_always_pass():
    most = MAX_BODIES_BYTES // MAX_BODY_BYTES
    waiting = asyncio.Event()

    async def hold(request):
        size = len(await request.body())
        await waiting.wait()
        return PlainTextResponse(str(size))

    async def run():
        app = Guard(Starlette(routes=[Route("/{rest:path}", hold, methods=["POST"])]), {HOST})
        large = [b"x" * 500_000] * 5
        held = [asyncio.create_task(ask(app, chunks=large)) for _ in range(most)]
        await asyncio.sleep(0.2)
        status, headers, body, taken = await ask(app, chunks=large)
        assert (status, TOO_MANY in body) == (503, True)
        assert headers[b"retry-after"] == b"5"
        assert taken <= 500_000
        small = asyncio.create_task(ask(app, chunks=[b"x" * SMALL_BODY_BYTES]))
        await asyncio.sleep(0.1)
        waiting.set()
        assert (await small)[0] == 200
        assert [answer[0] for answer in await asyncio.gather(*held)] == [200] * most
        assert (await ask(app, chunks=large))[0] == 200  # all is given back

    asyncio.run(run())


def test_a_fault_of_the_application_is_no_refusal_and_gives_its_bytes_back():
    async def fail(scope, receive, send):
        await receive()
        raise RuntimeError("broken")

    app = Guard(fail, {HOST})
    with pytest.raises(RuntimeError, match="broken"):
        post([b"x" * 1000], app=app)
    assert app._held == 0


# --- what every answer says ---------------------------------------------------------------------


def test_every_answer_says_that_types_are_not_guessed_and_who_may_frame_it(visitor):
    for answer in (visitor.get("/page"), visitor.get("/page", headers={"Host": "evil.test"})):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == FRAME_POLICY


def test_a_policy_of_the_application_stays_beside_the_guards():
    async def sandbox(request):
        return PlainTextResponse("", headers={"Content-Security-Policy": "sandbox"})

    app = Guard(Starlette(routes=[Route("/", sandbox)]), {HOST})
    answer = TestClient(app, f"http://{HOST}").get("/")
    assert answer.headers.get_list("content-security-policy") == ["sandbox", FRAME_POLICY]


def test_a_guard_inside_a_guard_changes_nothing():
    twice = TestClient(Guard(open_guard(), {HOST}), f"http://{HOST}")
    once = TestClient(open_guard(), f"http://{HOST}")
    for client in (once, twice):
        assert client.get("/page").headers.get_list("content-security-policy") == [FRAME_POLICY]
        assert client.get("/page").headers.get_list("x-content-type-options") == ["nosniff"]
        assert client.post("/page", content=b"x" * 1000).text == "1000"
    assert post(endless(), app=Guard(open_guard(), {HOST}))[0] == 413
