"""A request that Chainlit's routes cannot answer is one line in the log, and one in the answer.

Chainlit 2.12.0 answers a session that has ended, a button without a name or an upload without a
name with a trace of up to two hundred lines; and an empty file with one, too.
"""

import logging
import traceback
from pathlib import Path

import chainlit.server as server
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from icl.chat.patches.events import MAX_LINE_CHARACTERS
from icl.service.stopping import NotedSend

log = logging.getLogger("tuneshot")

CANNOT = "this cannot be answered; reload the page and try again"


def install() -> None:
    """Puts the line in the place of the trace, and refuses an empty file as any other wrong one."""
    server.app.add_middleware(answer_in_one_line)
    validate = server.validate_file_upload

    def validate_file_upload(file: server.UploadFile, *rest: object, **options: object) -> None:
        validate(file, *rest, **options)
        if not file.size:
            raise ValueError("the file is empty; send one with at least one message")

    server.validate_file_upload = validate_file_upload


def answer_in_one_line(app: ASGIApp) -> ASGIApp:
    """Wraps ``app``. The page's own handlers answer for themselves; what is left is Chainlit's."""

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        sending = NotedSend(send)
        try:
            await app(scope, receive, sending)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            log.error(
                "%s %s cannot be answered (%s: %s; %s, line %s)",
                scope["method"], Request(scope).url.path[:MAX_LINE_CHARACTERS],
                type(error).__name__, str(error)[:MAX_LINE_CHARACTERS],
                Path(place.filename).name, place.lineno,
            )  # fmt: skip
            if not sending.started:
                await JSONResponse({"detail": CANNOT}, 500)(scope, receive, send)

    return answered
