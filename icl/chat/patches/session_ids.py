"""Lets only those connect who introduce themselves as the page does, with a well-formed session id.

Chainlit 2.12.0 looks at what it is told while it uses it: another type ends in a trace.
"""

import json
import uuid
from typing import Any

from chainlit.server import sio
from socketio.exceptions import ConnectionRefusedError  # type: ignore[import-untyped]


def is_session_id(value: object) -> bool:
    """Whether ``value`` is a random (version 4) UUID in its usual spelling."""
    try:
        return (
            isinstance(value, str)
            and (parsed := uuid.UUID(value)).version == 4
            and str(parsed) == value.lower()
        )
    except ValueError:
        return False


def is_introduction(value: object) -> bool:
    """Whether ``value`` is what a page says of itself when it connects."""
    if not isinstance(value, dict) or not is_session_id(value.get("sessionId")):
        return False
    optional = [value.get(name) or "" for name in ("threadId", "chatProfile", "userEnv")]
    if not all(isinstance(text, str) for text in (value.get("clientType"), *optional)):
        return False
    try:
        return isinstance(json.loads(value.get("userEnv") or "{}"), dict)
    except (ValueError, RecursionError):
        return False


def install() -> None:
    """Puts the check before Chainlit's own handling of a new connection."""
    accept = sio.handlers["/"]["connect"]

    async def connect(sid: str, environ: dict[str, Any], auth: object) -> object:
        if not is_introduction(auth):
            raise ConnectionRefusedError("invalid session id")
        return await accept(sid, environ, auth)

    sio.on("connect", connect)
