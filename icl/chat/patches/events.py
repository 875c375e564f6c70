"""A page's events are taken as pages send them; what no page sends is one line of the log.

Chainlit 2.12.0 takes any event with any data: a wrong type, a message before the connection or an
event of a part that is switched off ends in a trace of ten to ninety lines, and ``connect``, sent
as an event, is taken for a new connection. The libraries below it do the same with what is no
event at all.
"""

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal
from uuid import UUID

import chainlit.server as server
from chainlit.session import WebsocketSession
from pydantic import AfterValidator, BaseModel, ConfigDict, StrictStr, TypeAdapter, ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger("tuneshot")

MAX_LINE_CHARACTERS = 200  # of what is said about an event

Plain = StrictStr | int | float | bool | None  # deeper values are of no use to the page


def _random_uuid(text: str) -> str:
    if UUID(text).version != 4:
        raise ValueError("not a random UUID")
    return text


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class SentMessage(_Strict):
    """What Chainlit reads of a message."""

    id: Annotated[str, AfterValidator(_random_uuid)]
    type: Literal["user_message"]
    output: str
    createdAt: str
    name: str = ""
    parentId: str | None = None
    command: str | None = None
    language: str | None = None
    modes: dict[str, str] | None = None
    metadata: dict[str, Plain] | None = None


class FileReference(_Strict):
    """A file that was uploaded before."""

    id: str


class SentMessages(_Strict):
    """What comes with ``client_message``."""

    message: SentMessage
    fileReferences: list[FileReference] | None = None


Check = Callable[[tuple[object, ...]], object]


def _nothing(data: tuple[object, ...]) -> None:
    if data not in ((), (None,)):
        raise ValueError("it comes with data")


def _one(kind: Any) -> Check:  # noqa: ANN401  a type, as Pydantic takes it
    adapter = TypeAdapter(kind)

    def check(data: tuple[object, ...]) -> None:
        (only,) = data
        adapter.validate_python(only)

    return check


# Event -> what may come with it. Editing, favourites, audio and windows around the page are off.
CHECKS: dict[str, Check] = {
    "connection_successful": _nothing,
    "clear_session": _nothing,
    "fetch_favorites": _nothing,
    "stop": _nothing,
    "client_message": _one(SentMessages),
    "chat_settings_change": _one(dict[str, Plain]),
    "chat_settings_edit": _one(dict[str, Plain]),
}


def install() -> None:
    """Puts the check before every handler, and one line in the place of the libraries' traces."""
    handlers = server.sio.handlers["/"]
    for event, handle in list(handlers.items()):
        if event == "connect":
            server.sio.on(event, _only_once(handle))
        elif event == "disconnect":
            server.sio.on(event, _without_reason(handle))
        elif event in CHECKS:
            server.sio.on(event, _checked(event, handle))
        else:
            server.sio.on(event, _closed(event))
    server.sio._trigger_event = _named(server.sio._trigger_event)
    for library in ("engineio.server", "socketio.server"):
        logger = logging.getLogger(library)
        logger.handlers.clear()  # it has one of its own, and would say everything twice
        logger.addFilter(_in_one_line)
    for route in server.app.routes:
        if getattr(route, "app", None) is server.asgi_app:
            route.app = _ended_by_nonsense(route.app)


Handler = Callable[..., Awaitable[object]]


def _checked(event: str, handle: Handler) -> Handler:
    takes_data = len(inspect.signature(handle).parameters) > 1

    @functools.wraps(handle)
    async def checked(sid: str, *data: object) -> object:
        try:
            CHECKS[event](data)
        except (ValueError, RecursionError) as error:
            _refuse(event, _reason(error))
            return None
        if WebsocketSession.get(sid) is None:
            _refuse(event, "it is not connected")
            return None
        return await handle(sid, *(data if takes_data else ()))

    return checked


def _refuse(event: str, why: str) -> None:
    log.warning("a page's event %s is not taken: %s", event[:40], why[:MAX_LINE_CHARACTERS])


def _closed(event: str) -> Handler:
    async def closed(*_: object) -> None:
        _refuse(event, "it is not used here")

    return closed


def _named(trigger: Handler) -> Handler:
    """The library's own, which looks for the handler of an event, also if its name is a list."""

    async def named(event: object, namespace: str, *data: object) -> object:
        if isinstance(event, str):
            return await trigger(event, namespace, *data)
        _refuse(type(event).__name__, "that is no name")
        return server.sio.not_handled

    return named


def _only_once(handle: Handler) -> Handler:
    """``connect``, which comes from the server; a page could only pretend to be another one."""

    @functools.wraps(handle)
    async def connect(sid: str, *data: object) -> object:
        if len(data) != 2 or data[0] is not server.sio.get_environ(sid):
            _refuse("connect", "it is connected")
            return None
        return await handle(sid, *data)

    return connect


def _without_reason(handle: Handler) -> Handler:
    @functools.wraps(handle)
    async def disconnect(sid: str, *_: object) -> object:
        return await handle(sid)

    return disconnect


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'its data'}: {first['msg']}"
    return str(error) or type(error).__name__


def _in_one_line(record: logging.LogRecord) -> bool:
    """Of what no client sends, a trace through the libraries says nothing more."""
    if record.exc_info and record.exc_info[1]:
        error = record.exc_info[1]
        reason = f"{type(error).__name__}: {error}"[:MAX_LINE_CHARACTERS]
        record.msg, record.args = "a socket sent what cannot be read (%s)", (reason,)
        record.exc_info = record.exc_text = None
    return True


def _ended_by_nonsense(app: ASGIApp) -> ASGIApp:
    """``app``, the sockets: what is not even a packet ends its connection."""

    async def ended(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"[:MAX_LINE_CHARACTERS]
            log.warning("a socket sent what cannot be read (%s)", reason)

    return ended
