"""Where chats are kept: in a database for people who are logged in; without a login, nowhere."""

import functools
import logging

import chainlit as cl
import chainlit.server as server
from chainlit.auth import get_token_from_cookies
from chainlit.session import WebsocketSession
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from icl.chat.language import say
from icl.chat.login import cookies
from icl.chat.store.chat_store import ChatStore, incomplete_threads
from icl.chat.store.database import CannotStoreError, database_url
from icl.chat.store.files import ROUTE, ElementFiles
from icl.session.data_folder import data_dir, secret
from icl.session.login_codes import login_configured

log = logging.getLogger("tuneshot")


def install() -> None:
    """Tells Chainlit where to keep chats, and serves their files.

    Raises:
        TuneshotError: as ``data_layer``.
    """
    store = data_layer()  # now: the start is where a database that cannot be used is noticed
    cl.data_layer(data_layer)
    if store is not None:  # before Chainlit's last route, which takes every address
        server.app.router.routes.insert(0, Route(ROUTE + "/{key:path}", kept_file))


@functools.cache
def data_layer() -> ChatStore | None:
    """What keeps chats, or ``None`` without a login.

    Where its disk is full or read-only, nothing is kept, and a line in the log says so: visitors
    are answered all the same.

    Raises:
        TuneshotError: the login is set up wrongly; the data directory or the database cannot be
            used, or a newer version made it.
    """
    if not login_configured():
        return None
    folder = data_dir()
    try:
        return ChatStore(database_url(folder), ElementFiles(folder / "elements", secret("files")))
    except CannotStoreError as error:
        log.warning("no chats are kept until the next start: %s", error)
        return None


async def kept_file(request: Request) -> Response:
    """A file of a stored chat, for the person it belongs to."""
    store, visitor = data_layer(), cookies.name_in(get_token_from_cookies(request.cookies))
    if store is None or visitor is None:
        return PlainTextResponse("sign in first", 401)
    return await store.files.serve(request, visitor)


async def save_session() -> None:
    """Keeps what the open session knows, for ``on_chat_resume``: profile, settings, and what is
    JSON of ``cl.user_session``. Chainlit does so when a visitor leaves, not when the server dies.

    As it is the last write of a turn, the turn is stored afterwards, or the page says it is not.
    """
    layer, session = data_layer(), cl.context.session
    if layer is not None and isinstance(session, WebsocketSession):
        await layer.update_thread(session.thread_id, metadata=session.to_persistable())
        if session.thread_id in incomplete_threads:
            incomplete_threads.remove(session.thread_id)
            await cl.context.emitter.send_toast(say(NOT_KEPT), "warning")


NOT_KEPT = "Part of this chat could not be kept; it will be missing when you come back."
