"""A thumb is given, changed and taken back by whose answer it is about, and by nobody else.

Chainlit 2.12.0 asks whether somebody is signed in, not who, and takes a thumb for that of whatever
session the browser names.
"""

import contextlib
import logging
import uuid
from collections.abc import Iterator

import chainlit.server as server
from chainlit.auth import get_current_user, get_token_from_cookies
from chainlit.config import config
from chainlit.context import ChainlitContext, context_var
from chainlit.session import HTTPSession
from chainlit.types import DeleteFeedbackRequest, UpdateFeedbackRequest
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from clfcore.errors import TuneshotError
from icl.chat.store.chat_store import ChatStore
from icl.chat.store.storage import data_layer

log = logging.getLogger("tuneshot")

PATH = "/feedback"


def install() -> None:
    """Puts our routes in the place of Chainlit's."""
    routes = server.router.routes
    routes[:] = [route for route in routes if getattr(route, "path", None) != PATH]
    for method, answer in (("PUT", give), ("DELETE", take_back)):
        server.app.router.routes.insert(0, Route(PATH, answer, methods=[method]))


async def give(request: Request) -> JSONResponse:
    """Keeps a thumb, in place of an earlier one."""
    store = await _open_store(request)
    with one_line_errors():
        feedback = UpdateFeedbackRequest(**await request.json()).feedback
        id = await store.upsert_feedback(feedback)
    if config.code.on_feedback:
        try:
            await config.code.on_feedback(feedback)
        except TuneshotError as error:
            log.warning("a thumb is not among the votes: %s", error)
    return JSONResponse({"success": True, "feedbackId": id})


async def take_back(request: Request) -> JSONResponse:
    """Takes a thumb back."""
    store = await _open_store(request)
    with one_line_errors():
        id = DeleteFeedbackRequest(**await request.json()).feedbackId
        if not await store.delete_feedback(id):
            raise TuneshotError("there is no such thumb in your chats")
    return JSONResponse({"success": True})


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """What may go wrong while a thumb is read and kept becomes a status and one line."""
    try:
        yield
    except TuneshotError as error:
        raise HTTPException(404, str(error)) from error
    except (SQLAlchemyError, OSError) as error:
        raise HTTPException(503, "the thumb could not be kept; try again later") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise HTTPException(422, "this is no thumb") from error


async def _open_store(request: Request) -> ChatStore:
    """The store, which then knows who asks."""
    user = await get_current_user(get_token_from_cookies(request.cookies))
    store = data_layer()
    if store is None or user is None:
        raise HTTPException(400, "thumbs are kept only where people sign in")
    session = HTTPSession(str(uuid.uuid4()), "webapp", user=user)
    context_var.set(ChainlitContext(session))
    return store
