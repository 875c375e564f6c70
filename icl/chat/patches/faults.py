"""A request that Chainlit's routes cannot answer is one line in the log, and one in the answer.

Chainlit 2.12.0 answers a session that has ended, a button without a name or an upload without a
name with a trace of up to two hundred lines; and an empty file with one, too. What it says of other
files is English on every page.
"""

import logging
import re
import traceback
from contextvars import ContextVar
from pathlib import Path

import chainlit.server as server
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from icl.chat.language import page_language, say
from icl.chat.patches.events import MAX_LINE_CHARACTERS
from icl.service.stopping import NotedSend

log = logging.getLogger("tuneshot")

CANNOT = "this cannot be answered; reload the page and try again"
EMPTY = "the file is empty; send one with at least one message"
TOO_LARGE = "the file is too large; send one of at most 2 MB"
NO_TABLE = "this kind of file is not read; send .csv, .tsv, .txt, .xlsx or .jsonl"
_REFUSED = {"File size too large": TOO_LARGE, "File type not allowed": NO_TABLE}  # Chainlit's words

_language: ContextVar[str] = ContextVar("language", default="")  # of the browser that asks


def install() -> None:
    """Puts the line in the place of the trace, and refuses an empty file as any other wrong one."""
    server.app.add_middleware(answer_in_one_line)
    validate = server.validate_file_upload

    def validate_file_upload(file: server.UploadFile, *rest: object, **options: object) -> None:
        try:
            validate(file, *rest, **options)
        except ValueError as error:
            raise ValueError(_said(_REFUSED.get(str(error), str(error)))) from error
        if not file.size:
            raise ValueError(_said(EMPTY))

    server.validate_file_upload = validate_file_upload


def _said(words: str) -> str:
    return say(words, page_language(_language.get()))


def answer_in_one_line(app: ASGIApp) -> ASGIApp:
    """Wraps ``app``. The page's own handlers answer for themselves; what is left is Chainlit's."""

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        accepted = Request(scope).headers.get("accept-language", "")
        _language.set(re.split("[,;]", accepted)[0].strip())
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
                await JSONResponse({"detail": _said(CANNOT)}, 500)(scope, receive, send)

    return answered
