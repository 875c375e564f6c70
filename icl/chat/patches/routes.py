"""Only what the page uses is served, and only to the page.

Chainlit 2.12.0 also has an API explorer, tool servers, shared chats, sign-in at other companies and
a page to embed elsewhere; its socket takes connections from any site, long polling, and attachments
of any number.
"""

import chainlit.server as server
from socketio.packet import BINARY_ACK, BINARY_EVENT, Packet  # type: ignore[import-untyped]
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from icl.chat.store.files import ROUTE as KEPT_FILES
from icl.service.guard import Guard
from icl.service.hosts import allowed_hosts

COOKIE = "/set-session-cookie"

# Method and path of all that is open -> what the page needs it for.
OPEN = {
    ("GET", "/{full_path:path}"): "the page, at every address that is no other route's",
    ("HEAD", "/"): "whether it is there",
    ("GET", "/health"): "whether it is there",
    ("GET", "/public/{filename:path}"): "our styles, icons and cards",
    ("GET", "/assets/{filename:path}"): "Chainlit's program",
    ("GET", "/favicon"): "the picture in the browser's tab",
    ("GET", "/logo"): "the picture of the sign-in",
    ("GET", "/avatars/{avatar_id:str}"): "the picture beside an answer",
    ("GET", "/project/translations"): "Chainlit's words",
    ("GET", "/project/settings"): "profiles, starters, guide",
    ("GET", "/auth/config"): "how one signs in",
    ("POST", "/login"): "sign-in with a code",
    ("POST", "/auth/header"): "sign-in by a proxy",
    ("POST", "/logout"): "sign-out",
    ("GET", "/user"): "who is signed in",
    ("POST", COOKIE): "asked for before each connection; below, as Chainlit's reads any length",
    ("MOUNT", "/ws/socket.io"): "the chat",
    ("POST", "/project/action"): "buttons",
    ("POST", "/project/file"): "an upload",
    ("GET", "/project/file/{file_id}"): "a table of answers, a report, a picture",
    ("GET", KEPT_FILES + "/{key:path}"): "a picture of a kept chat",
    ("POST", "/project/threads"): "the list of kept chats",
    ("GET", "/project/thread/{thread_id}"): "a kept chat",
    ("PUT", "/project/thread"): "another name for a kept chat",
    ("DELETE", "/project/thread"): "a kept chat is removed",
    ("PUT", "/feedback"): "a thumb",
    ("DELETE", "/feedback"): "a thumb is taken back",
}


class TextPacket(Packet):  # type: ignore[misc]
    """A packet that no attachments follow; they would be kept until the last of them is there."""

    def decode(self, encoded_packet: str) -> int:
        """Reads a packet.

        Raises:
            ValueError: it is of no such kind.
        """
        attachments: int = super().decode(encoded_packet)
        if self.packet_type in (BINARY_EVENT, BINARY_ACK):
            raise ValueError("packets with attachments are not taken")
        return attachments


async def no_cookie(request: Request) -> JSONResponse:
    """Where several processes serve a page, a cookie says which of them knows the session."""
    return JSONResponse({"message": "one process needs no session cookie"})


def install() -> None:
    """Closes the other routes and transports, and guards what is open. After all other patches.

    Raises:
        TuneshotError: one of the hosts that are allowed is no name.
    """
    for router in (server.app.router, server.router):
        router.routes[:] = [route for route in router.routes if entries(route) <= OPEN.keys()]
    server.app.router.routes.insert(0, Route(COOKIE, no_cookie, methods=["POST"]))
    server.sio.eio.transports = ["websocket"]
    server.sio.packet_class = TextPacket
    server.app.add_middleware(Guard, hosts=allowed_hosts(), anywhere=("/health",))


def entries(route: BaseRoute) -> set[tuple[str, str]]:
    """Method and path of all that a route answers; of a whole application, ``MOUNT`` and path."""
    if getattr(route, "original_router", None) is server.router:
        return set()  # FastAPI keeps it as a whole; its own routes are looked at one by one
    path = str(getattr(route, "path", ""))
    methods = set(getattr(route, "methods", None) or {"MOUNT"})
    return {(method, path) for method in methods - ({"HEAD"} if "GET" in methods else set())}
