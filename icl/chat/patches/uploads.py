"""Large uploads are refused before they are read: Chainlit checks their size only afterwards."""

import chainlit.server as server
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

MAX_UPLOAD_BYTES = 2_500_000  # 2 MB, and the form around them


def limit_uploads(app: ASGIApp) -> ASGIApp:
    """Wraps ``app``: an upload whose length is missing or too large is answered with 413.

    The server holds uploads to the length that they announce.
    """

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] == "http"
            and scope["method"] == "POST"
            and scope["path"].endswith("/project/file")
        ):
            length = dict(scope["headers"]).get(b"content-length", b"")
            if not length.isdigit() or int(length) > MAX_UPLOAD_BYTES:
                detail = "the file is too large; send at most 2 MB"
                await JSONResponse({"detail": detail}, 413)(scope, receive, send)
                return
        await app(scope, receive, send)

    return limited


def install() -> None:
    """Puts the limit before Chainlit's own handling."""
    server.app.add_middleware(limit_uploads)
