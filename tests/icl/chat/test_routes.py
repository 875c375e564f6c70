"""What the page serves, to whom, and how much of it: as a program without a browser finds it."""

import asyncio
import http.client
import json
import os
import subprocess
import sys
import threading
import time

import psutil
import pytest

from icl.service.guard import FRAME_POLICY, TOO_LARGE, WRONG_HOST, WRONG_ORIGIN
from tests.support.class_server import class_server
from tests.support.lazy import lazy
from tests.support.pages import PROJECT

aiohttp = lazy("aiohttp")
server = lazy("chainlit.server")
chat_app = lazy("chat_app")
routes = lazy("icl.chat.patches.routes")
app = lazy("icl.service.app")

KEPT = ("GET", "/kept/{key:path}")  # with a login only


def opened(*routers):
    return set().union(*(routes.entries(route) for router in routers for route in router.routes))


def test_no_route_is_open_but_those_that_the_page_uses():
    assert chat_app.workers  # all repairs of Chainlit are made
    found = opened(server.app.router, server.router)
    assert found - {KEPT} == routes.OPEN.keys() - {KEPT}
    included = [r.original_router for r in server.app.routes if hasattr(r, "original_router")]
    assert included == [server.router]


def test_the_service_adds_these_routes_and_no_other(monkeypatch):
    from tests.support.service import Spotter

    spotter = Spotter()
    service = app.create_app(spotter.workers)
    spotter.workers.close()
    found = opened(service.router, *(r.original_router for r in service.routes
                                     if hasattr(r, "original_router")))  # fmt: skip
    found -= {(method, "/api/{rest:path}") for method in ("GET", "POST", "PUT", "PATCH", "DELETE",
                                                          "OPTIONS", "HEAD")}  # fmt: skip
    assert found == {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"),
                     ("POST", "/api/classify"), ("GET", "/api/openapi.json"),
                     ("MOUNT", "")}  # fmt: skip


def test_a_route_that_a_new_chainlit_adds_is_closed():
    program = """
import chainlit.server as server
server.router.post("/project/new")(lambda: "new")
server.app.get("/another")(lambda: "new")
import chat_app
from icl.chat.patches.routes import OPEN, entries
found = {e for router in (server.app.router, server.router) for r in router.routes
         for e in entries(r)}
assert found <= OPEN.keys(), found - OPEN.keys()
assert ("GET", "/user") in found
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(PROJECT)})  # fmt: skip
    assert done.returncode == 0, done.stderr


# --- of a running page --------------------------------------------------------------------------


def ask(page, method, path, body=None, encode_chunked=False, **headers):
    """Status, headers and body; a header that is given as None is left out."""
    connection = http.client.HTTPConnection(page.url.removeprefix("http://"), timeout=60)
    connection.putrequest(method, path, skip_host="host" in headers)
    for name, value in headers.items():
        if value is not None:
            connection.putheader(name.replace("_", "-"), value)
    connection.endheaders(body, encode_chunked=encode_chunked)
    answered = connection.getresponse()
    return answered.status, answered.headers, answered.read()


CLOSED_TO_GET = ["/docs", "/redoc", "/openapi.json", "/copilot/index.js", "/auth/oauth/github",
                 "/auth/oauth/github/callback", "/project/share/x",
                 "/project/thread/x/element/y"]  # fmt: skip
CLOSED = [("POST", "/auth/jwt"), ("POST", "/auth/oauth/azure-ad-hybrid/callback"),
          ("PUT", "/project/thread/share"), ("PUT", "/project/element"),
          ("DELETE", "/project/element"), ("POST", "/mcp"), ("DELETE", "/mcp"),
          ("POST", "/slack/events"), ("POST", "/teams/events")]  # fmt: skip


@pytest.mark.parametrize("path", CLOSED_TO_GET)
def test_a_closed_address_is_the_page_itself_as_any_unknown_one(page, path):
    status, _, body = ask(page, "GET", path)
    assert (status, b'<div id="root">' in body) == (200, True)


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_nothing_can_be_sent_to_a_closed_address(page, method, path):
    assert ask(page, method, path, b"{}", content_length="2")[0] == 405


def test_the_page_is_told_that_no_session_cookie_is_needed_whatever_it_sends(page):
    for body in (b"{}", b"no JSON", b""):
        length = str(len(body))
        status, headers, _ = ask(page, "POST", "/set-session-cookie", body, content_length=length)
        assert (status, headers["Set-Cookie"]) == (200, None)


def test_there_is_no_long_polling(page):
    status, _, body = ask(page, "GET", "/ws/socket.io/?EIO=4&transport=polling")
    assert (status, body) == (400, b'"Invalid transport"')


@pytest.mark.parametrize("path", ["/project/file", "/login", "/project/action", "/feedback"])
def test_a_large_body_is_refused_before_it_is_read(page, path):
    method = "PUT" if path == "/feedback" else "POST"
    status, _, body = ask(page, method, path, content_length="1000000000")  # and not a byte of it
    assert status == 413
    assert json.loads(body)["detail"] == TOO_LARGE


FORM = b"""--x\r
Content-Disposition: form-data; name="file"; filename="a.csv"\r
Content-Type: text/csv\r
\r
"""
FORMS = {
    "/project/file": (FORM, "multipart/form-data; boundary=x"),
    "/login": (b"username=", "application/x-www-form-urlencoded"),
    "/project/action": (b'{"sessionId": "', "application/json"),
}


@pytest.mark.parametrize("length", [{}, {"content_length": "5"}], ids=["none", "both"])
@pytest.mark.parametrize("path", FORMS)
def test_a_body_without_a_length_or_with_two_is_counted(page, path, length):
    start, kind = FORMS[path]
    status, _, body = ask(page, "POST", f"{path}?session_id=x", (start, *[b"x" * 100_000] * 40),
                          encode_chunked=True, transfer_encoding="chunked", content_type=kind,
                          **length)  # fmt: skip
    assert (status, json.loads(body)["detail"]) == (413, TOO_LARGE)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/", "/project/settings", "/login", "/project/thread"])
@pytest.mark.parametrize(
    ("headers", "line"),
    [
        ({"host": "evil.test"}, WRONG_HOST),
        ({"host": "evil.test", "x_forwarded_host": "localhost"}, WRONG_HOST),
        ({"origin": "http://evil.test"}, WRONG_ORIGIN),
        ({"origin": "http://localhost"}, WRONG_ORIGIN),
        ({"origin": "null"}, WRONG_ORIGIN),
    ],
)
def test_another_host_or_origin_is_refused_at_every_address(page, method, path, headers, line):
    status, answered, body = ask(page, method, path, content_length="0", **headers)
    assert status == 403
    assert answered["X-Content-Type-Options"] == "nosniff"
    assert answered["Content-Security-Policy"] == FRAME_POLICY
    assert method == "HEAD" or json.loads(body) == {"detail": line}


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "[::1]"])
def test_this_machines_names_are_answered_and_so_is_the_page_from_there(page, name):
    port = page.url.rsplit(":", 1)[1]
    for host in (f"{name}:{port}", name):
        status, answered, _ = ask(page, "GET", "/", host=host, origin=f"http://{host}")
        assert status == 200
        assert answered["Content-Security-Policy"] == FRAME_POLICY


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 101),
        ({"origin": "own"}, 101),
        ({"origin": "http://evil.test"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:1"}, 403),
        ({"host": "evil.test"}, 403),
        ({"host": "evil.test", "origin": "http://evil.test"}, 403),
    ],
)
def test_a_socket_opens_for_the_servers_own_page_only(page, headers, status):
    if headers.get("origin") == "own":
        headers = {"origin": page.url}
    upgrade = {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec_websocket_version": "13",
        "sec_websocket_key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    found = ask(page, "GET", "/ws/socket.io/?EIO=4&transport=websocket", **upgrade, **headers)
    assert found[0] == status


# --- memory -------------------------------------------------------------------------------------


class Memory:
    """How much more memory a process takes meanwhile, at most, in MB."""

    def __init__(self, pid):
        self.process, self.stop = psutil.Process(pid), threading.Event()
        self.watching = threading.Thread(target=self.watch)

    def watch(self):
        while not self.stop.wait(0.01):
            self.most = max(self.most, self.now())

    def now(self):
        return self.process.memory_info().rss / 1e6

    def __enter__(self):
        self.before = self.most = self.now()
        self.watching.start()
        return self

    def __exit__(self, *error):
        self.stop.set()
        self.watching.join()

    @property
    def more(self):
        return self.most - self.before


@pytest.fixture(scope="module")
def class_page(tmp_path_factory):
    with class_server(tmp_path_factory.mktemp("class")) as page:
        yield page


async def flood(port, path, start, kind, headers, size):
    """Sends a body, whatever is answered meanwhile; the status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {path}?session_id=x HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
    writer.write(f"{head}{headers}\r\n\r\n".encode())
    answer = asyncio.create_task(reader.readline())
    chunked, sent, part = "chunked" in headers, 0, start
    try:
        while sent < size:
            writer.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
            await writer.drain()
            sent, part = sent + len(part), b"x" * 65_536
        writer.write(b"0\r\n\r\n" if chunked else b"")
    except ConnectionError:
        pass  # it went on for too long
    status = (await answer).split()[1]
    writer.close()
    return int(status)


BODIES, SIZE = 50, 8 * 2**20  # together 420 MB
HEADERS = ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5",
           f"Content-Length: {SIZE}"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("headers", HEADERS, ids=["no length", "two lengths", "a length"])
@pytest.mark.parametrize("path", ["/api/classify", "/set-session-cookie", "/project/file"])
def test_fifty_large_bodies_at_once_take_little_memory_and_others_are_answered(
    class_page, path, headers
):
    port = int(class_page.url.rsplit(":", 1)[1])
    start, kind = FORMS.get(path, (b'{"texts": ["', "application/json"))

    async def run():
        floods = [asyncio.create_task(flood(port, path, start, kind, headers, SIZE))
                  for _ in range(BODIES)]  # fmt: skip
        began = time.monotonic()
        other = await asyncio.to_thread(ask, class_page, "GET", "/project/settings")
        return other[0], time.monotonic() - began, await asyncio.gather(*floods)

    with Memory(class_page.process.pid) as memory:
        other, seconds, statuses = asyncio.run(run())
    assert set(statuses) <= {413, 503}
    assert memory.more < 100
    assert (other, seconds < 20) == (200, True)


@pytest.mark.slow
def test_a_socket_takes_no_long_messages_no_attachments_and_nothing_compressed(class_page):
    address = f"{class_page.url}/ws/socket.io/?EIO=4&transport=websocket"

    async def run():
        async with aiohttp.ClientSession() as client:
            socket = await client.ws_connect(address, compress=15)
            assert socket.compress == 0
            await socket.receive()
            await socket.send_str('459999999-["x",{"_placeholder":true,"num":0}]')
            for _ in range(100):
                await socket.send_bytes(b"x" * 999_000)
            await socket.close()
            socket = await client.ws_connect(address)
            await socket.receive()
            await socket.send_str("4" + "x" * 1_000_000)
            return await socket.receive()

    with Memory(class_page.process.pid) as memory:
        closed = asyncio.run(run())
    assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1009)
    assert memory.more < 30
