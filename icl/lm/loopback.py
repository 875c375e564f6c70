"""Addresses of this machine, which no proxy may catch."""

import ipaddress
import os


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine, as it calls itself."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def bypass_proxies(host: str) -> None:
    """Has every client of this process ask ``host`` directly, whatever proxy there is."""
    for name in ("NO_PROXY", "no_proxy"):  # where both are set, some clients read only one of them
        exempt = [each.strip() for each in os.environ.get(name, "").split(",") if each.strip()]
        if host not in exempt:
            os.environ[name] = ",".join([*exempt, host])
