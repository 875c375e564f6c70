"""How a provider is reached: its address, its pace, and what may pass when asked again."""

import importlib
import logging
import os
import re
import threading
import time
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from clfcore.errors import TuneshotError

BUDGET = 8192  # tokens of a prompt; a slip with a long file should cost cents
LONGEST_WAIT = 60.0  # seconds between two tries; who is asked to wait longer is told so instead
# LiteLLM asks api.openai.com for these if it is not told where they are.
OWN_SERVERS = ("hosted_vllm", "lm_studio", "custom_openai", "openai_like")
AT_ONCE = 8  # continuations scored at the same time


def load_litellm() -> Any:  # noqa: ANN401 (a module, imported when needed: it takes seconds)
    """LiteLLM, told to be quiet and to stay off the network until a model is asked.

    Raises:
        TuneshotError: it is not installed.
    """
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would download its table of prices
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")  # it would load a .env file
    try:
        litellm: Any = importlib.import_module("litellm")
    except ImportError as error:
        raise TuneshotError(
            f"models behind an API need LiteLLM ({error}); run: pip install 'tuneshot[api]'"
        ) from error
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.disable_hf_tokenizer_download = True
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "Pydantic serializer warnings", UserWarning)
    return litellm


# --- rate limit -----------------------------------------------------------------------------------


class Pace:
    """Lets requests start at equal distances, whichever thread sends them.

    Args:
        a_minute: how many; ``None`` = at once.

    Raises:
        TuneshotError: not a positive number.
    """

    def __init__(self, a_minute: float | None) -> None:
        if a_minute is not None and a_minute <= 0:
            raise TuneshotError(f"requests_a_minute must be above 0, not {a_minute}; or None")
        self._gap = 60 / a_minute if a_minute else 0.0  # seconds
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Returns when the next request may start."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._gap
        time.sleep(start - now)


class _NoChoicesError(Exception):
    status_code = 502  # as of any reply that cannot be used


def _may_pass(error: Exception) -> bool:
    status = getattr(error, "status_code", 0)
    return status in (408, 429) or status >= 500


def _retry_after(error: Exception) -> float | None:
    """Seconds the server asks to wait: a number or a date."""
    response = getattr(error, "response", None)
    headers: Mapping[str, str] = (
        getattr(error, "litellm_response_headers", None) or getattr(response, "headers", None) or {}
    )
    asked = headers.get("retry-after", "")
    try:
        return max(0.0, float(asked))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # no such header, or a date without a zone
        return None


def _url_from_environment(provider: str) -> str | None:
    """Where LiteLLM would send the request, for the cache must know too."""
    prefix = _prefix(provider)
    return os.environ.get(f"{prefix}_BASE_URL") or os.environ.get(f"{prefix}_API_BASE")


def _prefix(provider: str) -> str:
    """How the names of the provider's environment variables begin."""
    return provider.removeprefix("text-completion-").removesuffix("_chat").upper()


def _checked_url(url: str | None) -> str | None:
    if url is None or re.fullmatch(r"https?://[^@?#\s]+", url):
        return url
    raise TuneshotError(
        f"base_url {re.sub('.*@|[?#].*', '…', url)!r} is not an address like "
        "http://localhost:8000/v1; a key belongs into the environment, not into the address"
    )


def _harmless(message: str) -> str:
    """What an error says first, without LiteLLM's prefixes and without any secret."""
    for name, value in os.environ.items():
        if len(value) >= 6 and any(word in name.upper() for word in ("KEY", "TOKEN", "SECRET")):
            message = message.replace(value, "[secret]")
    message = re.split(r"\n|,? Received response|,? Traceback", message.strip())[0]
    message = re.sub(r"^(?:[\w.-]*(?:Error|Exception)(?:: | - | -$))+", "", message).rstrip(".")
    return f"{message[:199]}…" if len(message) > 200 else message or "no reason given"


def _clean(text: str) -> str:
    """Half of a surrogate pair has no UTF-8 form and cannot be sent."""
    return text.encode("utf-8", "replace").decode("utf-8")
