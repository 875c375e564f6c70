"""What a cookie is worth: as much as the code that its owner signed in with, while that holds.

Chainlit signs a cookie with a name, and takes it for 15 days. Here it also carries a proof of the
code, so nobody is let in any more who is taken off the codes, or whose code is changed; a cookie of
another kind of login is worth nothing either.
"""

import hashlib
import hmac
import os
from collections.abc import Callable

import chainlit as cl
import chainlit.auth as auth
import chainlit.server as server
from chainlit.auth.jwt import decode_jwt, pyjwt
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clfcore.types import without_lone_surrogates
from icl.session.login_codes import AUTH_SECRET

PROOF = "proof"  # in the metadata of Chainlit's user, which the cookie carries

_code_of: Callable[[str], str | None]


def install(code_of: Callable[[str], str | None]) -> None:
    """Has Chainlit check the proof wherever it reads a cookie.

    Args:
        code_of: what a name signs in with now; ``None``: nobody of that name.
    """
    global _code_of
    _code_of = code_of
    auth.decode_jwt = server.decode_jwt = read


def user(name: str) -> cl.User:
    """Who has just signed in, with what the cookie will carry."""
    return cl.User(identifier=name, metadata={PROOF: _proof(name)})


def read(token: str) -> cl.User:
    """Who a cookie is of.

    Raises:
        jwt.InvalidTokenError: it is forged, too old, or its owner may not come in any more.
    """
    user = decode_jwt(token)
    expected, sent = _proof(user.identifier), str(user.metadata.get(PROOF))
    if expected is None or not hmac.compare_digest(expected.encode(), sent.encode()):
        raise pyjwt.InvalidTokenError(
            "the code that this cookie was made with is not in force any more"
        )
    return user


def name_in(token: str | None) -> str | None:
    """Whose cookie it is; ``None``: nobody's who may come in."""
    try:
        return str(read(token).identifier) if token else None
    except (pyjwt.InvalidTokenError, ValueError):
        return None


def _proof(name: str) -> str | None:
    if (code := _code_of(name)) is None:
        return None
    signed = without_lone_surrogates(f"{name}\n{code}").encode()
    return hmac.new(os.environ[AUTH_SECRET].encode(), signed, hashlib.sha256).hexdigest()


# --- on the way ---------------------------------------------------------------------------------


def guard_cookies(app: ASGIApp) -> ASGIApp:
    """Wraps ``app``: no script reads its cookies, no other site's page sends them, and what came by
    https is never sent without it. Chainlit's are for http, too.

    Behind a proxy that was named, its ``X-Forwarded-Proto`` says which of the two it was.
    """

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, _guarded(value, scope["scheme"]) if name == b"set-cookie" else value)
                    for name, value in message["headers"]
                ]
            await send(message)

        await app(scope, receive, send_guarded)

    return guarded


def _guarded(cookie: bytes, scheme: str) -> bytes:
    named = (b"httponly", b"samesite", b"secure")
    kept = [
        part
        for part in map(bytes.strip, cookie.split(b";"))
        if part.partition(b"=")[0].lower() not in named
    ]
    own = [b"HttpOnly", b"SameSite=lax", *([b"Secure"] if scheme == "https" else [])]
    return b"; ".join([*kept, *own])
