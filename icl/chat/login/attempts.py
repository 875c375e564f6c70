"""Names and codes that visitors try: who knows a code is let in at once, who guesses has to wait.

The wait is that of a wrong code, never that of a person: nobody can lock others out by guessing at
their names, and of a class behind one address those who know their codes notice nothing of one who
guesses.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from clfcore.types import without_lone_surrogates

log = logging.getLogger("tuneshot")

MAX_NAME_CHARACTERS = 200

# A wrong code is answered later the more of them came from its address within a minute. Together:
# one address gets at most four answers a second, however many connections it opens.
WINDOW_SECONDS = 60.0
SECONDS_PER_FAILURE = 0.5
MAX_FAILURES = 20  # that count: the longest wait is 10 seconds
MAX_HELD = 40  # wrong codes of one address that wait for their answer; others are not looked at
MAX_WAITING = 200  # codes of one address that wait to be looked at; others are refused
MAX_ADDRESSES = 10_000  # that are remembered; the ones that tried longest ago are forgotten


class CodeAuthenticator:
    """Lets in people who know a code, and slows down those who guess.

    Args:
        codes: gives name -> code, those in force.
        now: seconds, from any start.
        sleep: waits for some seconds.
    """

    def __init__(
        self,
        codes: Callable[[], Mapping[str, str]],
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._codes, self._now, self._sleep = codes, now, sleep
        self._origins: OrderedDict[str, Origin] = OrderedDict()

    async def authenticate(self, name: str, code: str, address: str) -> str | None:
        """The name, at once, if the code is its own; else ``None``, after a while.

        Raises:
            HTTPException: too many wait at this address.
        """
        origin = self._origin(address)
        if origin.waiting >= MAX_WAITING:
            raise HTTPException(429, "too many wrong codes; try again later", {"Retry-After": "60"})
        origin.waiting += 1
        try:
            await origin.looked_at.acquire()
        finally:
            origin.waiting -= 1
        try:
            who = self._match(name.strip()[:MAX_NAME_CHARACTERS], code.strip())
            if who is None:
                await self._sleep(origin.fail(self._now()))
            return who
        finally:
            origin.looked_at.release()

    def _origin(self, address: str) -> "Origin":
        place = network(address)
        origin = self._origins.setdefault(place, Origin(place))
        self._origins.move_to_end(place)
        while len(self._origins) > MAX_ADDRESSES:
            self._origins.popitem(last=False)
        return origin

    def _match(self, name: str, code: str) -> str | None:
        name_digest, code_digest = _digest(name), _digest(code)
        # Every name is looked at to the end, with "&": time tells neither names nor codes.
        matches = [
            known
            for known, its_code in self._codes().items()
            if hmac.compare_digest(_digest(known), name_digest)
            & hmac.compare_digest(_digest(its_code), code_digest)
        ]
        return matches[0] if matches else None


class Origin:
    """What is known of one address: its failures of late, and how many of its codes wait.

    Args:
        place: for the log.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.waiting = 0
        self.looked_at = asyncio.Semaphore(MAX_HELD)
        self._failures = deque[float](maxlen=MAX_FAILURES)
        self._told = -WINDOW_SECONDS

    def fail(self, now: float) -> float:
        """Counts a failure; returns for how many seconds its answer has to wait."""
        self._failures.append(now)
        recent = sum(now - failure < WINDOW_SECONDS for failure in self._failures)
        if recent == MAX_FAILURES and now - self._told >= WINDOW_SECONDS:
            self._told = now
            log.warning("%d wrong codes from %s within a minute", recent, self.place)
        return SECONDS_PER_FAILURE * recent


def network(address: str) -> str:
    """Whose guesses are counted together: one address; of IPv6 the 64 bits that one line gets."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:  # a proxy has passed on what somebody wrote
        return "an unknown address"
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is None:
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(getattr(ip, "ipv4_mapped", None) or ip)


def _digest(text: str) -> bytes:
    return hashlib.sha256(without_lone_surrogates(text).encode()).digest()


# --- addresses ----------------------------------------------------------------------------------

address: ContextVar[str] = ContextVar("address", default="")


def remember_address(app: ASGIApp) -> ASGIApp:
    """Makes a visitor's address known to the callback, which Chainlit only gives name and code.

    Behind a proxy that was named the server itself replaces it by what the proxy forwards.
    """

    async def remembering(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("client"):
            address.set(scope["client"][0])
        await app(scope, receive, send)

    return remembering
