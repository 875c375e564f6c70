"""The names a server answers to, and the pages that may talk to it.

Two attacks come from a page of another site that a visitor has open. It can give its own name the
address of this machine and read what is served here (DNS rebinding): the ``Host`` header gives it
away. And it can send requests and open sockets with the visitor's cookies (cross-site request
forgery, cross-site WebSocket hijacking): the ``Origin`` header gives it away, which a browser adds
and no script can change. What is not a browser sends no ``Origin``.
"""

import ipaddress
import os
import re
from collections.abc import Collection

from clfcore.errors import TuneshotError

ALLOWED_HOSTS = "TUNESHOT_ALLOWED_HOSTS"
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})

DEFAULT_PORTS = {"http": 80, "https": 443}
_ADDRESS = re.compile(
    r"(\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9_.-]*?[a-z0-9_-])?)\.?(?::([0-9]{1,5}))?", re.IGNORECASE
)


def allowed_hosts() -> frozenset[str]:
    """The names this server answers to: this machine's own, and those of the environment.

    Raises:
        TuneshotError: as ``named_hosts``.
    """
    return LOOPBACK_NAMES | named_hosts()


def named_hosts() -> frozenset[str]:
    """The names in ``TUNESHOT_ALLOWED_HOSTS``, as ``split_address`` has them.

    Raises:
        TuneshotError: one of them is not the name of a host.
    """
    names = (name.strip() for name in os.environ.get(ALLOWED_HOSTS, "").split(","))
    return frozenset(_read_name(name) for name in names if name)


def is_own_origin(origin: str, host: str) -> bool:
    """Whether a request comes from a page of this server.

    The scheme does not count: behind a proxy with TLS the page is https and the server is not.

    Args:
        origin: of the request, e.g. ``https://class.example.org``; ``null`` is nobody's own.
        host: its ``Host`` header, which is what the browser has in its address bar.
    """
    scheme, _, address = origin.partition("://")
    default = DEFAULT_PORTS.get(scheme)
    page, server = split_address(address), split_address(host)
    if default is None or page is None or server is None:
        return False
    return (page[0], page[1] or default) == (server[0], server[1] or default)


def split_address(address: str) -> tuple[str, int | None] | None:
    """Name and port of ``name[:port]``; ``None`` if it is nothing of that kind.

    Names are compared as browsers do: in lower case, IPv6 addresses in brackets and in their short
    form. The dot at the end of a complete name does not count.
    """
    if not (parts := _ADDRESS.fullmatch(address)):
        return None
    name, port = parts[1].lower(), parts[2]
    if name.startswith("["):
        try:
            name = f"[{ipaddress.IPv6Address(name[1:-1])}]"
        except ValueError:
            return None
    return name, int(port) if port else None


def is_allowed(host: str, allowed: Collection[str]) -> bool:
    """Whether a ``Host`` header has one of these names; at any port, as tunnels change it."""
    address = split_address(host)
    return address is not None and address[0] in allowed


def _read_name(given: str) -> str:
    name = f"[{given}]" if given.count(":") > 1 and "[" not in given else given
    address = split_address(name)
    if address is None or address[1] is not None:
        raise TuneshotError(
            f"{given!r} is not the name of a host; write it alone, without scheme, port, path "
            "or wildcard, e.g. class.example.org (an international one as xn--…)"
        )
    return address[0]
