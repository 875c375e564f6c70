"""Lets only well-formed session ids connect."""

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


def install() -> None:
    """Puts the check before Chainlit's own handling of a new connection."""
    accept = sio.handlers["/"]["connect"]

    async def connect(sid: str, environ: dict[str, Any], auth: object) -> object:
        if not (isinstance(auth, dict) and is_session_id(auth.get("sessionId"))):
            raise ConnectionRefusedError("invalid session id")
        return await accept(sid, environ, auth)

    sio.on("connect", connect)
