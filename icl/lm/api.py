"""Language models behind an API, any that LiteLLM knows: what they are asked, what they reply.

``icl/lm/provider.py`` sends a request and repeats what may pass; replies are kept on disk.
"""

import hashlib
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np

from clfcore.cache.database import ANSWERS, DiskCache, Json
from clfcore.errors import TuneshotError
from clfcore.json_text import to_json
from clfcore.model.tokenizer import encode
from clfcore.paths import cache_dir
from clfcore.types import without_lone_surrogates
from icl.lm.base import (
    Generation,
    PromptText,
    RefusedRequestError,
    ReplyToken,
    Scored,
    checked_prompt_limit,
    total_dollars,
)
from icl.lm.faults import UnusableReplyError
from icl.lm.provider import Provider
from icl.shared import Shared

USUAL_PROMPT_TOKENS = 8192  # of any model; a slip with a long file should cost cents
ANSWER_TOKENS = 256  # of the model's window that are kept for the answer
TOP_LOGPROBS = 20  # the most that OpenAI gives of a chat's tokens, and vLLM of any
TOP_LOGPROBS_TEXT = 5  # the most that OpenAI gives of a text's
PARALLEL_REQUESTS = 8  # continuations scored at the same time
_TEXT = "text-completion-openai"  # LiteLLM's name for OpenAI's /completions
_CACHE_FORMAT = 2  # raise it when what is stored changes


class _NoScoresError(TuneshotError):
    """The server does not score a text that it is sent."""


class ApiLM(Shared):
    """A language model behind an API. Threads may share it; other processes make one of their own.

    The name says which endpoint is asked. A chat model (``openai/gpt-4o-mini``,
    ``anthropic/…``, ``ollama_chat/…``) answers; a plain prompt is sent as one user message.
    ``text-completion-openai/NAME`` continues plain text on the older ``/completions`` endpoint; so
    does ``openai/NAME`` on a server of one's own if ``chat`` is false. vLLM, SGLang and
    llama-cpp-python also let it score a given text (``scores`` is true); llama.cpp's own server
    says how likely each token of its answer was.

    The key is what the provider's own variable holds, e.g. ``OPENAI_API_KEY``; it is sent to
    ``base_url`` if there is one, and kept nowhere. Temperature is 0. What a provider does not
    support (a seed, log-probabilities) is left out of the request.

    Args:
        model: LiteLLM's name, ``provider/model``.
        base_url: of an OpenAI-compatible server, e.g. ``http://localhost:8000/v1``.
        chat: whether prompts will be chats; ``None``: as the name says.
        seed: sent where the provider takes one.
        logprobs: ask for those of the answer's tokens; a few servers refuse the question.
        timeout: seconds without a byte from the server.
        retries: how often a request is repeated after a fault that may pass: 408, 429, 5xx,
            time-out, lost connection, unreadable or empty reply.
        backoff: seconds before the first repetition, doubled each time, with jitter; a server's
            ``Retry-After`` comes first.
        requests_a_minute: at most; ``None`` = no limit.
        cache: keep replies on disk and ask nothing twice.

    Raises:
        TuneshotError: LiteLLM is not installed, or an argument is wrong.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        chat: bool | None = None,
        seed: int = 0,
        logprobs: bool = True,
        timeout: float = 60.0,
        retries: int = 5,
        backoff: float = 1.0,
        requests_a_minute: float | None = None,
        cache: bool = True,
    ) -> None:
        reached = base_url, timeout, retries, backoff, requests_a_minute
        self.name, self._provider = model, Provider(model, *reached)
        if chat is False and self._provider.kind == "openai" and self.base_url:
            self.name = f"{_TEXT}/{model.removeprefix('openai/')}"
            self._provider = Provider(self.name, *reached)
        self.prefers_chat = self._provider.kind != _TEXT
        self._seed = seed
        self._logprobs = logprobs
        self._cache = DiskCache(cache_dir() / ANSWERS) if cache else None

    def prompt_limit(self, wanted: int = 0) -> int:
        """As the protocol says. Of a model that LiteLLM does not know, only the server can tell.

        A server that reads less refuses a prompt, see ``PromptTooLongError``.
        """
        window = self._provider.window()
        if window is None:
            return wanted or USUAL_PROMPT_TOKENS
        wanted = wanted or min(USUAL_PROMPT_TOKENS, window)
        return checked_prompt_limit(self.name, wanted, window, ANSWER_TOKENS)

    @cached_property
    def scores(self) -> bool:
        """Whether the server can score a given text. It is asked once; a chat's cannot.

        Raises:
            TuneshotError: it cannot be asked.
        """
        if self.prefers_chat:
            return False
        try:
            self._echo("A text.")
        except (_NoScoresError, RefusedRequestError):
            return False
        return True

    @property
    def base_url(self) -> str | None:
        """Where it is asked; ``None``: where its provider is."""
        return self._provider.base_url

    def count_tokens(self, prompt: PromptText) -> int:
        """Length of ``prompt``: an estimate, GPT-2's tokens and four for each message of a chat.

        Only the server knows better, and says so afterwards: ``Generation.prompt_tokens``. (LiteLLM
        would download a tokenizer for some models.)
        """
        if isinstance(prompt, str):
            return len(encode(prompt))
        return sum(len(encode(message.content)) + 4 for message in prompt)

    def next_tokens(self, prompt: PromptText) -> np.ndarray:
        """A server names some tokens at most.

        Raises:
            TuneshotError: always.
        """
        raise TuneshotError(
            f"{self.name} does not say how probable each token of its vocabulary is; choose a "
            "model on this machine, or another selector"
        )

    # --- an answer in words ---------------------------------------------------------------------

    def generate(
        self, prompt: PromptText, max_tokens: int = 32, stop: Sequence[str] = ()
    ) -> Generation:
        """The model's answer; its price is LiteLLM's list price for the model's name.

        An answer from the cache has the price that was paid for it.

        Raises:
            TuneshotError: there is no usable answer; one line on the cause and the remedy.
        """
        request = {**self._prompt(prompt), "max_tokens": max_tokens, "seed": self._seed}
        if stop:
            request["stop"] = list(stop)
        if self._logprobs and not self.prefers_chat:
            request["logprobs"] = TOP_LOGPROBS if self._provider.base_url else TOP_LOGPROBS_TEXT
        elif self._logprobs:
            request |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        reply, cached = self._ask(request, self._parse_answer)
        written = tuple(ReplyToken(text, likeliest) for text, likeliest in reply.pop("written"))
        return Generation(**reply, written=written, cached=cached)

    def _prompt(self, prompt: PromptText) -> Json:
        if not self.prefers_chat:
            if not isinstance(prompt, str):
                raise TuneshotError(
                    f"{self.name} continues plain text and knows no chat; leave out --chat, or "
                    "name the server's chat model openai/NAME"
                )
            return {"prompt": without_lone_surrogates(prompt)}
        messages = [("user", prompt)] if isinstance(prompt, str) else [
            (message.role, message.content) for message in prompt
        ]  # fmt: skip
        return {
            "messages": [
                {"role": role, "content": without_lone_surrogates(text)} for role, text in messages
            ]
        }

    def _parse_answer(self, response: Any) -> Json:  # noqa: ANN401 (LiteLLM's)
        choice = response.choices[0]
        if not (text := choice.message.content if self.prefers_chat else choice.text):
            raise self._empty(choice.finish_reason)
        return {"text": text, "written": _written(getattr(choice, "logprobs", None))}

    def _empty(self, reason: str) -> Exception:
        """The error for an empty answer: whether another try may help depends on the reason."""
        advice = {
            "content_filter": "the provider's content filter stopped it; leave this message out",
            "length": "it ran out of tokens before the first word; choose a model that answers at "
            "once",
        }.get(reason)
        if advice is None:
            return UnusableReplyError(
                f"an empty answer ({reason}): a stop sequence may come too early"
            )
        return TuneshotError(f"{self.name} gave an empty answer ({reason}): {advice}")

    # --- the score of a given text --------------------------------------------------------------

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
                a separate token.
        """
        if self.prefers_chat or not isinstance(prompt, str):
            raise TuneshotError(
                f"{self.name} cannot score given chats or labels, it only answers; let it generate "
                "the label, or use plain text on a server's text-completion-openai/NAME"
            )
        texts = [prompt, *(prompt + continuation for continuation in continuations)]
        with ThreadPoolExecutor(min(len(texts), PARALLEL_REQUESTS)) as threads:
            head, *whole = replies = list(threads.map(self._echo, texts))
        start = len(head["pieces"])
        for continuation, reply in zip(continuations, whole, strict=True):
            if reply["pieces"][:start] != head["pieces"] or len(reply["pieces"]) == start:
                raise TuneshotError(
                    f"the tokenizer of {self.name} joins the prompt's end with {continuation!r}, "
                    "so this label cannot be scored; choose another language model"
                )
        return Scored(
            tokens=tuple(
                tuple(
                    zlib.crc32(without_lone_surrogates(token).encode())
                    for token in r["pieces"][start:]
                )
                for r in whole
            ),
            log_probabilities=tuple(tuple(r["log_probabilities"][start:]) for r in whole),
            prompt=() if since is None else _scores_since(head, len(prompt), since),
            dollars=total_dollars(reply["dollars"] for reply in replies),
            prompt_tokens=start,
        )

    def _echo(self, text: str) -> Json:
        """Tokens of ``text`` and their log-probabilities; the very first has none."""
        request = {"echo": True, "logprobs": 1, "max_tokens": 1}
        return self._ask({**self._prompt(text), **request}, self._parse_echo)[0]

    def _parse_echo(self, response: Any) -> Json:  # noqa: ANN401 (LiteLLM's)
        logprobs = getattr(response.choices[0], "logprobs", None)
        pieces = list(getattr(logprobs, "tokens", None) or ())
        scores = list(getattr(logprobs, "token_logprobs", None) or ())
        # Few servers can generate nothing, so one more token may come after those of the text.
        count = response.usage.prompt_tokens or len(pieces) - 1
        counted = count > 0 and len(pieces) == len(scores) and len(pieces) - count in (0, 1)
        if not counted or None in scores[1:count]:
            raise _NoScoresError(
                f"the server of {self.name} does not give the log-probabilities of a text it is "
                "sent (echo with logprobs, as vLLM does); name the model openai/NAME to generate"
            )
        return {"pieces": pieces[:count], "log_probabilities": scores[:count]}

    # --- asked once, kept on disk ---------------------------------------------------------------

    def _ask(self, request: Json, parse: Callable[[Any], Json]) -> tuple[Json, bool]:
        """The parsed reply with its tokens and price, and whether it comes from the cache."""
        request = {**request, "temperature": 0}
        identity = [_CACHE_FORMAT, self.name, self._provider.base_url, request]
        key = hashlib.sha256(to_json(identity, sort_keys=True).encode()).hexdigest()
        if self._cache and (cached := self._cache.get(key)):
            return cached, True
        response, parsed = self._provider.send(request, parse)
        reply = {
            **parsed,
            "prompt_tokens": response.usage.prompt_tokens,
            "tokens": response.usage.completion_tokens,
            "dollars": self._provider.price(response),
        }
        if self._cache:
            self._cache.put(key, reply)
        return reply, False


def _scores_since(head: Json, end: int, since: int) -> tuple[float, ...]:
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


def _written(logprobs: Any) -> list[tuple[str, dict[str, float]]]:  # noqa: ANN401 (LiteLLM's)
    """The tokens of an answer, with the log-probabilities of the likeliest in each place.

    OpenAI has one form for chats and one for texts; llama.cpp has that of chats for both.
    """
    given: Json = logprobs.model_dump() if logprobs else {}
    if content := given.get("content"):
        places = [(at["token"], at["logprob"], _by_token(at["top_logprobs"])) for at in content]
    else:
        columns = (given.get(name) or () for name in ("tokens", "token_logprobs", "top_logprobs"))
        places = list(zip(*columns, strict=False))
    return [(token, {token: log_p, **(others or {})}) for token, log_p, others in places]


def _by_token(likeliest: Sequence[Json]) -> dict[str, float]:
    """Log-probabilities by text; of several tokens without text, the likeliest."""
    return {each["token"]: each["logprob"] for each in likeliest[::-1]}
