"""The open page of somebody who may not come in any more: it is closed, what it asks is not done.

Chainlit looks at a cookie when a socket connects, and never again.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

from chainlit.auth import get_token_from_cookies
from chainlit.server import sio
from chainlit.session import WebsocketSession, ws_sessions_id
from socketio.exceptions import ConnectionRefusedError  # type: ignore[import-untyped]
from starlette.requests import cookie_parser

from icl.chat.login import cookies

LOOK_SECONDS = 1.0  # after which the page of somebody who does nothing is closed, too

_watching: asyncio.Task[None] | None = None  # the event loop itself does not keep a task alive


IsOut = Callable[[WebsocketSession], bool]


def install(is_out: IsOut) -> None:
    """Puts the look at the cookie before all that Chainlit does with a socket.

    Args:
        is_out: whether the owner of an open page may not come in any more.
    """
    handlers = sio.handlers["/"]
    accept = handlers["connect"]

    async def connect(sid: str, environ: dict[str, Any], auth: object) -> object:
        global _watching
        token = get_token_from_cookies(cookie_parser(environ.get("HTTP_COOKIE", "")))
        if cookies.name_in(token) is None:
            raise ConnectionRefusedError("authentication failed")
        if _watching is None or _watching.done():
            _watching = asyncio.create_task(_watch(is_out))
        return await accept(sid, environ, auth)

    for event in handlers.keys() - {"connect", "disconnect"}:
        sio.on(event, _only_while_signed_in(handlers[event], is_out))
    sio.on("connect", connect)


Handler = Callable[..., Awaitable[object]]


def _only_while_signed_in(handle: Handler, is_out: IsOut) -> Handler:
    @functools.wraps(handle)
    async def guarded(sid: str, *data: object) -> object:
        session = WebsocketSession.get(sid)
        if session and is_out(session):
            await _show_out(session)
            return None
        return await handle(sid, *data)

    return guarded


async def _watch(is_out: IsOut) -> None:
    """Looks at every open page, as long as the server runs."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        for session in list(ws_sessions_id.values()):
            if is_out(session):
                await _show_out(session)


async def _show_out(session: WebsocketSession) -> None:
    """Ends what is being answered; the page loads again, and finds the login."""
    if session.current_task:
        session.current_task.cancel()
    session.to_clear = True  # nobody takes it up again
    await sio.emit("reload", {}, session.socket_id)
    await sio.disconnect(session.socket_id)
