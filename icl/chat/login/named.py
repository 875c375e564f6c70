"""Whom a proxy names in a header of every request, where ``TUNESHOT_AUTH_HEADER`` says which.

A cookie is worth as much as the name beside it: whom the proxy does not name any more is out with
the next request. An open page, which asks by its socket, makes a request every half a minute
(public/tuneshot.js).
"""

import time
from contextvars import ContextVar

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from icl.chat.login.attempts import MAX_NAME_CHARACTERS

# Browsers wake pages that nobody looks at once a minute.
ABSENT_SECONDS = 150.0

named: ContextVar[str] = ContextVar("named", default="")  # of the request or socket; empty: nobody
_seen: dict[str, float] = {}  # name -> when it was in a request


def remember_named(app: ASGIApp, header: str) -> ASGIApp:
    """Wraps ``app``, which finds in ``named`` whom ``header`` names."""

    async def remembering(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            name = Headers(scope=scope).get(header, "").strip()
            if len(name) > MAX_NAME_CHARACTERS:
                name = ""
            named.set(name)
            if name:
                _seen[name] = time.monotonic()
        await app(scope, receive, send)

    return remembering


def is_absent(name: str) -> bool:
    """Whether the proxy has not named this person for a while."""
    return time.monotonic() - _seen.get(name, -ABSENT_SECONDS) >= ABSENT_SECONDS
