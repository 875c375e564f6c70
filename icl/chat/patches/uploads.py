"""Large uploads are refused before they are read: Chainlit checks their size only afterwards."""

import chainlit.server as server
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

MAX_UPLOAD_BYTES = 2_500_000  # 2 MB, and the form around them
_UPLOAD_PATH = "/project/file"


class UploadLimit:
    """Refuses uploads by their announced length, which the server holds them to."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 413 if the length is missing or too large, or passes the request on."""
        if (
            scope["type"] == "http"
            and scope["method"] == "POST"
            and scope["path"].endswith(_UPLOAD_PATH)
        ):
            length = dict(scope["headers"]).get(b"content-length", b"")
            if not length.isdigit() or int(length) > MAX_UPLOAD_BYTES:
                detail = "the file is too large; send at most 2 MB"
                await JSONResponse({"detail": detail}, 413)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def install() -> None:
    """Puts the limit before Chainlit's own handling."""
    server.app.add_middleware(UploadLimit)
