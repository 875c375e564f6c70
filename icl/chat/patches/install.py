"""What Chainlit 2.12.0 needs for a class without a network. Imported first, once, by chat_app.py.

Each block is a workaround; tests/test_chat_app.py and tests/test_browser.py say when one is no
longer needed.
"""

import os
import re

import chainlit.server as server
from chainlit.config import ChainlitConfig, config
from chainlit.session import WebsocketSession
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from icl.chat import login
from icl.chat.language import page_language
from icl.chat.patches import resend as missed
from icl.chat.patches import session_ids as guard
from icl.chat.store import storage

# 1. The page must paint with the network cable out: its stylesheets at Google and jsDelivr block
#    rendering until they time out.
_OUTSIDE_LINK = re.compile(r"<link[^>]+https?://[^>]*>")
_html = server.get_html_template


def offline_html(root_path: str) -> str:
    """Chainlit's page without anything that another machine would have to send."""
    return _OUTSIDE_LINK.sub("", _html(root_path))


server.get_html_template = offline_html


# 2. Connecting must not re-enter the event loop: with chat profiles, 25 people who join in the
#    same second run into a RecursionError. Right as long as no profile overrides the config.
def shared_config(session: WebsocketSession) -> ChainlitConfig:
    """One configuration for everybody."""
    return config


WebsocketSession.get_config = shared_config


# 3. Chats are stored where there is a login and nowhere else, whatever DATABASE_URL or
#    LITERAL_API_KEY stand for on this machine. And no chat bot is started with tokens that are
#    meant for another program.
login.install()
storage.install()

for _name in ("DISCORD_BOT_TOKEN", "SLACK_BOT_TOKEN"):
    os.environ.pop(_name, None)

# 4. Only what the page uses: no API explorer, no tool servers.
_CLOSED = {
    *("/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json", "/mcp"),
    *("/project/thread/share", "/project/share/{thread_id}"),
}
for _router in (server.app.router, server.router):
    _router.routes[:] = [r for r in _router.routes if getattr(r, "path", "") not in _CLOSED]


# 5. Uploads are read into memory before their size is checked: a request that does not say how
#    large it is, or is too large, is not read at all.
MOST_BYTES = 2_500_000  # 2 MB, and the form around them


class UploadLimit:
    """Refuses large uploads by their announced length, which the server holds them to."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 413, or passes the request on."""
        if (
            scope["type"] == "http"
            and scope["method"] == "POST"
            and scope["path"].endswith(_UPLOAD)
        ):
            length = dict(scope["headers"]).get(b"content-length", b"")
            if not length.isdigit() or int(length) > MOST_BYTES:
                detail = "the file is too large; send at most 2 MB"
                await JSONResponse({"detail": detail}, 413)(scope, receive, send)
                return
        await self.app(scope, receive, send)


_UPLOAD = "/project/file"
server.app.add_middleware(UploadLimit)

# 6. Session ids are chosen by the browser: only well-formed ones.
guard.install()

# 7. An answer that comes while its page is not connected must not be lost.
missed.install()

# 8. German or English: Chainlit knows 20 other languages, but not our part of the page, and gives
#    somebody in Vienna English.
_translation, _guide = ChainlitConfig.load_translation, server.get_markdown_str
ChainlitConfig.load_translation = lambda self, code: _translation(self, page_language(code))
server.get_markdown_str = lambda root, code: _guide(root, page_language(code))
