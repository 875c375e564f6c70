"""What every request has to pass, whatever it asks for: its host, its origin, its size.

One ASGI middleware for page and service, HTTP and sockets. It also tells browsers not to guess
types, and not to show the page inside one of another site.
"""

import asyncio
import contextlib
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from icl.service.hosts import is_allowed, is_own_origin

MAX_BODY_BYTES = 2_500_000  # of one request: a file of 2 MB and the form around it
MAX_BODIES_BYTES = 30_000_000  # of all requests that are being read or answered
SMALL_BODY_BYTES = 20_000  # never refused because of others
BODY_SECONDS = 120.0  # in which it has to arrive; else a lost connection would be waited for
LINGER_BYTES, LINGER_SECONDS = 25_000_000, 5.0  # of a refused request, thrown away

FRAME_POLICY = "frame-ancestors 'self'"

WRONG_HOST = (
    "this server does not answer to that host name; whoever runs it can add the name: "
    "tuneshot serve --allowed-host NAME"
)
WRONG_ORIGIN = "this request comes from a page of another site; open the server's own page"
TOO_LARGE = f"the request has more than {MAX_BODY_BYTES:,} bytes; send less (a file: 2 MB)"
TOO_SLOW = f"the request did not arrive within {BODY_SECONDS:.0f} seconds; send it again"
TOO_MANY = "too many large requests are being answered; try again in 5 seconds"


class Guard:
    """Passes on to ``app`` what comes to one of these hosts, from its own page, and is not large.

    A guard inside a guard changes nothing.

    Args:
        app: what is guarded.
        hosts: the names it answers to, as ``icl.service.hosts`` writes them.
        anywhere: paths that are answered under any name, for the machines that look after a server.
    """

    def __init__(
        self, app: ASGIApp, hosts: Collection[str], anywhere: Collection[str] = ()
    ) -> None:
        self.app, self.hosts, self.anywhere = app, hosts, anywhere
        self._held = 0  # bytes of all bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers for ``app``, or lets it answer."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        send = _with_headers(send)
        if problem := self._who(scope):
            await _refuse(scope, receive, send, 403, problem)
        elif scope["type"] == "websocket":  # the server bounds each message
            await self.app(scope, receive, send)
        elif _announced(scope) > MAX_BODY_BYTES:
            await _refuse(scope, receive, send, 413, TOO_LARGE)
        else:
            await self._bounded(scope, receive, send)

    def _who(self, scope: Scope) -> str:
        """Why this request is nobody's who may ask; empty if it is."""
        if _path(scope) in self.anywhere:
            return ""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not is_allowed(hosts[0], self.hosts):
            return WRONG_HOST
        origins = headers.getlist("origin")
        return "" if all(is_own_origin(origin, hosts[0]) for origin in origins) else WRONG_ORIGIN

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reads a body before ``app`` is asked, and counts it: its headers may say anything."""
        body, read, more, refusal = bytearray(), 0, True, None
        try:
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    while more and not refusal:
                        message = await receive()
                        if message["type"] == "http.disconnect":
                            return
                        body += message.get("body", b"")
                        more = message.get("more_body", False)
                        self._held += len(body) - read
                        read = len(body)
                        refusal = self._too_much(read)
            except TimeoutError:
                refusal = 408, TOO_SLOW
            if not refusal:
                await self.app(scope, _once(body, receive), send)
        finally:
            self._held -= read
        if refusal:
            body.clear()
            await _refuse(scope, receive, send, *refusal)

    def _too_much(self, read: int) -> tuple[int, str] | None:
        """Status and line for a request of which so many bytes were read, if it is refused."""
        if read > MAX_BODY_BYTES:
            return 413, TOO_LARGE
        if read > SMALL_BODY_BYTES and self._held > MAX_BODIES_BYTES:
            return 503, TOO_MANY
        return None


def _once(body: bytearray, receive: Receive) -> Receive:
    """``receive`` after a body that was read, which is emptied: the body, then what comes after."""
    messages = [{"type": "http.request", "body": bytes(body), "more_body": False}]
    body.clear()

    async def receiving() -> Message:
        return messages.pop() if messages else await receive()

    return receiving


def _path(scope: Scope) -> str:
    """What is asked for, without what a proxy shows it under."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _announced(scope: Scope) -> int:
    """The length that a request announces, in bytes; 0 if it announces none."""
    length = Headers(scope=scope).get("content-length", "")
    return int(length) if length.isdecimal() and len(length) < 20 else 0


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, line: str) -> None:
    """Answers with one line, in the form that the service, or else the page, has for errors."""
    form = "error" if _path(scope).startswith("/api/") else "detail"
    headers = {"Retry-After": "5"} if status == 503 else {}
    if scope["type"] == "http":
        headers["Connection"] = "close"
        send = _lingering(receive, send)
    await JSONResponse({form: line}, status, headers)(scope, receive, send)


def _lingering(receive: Receive, send: Send) -> Send:
    """``send``, which ends an answer when the request has ended, too, or has gone on for long.

    Most programs send all of a request before they look for an answer. If the connection were
    closed meanwhile, they would see a broken connection and no answer.
    """

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.body":
            await send({**message, "more_body": True})
            rest = LINGER_BYTES
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER_SECONDS):
                    while rest > 0 and (more := await receive()).get("more_body"):
                        rest -= len(more["body"])
            message = {"type": "http.response.body", "body": b""}
        await send(message)

    return sending


def _with_headers(send: Send) -> Send:
    """``send``, with what browsers are to know of every answer."""

    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(scope=message)
            headers.setdefault("X-Content-Type-Options", "nosniff")
            if FRAME_POLICY not in headers.getlist("Content-Security-Policy"):
                headers.append("Content-Security-Policy", FRAME_POLICY)
        await send(message)

    return sending
