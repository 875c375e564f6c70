"""Who may use the page, set up by environment variables alone; with none of them, everybody.

``icl/session/login_codes.py`` reads them. ``CHAINLIT_AUTH_SECRET`` signs the cookies; unset, one is
made and kept in the data directory, so that a restart logs nobody out.
"""

import hashlib
import hmac
import logging
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar

import chainlit as cl
import chainlit.server as server
from starlette.types import ASGIApp, Receive, Scope, Send

from clfcore.types import without_lone_surrogates
from icl.session.login_codes import (
    AUTH_SECRET,
    HEADER,
    cookie_key,
    login_configured,
    read_codes,
)

log = logging.getLogger("tuneshot")

MAX_NAME_CHARACTERS = 200

FAILURE_WINDOW_SECONDS = 60.0
MAX_FAILURES_PER_NAME = 5  # in a window
MAX_FAILURES_PER_ADDRESS = 20  # a whole class may sit behind one


def install() -> None:
    """Makes Chainlit ask who is there, if a login is configured.

    Raises:
        TuneshotError: two logins at once, or codes or a key of cookies that cannot be used.
    """
    if not login_configured():
        return
    os.environ[AUTH_SECRET] = cookie_key()  # where Chainlit looks for it
    if header := os.environ.get(HEADER):

        @cl.header_auth_callback
        async def from_header(headers: Mapping[str, str]) -> cl.User | None:
            name = headers.get(header, "").strip()
            return cl.User(identifier=name) if 0 < len(name) <= MAX_NAME_CHARACTERS else None

        return
    authenticator = CodeAuthenticator(read_codes())
    server.app.add_middleware(remember_address)

    @cl.password_auth_callback
    async def from_code(username: str, password: str) -> cl.User | None:
        name = authenticator.authenticate(username, password, _address.get())
        return cl.User(identifier=name) if name else None


class CodeAuthenticator:
    """Lets in people who know a code, and slows down those who guess.

    Args:
        codes: name -> code; only digests are kept.
        now: seconds, from any start.
    """

    def __init__(self, codes: Mapping[str, str], now: Callable[[], float] = time.monotonic) -> None:
        self._codes = {name: (_digest(name), _digest(code)) for name, code in codes.items()}
        self._names = FailureLimit(MAX_FAILURES_PER_NAME, now)
        self._addresses = FailureLimit(MAX_FAILURES_PER_ADDRESS, now)

    def authenticate(self, name: str, code: str, address: str) -> str | None:
        """The name, if the code is its own and there were not too many failures of late."""
        name = name.strip()[:MAX_NAME_CHARACTERS]
        limits = ((self._names, name), (self._addresses, address))
        if any(limit.reached(key) for limit, key in limits):
            log.warning("too many failed logins from %s; refused for a minute", address)
            return None
        name_digest, code_digest = _digest(name), _digest(code.strip())
        # Every name is looked at to the end, with "&": time tells neither names nor codes.
        matches = [
            known
            for known, (its_name, its_code) in self._codes.items()
            if hmac.compare_digest(its_name, name_digest)
            & hmac.compare_digest(its_code, code_digest)
        ]
        if not matches:
            for limit, key in limits:
                limit.record(key)
        return matches[0] if matches else None


class FailureLimit:
    """Counts failures by key within a minute.

    Args:
        limit: failures after which a key has to wait, until the oldest is a minute old.
        now: seconds, from any start.
        keys: how many are remembered; the ones that failed longest ago are forgotten.
    """

    def __init__(self, limit: int, now: Callable[[], float], keys: int = 10_000) -> None:
        self.limit, self.now, self.keys = limit, now, keys
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def reached(self, key: str) -> bool:
        """Whether ``key`` has to wait."""
        times = self._failures.get(key)
        return (
            times is not None
            and len(times) == self.limit
            and self.now() - times[0] < FAILURE_WINDOW_SECONDS
        )

    def record(self, key: str) -> None:
        """Counts a failure."""
        self._failures.setdefault(key, deque(maxlen=self.limit)).append(self.now())
        self._failures.move_to_end(key)
        while len(self._failures) > self.keys:
            self._failures.popitem(last=False)


def _digest(text: str) -> bytes:
    return hashlib.sha256(without_lone_surrogates(text).encode()).digest()


# --- addresses ----------------------------------------------------------------------------------

_address: ContextVar[str] = ContextVar("address", default="")


def remember_address(app: ASGIApp) -> ASGIApp:
    """Makes a visitor's address known to the callback, which Chainlit only gives name and code.

    Behind a proxy on this machine the server itself replaces it by what the proxy forwards.
    """

    async def remembering(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("client"):
            _address.set(scope["client"][0])
        await app(scope, receive, send)

    return remembering
