"""Only what the page uses is served: no API explorer, no tool servers."""

import chainlit.server as server

_CLOSED = {
    *("/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json", "/mcp"),
    *("/project/thread/share", "/project/share/{thread_id}"),
}


def install() -> None:
    """Removes Chainlit's other routes."""
    for router in (server.app.router, server.router):
        router.routes[:] = [r for r in router.routes if getattr(r, "path", "") not in _CLOSED]
