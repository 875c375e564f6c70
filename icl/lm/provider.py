"""A model behind an API as LiteLLM reaches it: address, key, pace, repetitions, price."""

import importlib
import logging
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any
from urllib.parse import urlsplit

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_exponential, wait_random_exponential

from clfcore.errors import TuneshotError, missing_extra_explained
from clfcore.wording import duration
from icl.lm.base import PromptTooLongError, RefusedRequestError
from icl.lm.faults import (
    MAX_WAIT_SECONDS,
    UnusableReplyError,
    is_worth_repeating,
    retry_after,
    share_that_fits,
    short,
    unreachable,
)
from icl.lm.loopback import bypass_proxies, is_loopback

# LiteLLM asks api.openai.com for these if it is not told where they are.
OWN_SERVERS = ("hosted_vllm", "lm_studio", "custom_openai", "openai_like")
BASE_URL = "TUNESHOT_BASE_URL"


def load_litellm() -> Any:  # noqa: ANN401 (a module, imported when needed: it takes seconds)
    """LiteLLM, told to be quiet and to stay off the network until a model is asked.

    Raises:
        TuneshotError: it is not installed.
    """
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would download its table of prices
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")  # it would load a .env file
    with missing_extra_explained("a model behind an API"):
        litellm: Any = importlib.import_module("litellm")
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.disable_hf_tokenizer_download = True
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "Pydantic serializer warnings", UserWarning)
    return litellm


class Provider:
    """Sends requests for one model to one address. Threads may share it.

    Args:
        model: LiteLLM's name, ``provider/model``.
        base_url: of an OpenAI-compatible server; ``None``: the environment's or the provider's.
        timeout, retries, backoff, requests_a_minute: as for ``ApiLM``.

    Attributes:
        kind: LiteLLM's name of the provider, e.g. ``"openai"``.
        base_url: where requests go; ``None`` where LiteLLM knows.

    Raises:
        TuneshotError: LiteLLM is not installed, or an argument is wrong.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None,
        timeout: float,
        retries: int,
        backoff: float,
        requests_a_minute: float | None,
    ) -> None:
        if timeout <= 0 or retries < 0 or backoff < 0:
            raise TuneshotError(
                f"timeout={timeout}, retries={retries}, backoff={backoff}: the first must be "
                "above 0, the others 0 or more"
            )
        self._litellm = load_litellm()
        self._model = model
        try:
            self.kind: str = self._litellm.get_llm_provider(model)[1]
        except Exception as error:
            raise TuneshotError(
                f"unknown model {model!r}; write provider/name as LiteLLM does, e.g. "
                "openai/gpt-4o-mini, anthropic/claude-haiku-4-5, ollama_chat/llama3.2, or "
                "openai/NAME with the --base-url of an OpenAI-compatible server"
            ) from error
        # The prefix of the provider's environment variables. LiteLLM reads them too, but the
        # cache must know where a request goes.
        self._prefix = self.kind.removeprefix("text-completion-").removesuffix("_chat").upper()
        self.base_url = _checked_url(
            base_url
            # A key of another provider must not go to this server.
            or (
                self._prefix in ("OPENAI", *map(str.upper, OWN_SERVERS))
                and os.environ.get(BASE_URL)
            )
            or os.environ.get(f"{self._prefix}_BASE_URL")
            or os.environ.get(f"{self._prefix}_API_BASE")
            or ("http://localhost:11434" if self._prefix == "OLLAMA" else None)
        )
        for host in ("localhost", "127.0.0.1", "::1", urlsplit(self.base_url or "").hostname or ""):
            if is_loopback(host):
                bypass_proxies(host)
        if self.kind in OWN_SERVERS and not self.base_url:
            raise TuneshotError(
                f"{model} is a server of your own; say where, with --base-url or {BASE_URL}"
            )
        if self._prefix == "OLLAMA":
            # LiteLLM would ask localhost, wherever the server is, what an unlisted model costs.
            free = {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0, "mode": "chat"}
            self._litellm.model_cost.setdefault(model, {"litellm_provider": self.kind, **free})
        self._timeout = timeout
        self._tries = retries + 1
        # Doubled from try to try; half of it is fixed, half is random.
        self._backoff = wait_exponential(
            backoff / 2, max=MAX_WAIT_SECONDS / 2
        ) + wait_random_exponential(backoff / 2, max=MAX_WAIT_SECONDS / 2)
        self._pace = Pace(requests_a_minute)

    def send(self, request: Mapping[str, Any], read: Callable[[Any], Any]) -> tuple[Any, Any]:
        """LiteLLM's response, and what ``read`` makes of it; repeats what may pass.

        Args:
            request: LiteLLM's arguments.
            read: raises ``UnusableReplyError`` for a response that says nothing.

        Raises:
            TuneshotError: there is no key, or no response; one line on the cause and the remedy.
                What ``read`` raises of this kind is not repeated.
        """
        key = f"{self._prefix}_API_KEY"
        if not self.base_url and key in self._missing_keys() and self.kind != "azure":
            # (Azure has other ways to log in.) Some providers would be asked without a key.
            raise TuneshotError(
                f"{self._model} needs a key; set {key} in the environment, or give the --base-url "
                "of a server of your own"
            )
        retrying = Retrying(
            retry=retry_if_exception(partial(is_worth_repeating, url=self.base_url)),
            stop=stop_after_attempt(self._tries),
            wait=self._seconds_to_wait,
            reraise=True,
        )
        start = time.monotonic()
        try:
            return retrying(self._send_once, request, read)
        except TuneshotError:
            raise
        except Exception as error:  # every provider has its own; some are not LiteLLM's
            tries: int = retrying.statistics["attempt_number"]
            # Without a cause: a provider's error may hold the key.
            raise self._explained(error, tries, time.monotonic() - start) from None

    def price(self, response: Any) -> float | None:  # noqa: ANN401 (LiteLLM's)
        """LiteLLM's list price in dollars; ``None`` if it, or the number of tokens, is unknown."""
        if not response.usage.prompt_tokens:
            return None  # the server does not count
        try:
            return float(self._litellm.completion_cost(response, model=self._model))
        except Exception:  # a plain Exception says that the table lacks this model
            return None

    def window(self) -> int | None:
        """Tokens the model can read, by LiteLLM's table; ``None`` if it is not there."""
        table = self._litellm.model_cost
        known = table.get(self._model) or table.get(self._model.partition("/")[2]) or {}
        tokens = known.get("max_input_tokens") or known.get("max_tokens")
        return None if tokens is None else int(tokens)

    def _missing_keys(self) -> list[str]:
        model = self._model.replace("text-completion-openai/", "openai/")
        return self._litellm.validate_environment(model)["missing_keys"]

    def _send_once(self, request: Mapping[str, Any], read: Callable[[Any], Any]) -> tuple[Any, Any]:
        self._pace.wait()
        call = self._litellm.text_completion if "prompt" in request else self._litellm.completion
        # Servers of one's own rarely want a key, but the client underneath does.
        is_own = self.base_url and self._prefix == "OPENAI"
        response = call(
            model=self._model,
            base_url=self.base_url,
            api_key="none" if is_own and self._missing_keys() else None,
            timeout=self._timeout,
            max_retries=0,  # of the client underneath: it would hide waits and counts
            drop_params=True,  # what the provider does not support
            client=self._direct_client,
            **request,
        )
        if not response.choices:
            raise UnusableReplyError("the reply has no choices")
        return response, read(response)

    @cached_property
    def _direct_client(self) -> Any:  # noqa: ANN401 (OpenAI's)
        """What asks a server on this machine; ``None``: LiteLLM's own client asks.

        LiteLLM's prepares for every proxy that the environment names, and fails where it cannot,
        even if none of them is on the way.
        """
        host = urlsplit(self.base_url or "").hostname or ""
        if self._prefix != "OPENAI" or not is_loopback(host):
            return None
        import openai

        return openai.OpenAI(
            base_url=self.base_url,
            api_key=os.environ.get("OPENAI_API_KEY") or "none",
            max_retries=0,
            http_client=openai.DefaultHttpxClient(trust_env=False),
        )

    def _seconds_to_wait(self, state: RetryCallState) -> float:
        assert state.outcome is not None  # there is a wait only after a try
        asked = retry_after(state.outcome.exception())
        return self._backoff(state) if asked is None else asked

    def _explained(self, error: Exception, tries: int, seconds: float) -> TuneshotError:
        """One line: what happened, what to do next."""
        where = f" at {self.base_url}" if self.base_url else ""
        times = "" if tries == 1 else f" after {tries} tries in {duration(seconds)}"
        status = getattr(error, "status_code", None)
        detail = short(str(error))
        asked = retry_after(error)
        wait = "" if asked is None else f"it asks to wait {asked:,.0f} s; "
        known = self._litellm.exceptions
        if (share := share_that_fits(str(error))) is not None:
            return PromptTooLongError(
                f"{self._model}{where} finds the prompt too long: {detail}; show fewer examples",
                share,
            )
        away = unreachable(error, self.base_url)
        faults = (  # the first that applies
            (away is not None, *(away or ("", ""))),
            (
                status in (401, 403),  # without the details, which may quote the key
                f"refused the key ({status})",
                f"put one that may use this model into {self._prefix}_API_KEY in the environment",
            ),
            (
                isinstance(error, known.Timeout),
                f"did not answer within {self._timeout:g} s{times}",
                "allow more with --timeout or TUNESHOT_TIMEOUT, or try later",
            ),
            (
                status == 429,
                f"is over its limit{times}: {detail}",
                f"{wait}ask less often with --requests-a-minute or TUNESHOT_REQUESTS_A_MINUTE, "
                "look at the plan's credit, or try later",
            ),
            (
                status == 404,
                f"does not know this model or address: {detail}",
                "check the model's name, and that the base URL ends as the server's manual says",
            ),
            (
                isinstance(error, known.ContentPolicyViolationError),
                f"refused the prompt's content: {detail}",
                "leave this message out",
            ),
            (
                status is not None and status < 500,
                f"refused the request ({status}): {detail}",
                "if it names log-probabilities, use --no-logprobs or TUNESHOT_LOGPROBS=false",
            ),
            (
                True,
                f"gave no usable reply{times}: {detail}",
                "check that the server runs, or try later",
            ),
        )
        problem, advice = next((text, remedy) for applies, text, remedy in faults if applies)
        kind = RefusedRequestError if status in (400, 405, 422, 501) else TuneshotError
        return kind(f"{self._model}{where} {problem}; {advice}")


class Pace:
    """Lets requests start at equal distances, whichever thread sends them.

    Args:
        a_minute: how many; ``None`` = at once.

    Raises:
        TuneshotError: not a positive number.
    """

    def __init__(self, a_minute: float | None) -> None:
        if a_minute is not None and a_minute <= 0:
            raise TuneshotError(f"requests_a_minute must be above 0, not {a_minute}")
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


def _checked_url(url: str | None) -> str | None:
    if url is None or re.fullmatch(r"https?://[^@?#\s]+", url):
        return url
    raise TuneshotError(
        f"base_url {re.sub('.*@|[?#].*', '…', url)!r} is not an address like "
        "http://localhost:8000/v1; a key belongs into the environment, not into the address"
    )
