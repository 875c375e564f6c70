"""What goes wrong between here and a model behind an API: which faults may pass, and one line."""

import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from icl.lm.loopback import is_loopback

MAX_WAIT_SECONDS = 60.0  # between two tries; where the server asks for more, the caller is told so
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class UnusableReplyError(Exception):
    """A reply that came and says nothing; the next one may."""

    status_code = 502


def is_worth_repeating(error: BaseException, url: str | None) -> bool:
    """Whether the fault of the server at ``url`` may pass (408, 429, 5xx, no connection) soon."""
    status = getattr(error, "status_code", 0)
    may_pass = (status in (408, 429) or status >= 500) and unreachable(error, url) is None
    return may_pass and (retry_after(error) or 0) <= MAX_WAIT_SECONDS


def retry_after(error: BaseException | None) -> float | None:
    """Seconds the server asks to wait: a number or a date."""
    response = getattr(error, "response", None)
    headers: Mapping[str, str] = (
        getattr(error, "litellm_response_headers", None) or getattr(response, "headers", None) or {}
    )
    value = headers.get("retry-after", "")
    with suppress(ValueError):
        return max(0.0, float(value))
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # no such header, or a date without a zone
        return None


def unreachable(error: BaseException, url: str | None) -> tuple[str, str] | None:
    """Why no server was reached, where trying again cannot help: the problem, and what to do.

    Args:
        error: LiteLLM's, which knows what caused it.
        url: the server's; ``None``: the provider's own.
    """
    host = (urlsplit(url).hostname or "") if url else ""
    proxies = " or ".join(
        name for name in PROXIES if os.environ.get(name) or os.environ.get(name.lower())
    )
    via = f", or {proxies}" if proxies and not is_loopback(host) else ""
    for cause in _causes(error):
        if isinstance(cause, ImportError | ValueError) and "proxy" in str(cause).lower():
            package = "; run: pip install 'httpx[socks]'" if "socks" in str(cause).lower() else ""
            return (
                f"cannot be asked through the proxy of {proxies}: {short(str(cause))}{package}",
                f"correct {proxies}, or name the server in NO_PROXY",
            )
        if isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN:
            return (
                f"was not found: no machine is called {host or 'as its provider'}",
                f"check the base URL{via}, and the network",
            )
        if isinstance(cause, ConnectionRefusedError) and is_loopback(host):
            return (
                "was not found: nothing listens at this address",
                "start the server, or check the base URL's port",
            )
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"has a certificate that is not trusted: {short(cause.verify_message)}",
                "set SSL_CERT_FILE to the file of your own authority",
            )
    return None


def share_that_fits(message: str) -> float | None:
    """How much of a prompt that is too long would fit, by what the server says; else ``None``.

    Servers name their window and the prompt's length ("request (9031 tokens) exceeds the available
    context size (8192 tokens)"); without these, a tenth is to go.
    """
    if not re.search(r"context.{0,9}(size|length|window)|prompt is too long", message, re.I):
        return None
    numbers = [int(n.replace(",", "")) for n in re.findall(r"(\d[\d,]*) (?:\w+ )?tokens", message)]
    if not numbers or min(numbers) == max(numbers):
        return 0.9
    return 0.97 * min(numbers) / max(numbers)  # the answer needs some room, too


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def short(message: str) -> str:
    """What an error says first, without LiteLLM's prefixes and without any secret."""
    for name, value in os.environ.items():
        if len(value) >= 6 and any(word in name.upper() for word in ("KEY", "TOKEN", "SECRET")):
            message = message.replace(value, "[secret]")
    message = re.split(r"\n|,? Received response|,? Traceback", message.strip())[0]
    message = re.sub(r"^(?:[\w.-]*(?:Error|Exception)(?:: | - | -$))+", "", message).rstrip(".")
    return f"{message[:199]}…" if len(message) > 200 else message or "no reason given"
