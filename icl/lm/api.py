"""Language models behind an API, any that LiteLLM knows, and what asking one over a network needs.

That is: keys from the environment, retries, time-outs, a rate limit, costs, and a cache on disk.
"""

import hashlib
import itertools
import json
import random
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NoReturn

from clfcore.errors import TuneshotError
from clfcore.model.tokenizer import encode
from clfcore.paths import cache_dir
from icl.lm.base import Generation, PromptText, Scored
from icl.lm.cache import Answer, AnswerCache
from icl.lm.provider import (
    AT_ONCE,
    BUDGET,
    LONGEST_WAIT,
    OWN_SERVERS,
    Pace,
    _checked_url,
    _clean,
    _harmless,
    _may_pass,
    _NoChoicesError,
    _prefix,
    _retry_after,
    _url_from_environment,
    load_litellm,
)

UNKNOWN_WINDOW = 4096  # of models that LiteLLM's table does not have; what small servers start with
ANSWER_ROOM = 256  # tokens of the window that are kept for the answer
TOP_LOGPROBS = 20  # the most that OpenAI and vLLM give of a chat's tokens
TOP_LOGPROBS_TEXT = 5  # and of a text's
_CACHE_FORMAT = 1  # raise it when what is stored changes


@dataclass(frozen=True, slots=True)
class Totals:
    """What a model was asked over the network so far; answers from the cache do not count.

    Attributes:
        answers: paid for, usable or not.
        prompt_tokens, tokens: read and generated, as the provider counts them; 0 if it does not.
        dollars: ``None`` as soon as one answer's price is unknown.
    """

    answers: int = 0
    prompt_tokens: int = 0
    tokens: int = 0
    dollars: float | None = 0.0


class ApiLM:
    """A language model behind an API. Threads may share it.

    The name says which endpoint is asked. A chat model (``openai/gpt-4o-mini``,
    ``anthropic/…``, ``ollama_chat/…``) answers; a plain prompt is sent as one user message.
    ``text-completion-openai/NAME`` continues plain text on the older ``/completions`` endpoint,
    which vLLM, SGLang and llama-cpp-python also let score a given text (``scores`` is true).
    llama.cpp's own server and most providers do not: ``check`` says so before any work.

    The key is what the provider's own variable holds, e.g. ``OPENAI_API_KEY``; it is sent to
    ``base_url`` if there is one, and kept nowhere. Temperature is 0. What a provider does not
    support (a seed, log-probabilities) is left out of the request.

    Args:
        model: LiteLLM's name, ``provider/model``.
        base_url: of an OpenAI-compatible server, e.g. ``http://localhost:8000/v1``.
        seed: sent where the provider takes one.
        logprobs: ask for those of the first token; a few servers refuse the question.
        timeout: seconds without a byte from the server.
        retries: how often a request is repeated after a fault that may pass: 408, 429, 5xx,
            time-out, lost connection, unreadable or empty reply.
        backoff: seconds before the first repetition, doubled each time, with jitter; a server's
            ``Retry-After`` comes first.
        requests_a_minute: at most; ``None`` = no limit.
        cache: keep answers on disk and ask nothing twice.

    Raises:
        TuneshotError: LiteLLM is not installed, or an argument is wrong.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        seed: int = 0,
        logprobs: bool = True,
        timeout: float = 60.0,
        retries: int = 5,
        backoff: float = 1.0,
        requests_a_minute: float | None = None,
        cache: bool = True,
    ) -> None:
        if timeout <= 0 or retries < 0 or backoff < 0:
            raise TuneshotError(
                f"timeout={timeout}, retries={retries}, backoff={backoff}: the first must be "
                "above 0, the others 0 or more"
            )
        self._litellm = load_litellm()
        self.name = model
        self._provider = self._find_provider(model)
        self._base_url = _checked_url(base_url or _url_from_environment(self._provider))
        if self._provider in OWN_SERVERS and not self._base_url:
            raise TuneshotError(f"{model} is a server of your own; give its base_url")
        if _prefix(self._provider) == "OLLAMA":
            # LiteLLM would ask localhost, wherever the server is, what an unlisted model costs.
            free = {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0, "mode": "chat"}
            self._litellm.model_cost.setdefault(model, {"litellm_provider": self._provider, **free})
        self._seed = seed
        self._logprobs = logprobs
        self._timeout = timeout
        self._retries = retries
        self._backoff = backoff
        self._pace = Pace(requests_a_minute)
        self._cache = AnswerCache(cache_dir() / "answers.sqlite") if cache else None
        self._lock = threading.Lock()
        self.totals = Totals()
        self.scores = self._provider == "text-completion-openai"
        self.budget = min(BUDGET, self._window() - ANSWER_ROOM)

    def count_tokens(self, prompt: PromptText) -> int:
        """Length of ``prompt``: an estimate, GPT-2's tokens and four for each turn of a chat.

        Newer tokenizers make fewer of the same text, so a prompt that fits by this count fits.
        (LiteLLM would download a tokenizer for some models.)
        """
        if isinstance(prompt, str):
            return len(encode(prompt))
        return sum(len(encode(turn.content)) + 4 for turn in prompt)

    def generate(
        self, prompt: PromptText, max_tokens: int = 32, stop: Sequence[str] = ()
    ) -> Generation:
        """The model's answer; its price is LiteLLM's list price for the model's name.

        An answer out of the cache tells what it cost when it was asked.

        Raises:
            TuneshotError: there is no usable answer; the line says why and what to do.
        """
        request = {**self._prompt(prompt), "max_tokens": max_tokens, "seed": self._seed}
        if stop:
            request["stop"] = list(stop)
        if self._logprobs and self.scores:
            request["logprobs"] = TOP_LOGPROBS_TEXT
        elif self._logprobs:
            request |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        answer, cached = self._ask(request, self._generated)
        return Generation(**answer, cached=cached)

    def check(self, prompt: PromptText, continuations: Sequence[str]) -> None:
        """Scores once, for only the server knows whether it can.

        Raises:
            TuneshotError: as ``read``.
        """
        self.read(prompt, continuations)

    def read(
        self, prompt: PromptText, continuations: Sequence[str], since: int | None = None
    ) -> Scored:
        """Log-probabilities (nats) of each continuation's tokens, and of the prompt's end.

        The server reads the prompt alone and with each continuation, several at a time. Token ids
        are not part of the API; in their place stand checksums of the tokens' text.

        Raises:
            TuneshotError: the server cannot score a given text, or a continuation does not start
                a token of its own.
        """
        if not self.scores or not isinstance(prompt, str):
            raise TuneshotError(
                f"{self.name} cannot score given chats or labels, it only answers; let it generate "
                "the label, or use plain text on a server's text-completion-openai/NAME"
            )
        texts = [prompt, *(prompt + continuation for continuation in continuations)]
        with ThreadPoolExecutor(min(len(texts), AT_ONCE)) as threads:
            head, *whole = threads.map(self._echo, texts)
        start = len(head["pieces"])
        for continuation, answer in zip(continuations, whole, strict=True):
            if answer["pieces"][:start] != head["pieces"] or len(answer["pieces"]) == start:
                raise TuneshotError(
                    f"the tokenizer of {self.name} joins the prompt's end with {continuation!r}, "
                    "so this label cannot be scored; choose another language model"
                )
        return Scored(
            tokens=tuple(
                tuple(zlib.crc32(token.encode("utf-8", "replace")) for token in a["pieces"][start:])
                for a in whole
            ),
            log_probabilities=tuple(tuple(a["log_probabilities"][start:]) for a in whole),
            prompt=() if since is None else _scores_since(head, len(prompt), since),
        )

    def log_probabilities(self, prompt: PromptText, continuations: Sequence[str]) -> list[float]:
        """Scores in nats: log P(continuation | prompt); raises as ``read``."""
        return [sum(scores) for scores in self.read(prompt, continuations).log_probabilities]

    # --- requests and what becomes of them ------------------------------------------------------

    def _prompt(self, prompt: PromptText) -> Answer:
        if self.scores:
            if not isinstance(prompt, str):
                raise TuneshotError(
                    f"{self.name} continues plain text and knows no chat; turn chat off, or name "
                    "the server's chat model openai/NAME"
                )
            return {"prompt": _clean(prompt)}
        turns = [("user", prompt)] if isinstance(prompt, str) else [
            (turn.role, turn.content) for turn in prompt
        ]  # fmt: skip
        return {"messages": [{"role": role, "content": _clean(text)} for role, text in turns]}

    def _generated(self, response: Any) -> Answer:  # noqa: ANN401 (LiteLLM's)
        choice = response.choices[0]
        if not (text := choice.text if self.scores else choice.message.content):
            self._refuse_empty(choice.finish_reason)
        field = "top_logprobs" if self.scores else "content"
        told = getattr(getattr(choice, "logprobs", None), field, None)
        if not told:
            first = None
        elif self.scores:
            first = told[0]
        else:
            first = {top.token: top.logprob for top in told[0].top_logprobs}
        return {"text": text, "first": first or None}

    def _refuse_empty(self, reason: str) -> NoReturn:
        advice = {
            "content_filter": "the provider's content filter stopped it; leave this message out",
            "length": "it ran out of tokens before the first word; raise max_tokens",
        }.get(reason, "a stop sequence may come too early; change the prompt or the model")
        raise TuneshotError(f"{self.name} gave an empty answer ({reason}): {advice}")

    def _echo(self, text: str) -> Answer:
        """Tokens of ``text`` and their log-probabilities; the very first has none."""
        request = {"prompt": _clean(text), "echo": True, "logprobs": 1, "max_tokens": 1}
        answer, _ = self._ask(request, self._echoed)
        return answer

    def _echoed(self, response: Any) -> Answer:  # noqa: ANN401 (LiteLLM's)
        told = getattr(response.choices[0], "logprobs", None)
        pieces = list(getattr(told, "tokens", None) or ())
        scores = list(getattr(told, "token_logprobs", None) or ())
        # Few servers can generate nothing, so one more token may come after those of the text.
        count = response.usage.prompt_tokens or len(pieces) - 1
        counted = count > 0 and len(pieces) == len(scores) and len(pieces) - count in (0, 1)
        if not counted or None in scores[1:count]:
            raise TuneshotError(
                f"the server of {self.name} does not give the log-probabilities of a text it is "
                "sent (echo with logprobs, as vLLM does); name the model openai/NAME to generate"
            )
        return {"pieces": pieces[:count], "log_probabilities": scores[:count]}

    def _ask(self, request: Answer, parse: Callable[[Any], Answer]) -> tuple[Answer, bool]:
        """The parsed answer, and whether it comes from the cache."""
        request = {**request, "temperature": 0}
        asked = json.dumps([_CACHE_FORMAT, self.name, self._base_url, request], sort_keys=True)
        key = hashlib.sha256(asked.encode()).hexdigest()
        if self._cache and (found := self._cache.get(key)):
            return found, True
        response = self._send(request)
        usage = response.usage
        paid = {
            "prompt_tokens": usage.prompt_tokens,
            "tokens": usage.completion_tokens,
            "dollars": self._price(response),
        }
        self._count(**paid)  # also what turns out to be of no use
        answer = {**parse(response), **paid}
        if self._cache:
            self._cache.put(key, answer)
        return answer, False

    def _send(self, request: Answer) -> Any:  # noqa: ANN401 (LiteLLM's)
        """LiteLLM's response, which has at least one choice; repeats what may pass."""
        key = f"{_prefix(self._provider)}_API_KEY"
        if not self._base_url and key in self._missing_keys() and self._provider != "azure":
            # (Azure has other ways to log in.) Some providers would be asked without a key.
            raise TuneshotError(
                f"{self.name} needs a key; set {key} in the environment, or give the base_url of a "
                "server of your own"
            )
        call = self._litellm.text_completion if "prompt" in request else self._litellm.completion
        for attempt in itertools.count():
            self._pace.wait()
            try:
                response = call(
                    model=self.name,
                    base_url=self._base_url,
                    api_key=self._placeholder_key(),
                    timeout=self._timeout,
                    max_retries=0,  # of the client underneath: it would hide waits and counts
                    drop_params=True,  # what the provider does not support
                    **request,
                )
                if response.choices:
                    return response
                error: Exception = _NoChoicesError("the reply has no choices")
            except Exception as caught:  # every provider has its own; some are not LiteLLM's
                error = caught
            asked = _retry_after(error)
            if attempt == self._retries or not _may_pass(error) or (asked or 0) > LONGEST_WAIT:
                # Without a cause: a provider's error may hold the key.
                raise self._explained(error, attempt + 1, asked) from None
            longest = min(self._backoff * 2**attempt, LONGEST_WAIT)
            time.sleep(random.uniform(longest / 2, longest) if asked is None else asked)

    def _explained(self, error: Exception, tries: int, asked: float | None) -> TuneshotError:
        """One line: what happened, what to do next."""
        where = f" at {self._base_url}" if self._base_url else ""
        times = "" if tries == 1 else f" after {tries} tries"
        status = getattr(error, "status_code", None)
        detail = _harmless(str(error))
        if status in (401, 403):  # the details may quote the key
            return TuneshotError(
                f"{self.name}{where} refused the key ({status}); put one that may use this model "
                f"into {_prefix(self._provider)}_API_KEY in the environment"
            )
        known = self._litellm.exceptions
        if isinstance(error, known.Timeout):
            problem = f"did not answer within {self._timeout:g} s{times}"
            advice = "raise the time-out, or try later"
        elif status == 429:
            problem = f"is over its limit{times}: {detail}"
            advice = "set requests_a_minute, look at the plan's credit, or try later"
            if asked is not None:
                advice = f"it asks to wait {asked:,.0f} s; {advice}"
        elif status == 404:
            problem = f"does not know this model or address: {detail}"
            advice = "check the model's name, and that base_url ends as the server's manual says"
        elif isinstance(error, known.ContextWindowExceededError):
            problem = f"finds the prompt too long: {detail}"
            advice = "show fewer examples"
        elif isinstance(error, known.ContentPolicyViolationError):
            problem = f"refused the prompt's content: {detail}"
            advice = "leave this message out"
        elif status is not None and status < 500:
            problem = f"refused the request ({status}): {detail}"
            advice = "if it names log-probabilities, use logprobs=False"
        else:
            problem = f"gave no usable reply{times}: {detail}"
            advice = "check that the server runs, or try later"
        return TuneshotError(f"{self.name}{where} {problem}; {advice}")

    # --- keys, prices, limits -------------------------------------------------------------------

    def _missing_keys(self) -> list[str]:
        model = self.name.replace("text-completion-openai/", "openai/")
        return self._litellm.validate_environment(model)["missing_keys"]

    def _placeholder_key(self) -> str | None:
        """Servers of one's own rarely want a key, but the client underneath does."""
        own = self._base_url and _prefix(self._provider) == "OPENAI"
        return "none" if own and self._missing_keys() else None

    def _price(self, response: Any) -> float | None:  # noqa: ANN401 (LiteLLM's)
        if not response.usage.prompt_tokens:
            return None  # the server does not count
        try:
            return float(self._litellm.completion_cost(response, model=self.name))
        except Exception:  # a plain Exception says that the table lacks this model
            return None

    def _count(self, prompt_tokens: int, tokens: int, dollars: float | None) -> None:
        with self._lock:
            old = self.totals
            self.totals = Totals(
                old.answers + 1,
                old.prompt_tokens + prompt_tokens,
                old.tokens + tokens,
                None if dollars is None or old.dollars is None else old.dollars + dollars,
            )

    def _find_provider(self, model: str) -> str:
        try:
            return self._litellm.get_llm_provider(model)[1]
        except Exception as error:
            raise TuneshotError(
                f"unknown model {model!r}; write provider/name as LiteLLM does, e.g. "
                "openai/gpt-4o-mini, anthropic/claude-haiku-4-5, ollama_chat/llama3.2, or "
                "openai/NAME with the base_url of an OpenAI-compatible server"
            ) from error

    def _window(self) -> int:
        """Tokens the model can read, by LiteLLM's table."""
        table = self._litellm.model_cost
        known = table.get(self.name) or table.get(self.name.partition("/")[2]) or {}
        return int(known.get("max_input_tokens") or known.get("max_tokens") or UNKNOWN_WINDOW)


# --- helpers --------------------------------------------------------------------------------------


def _scores_since(head: Answer, end: int, since: int) -> tuple[float, ...]:
    """Scores from the token that holds character ``since`` to the end of a text ``end`` long.

    Counted from the end: a begin-of-text token, which the text does not show, may come first.
    """
    kept: list[float] = []
    for token, score in zip(head["pieces"][::-1], head["log_probabilities"][::-1], strict=True):
        if end <= since or score is None:
            break
        kept.append(score)
        end -= len(token)
    return tuple(kept[::-1])
