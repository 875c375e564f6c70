"""The proxies that are believed about the visitors they bring: their addresses, and https or not.

Whoever can send a request can write these headers, any program on this machine, too. So they count
from a proxy that was named, and from nobody else.
"""

import ipaddress
import os

from clfcore.errors import TuneshotError

PROXIES = "FORWARDED_ALLOW_IPS"  # uvicorn's own name


def named_proxies() -> list[str]:
    """The addresses and networks in ``FORWARDED_ALLOW_IPS``; none where it is not set.

    Raises:
        TuneshotError: one of them is no address and no network.
    """
    named = [each.strip() for each in os.environ.get(PROXIES, "").split(",") if each.strip()]
    for each in named:
        try:
            ipaddress.ip_network(each)
        except ValueError as error:
            raise TuneshotError(
                f"{each!r} is not the address or network of a proxy, e.g. 127.0.0.1 or "
                "172.17.0.0/16; write from where its requests arrive, without host bits in a "
                "network"
            ) from error
    return named
