"""What every language model offers: scores of given continuations, or an answer in words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from clfcore.errors import TuneshotError


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a chat prompt.

    Attributes:
        role: ``"system"``, ``"user"`` or ``"assistant"``.
        content: plain text; what looks like a control token in it is plain text too.
    """

    role: str
    content: str


class RefusedRequestError(TuneshotError):
    """A server will not do what it is asked, however often."""


class PromptTooLongError(TuneshotError):
    """A prompt that the server finds too long.

    Attributes:
        share: of it that should fit, in (0, 1).
    """

    def __init__(self, message: str, share: float) -> None:
        super().__init__(message)
        self.share = share


PromptText = str | tuple[ChatMessage, ...]  # plain text, or a chat that ends with the user


def checked_prompt_limit(name: str, wanted: int, window: int, room: int) -> int:
    """The answer of ``LM.prompt_limit`` where the window is known.

    Args:
        name: of the model.
        wanted: tokens the prompt should be allowed.
        window: tokens the model reads, the answer included.
        room: tokens of them that are set aside for the answer.

    Raises:
        TuneshotError: ``wanted`` is more than the window.
    """
    if wanted > window:
        raise TuneshotError(
            f"prompt_tokens must be at most {window}, which is all that {name} can read, not "
            f"{wanted}; choose fewer, or a model with a larger window"
        )
    return min(wanted, window - room)


def total_dollars(prices: Iterable[float | None]) -> float | None:
    """The sum of prices; ``None`` if one of them is unknown."""
    prices = list(prices)
    known = [price for price in prices if price is not None]
    return sum(known, 0.0) if len(known) == len(prices) else None


@dataclass(frozen=True, slots=True)
class Scored:
    """The log-probabilities of continuations of one prompt.

    Attributes:
        tokens: the ids of each continuation, at least one.
        log_probabilities: of each of those tokens, in nats.
        prompt: of the prompt's own tokens, in nats, from the one that holds character ``since``
            to the end; without the very first token, which nothing predicts.
        dollars: as in ``Generation``.
        prompt_tokens: of the prompt, by a server's own count; 0: ``count_tokens`` is right.
    """

    tokens: tuple[tuple[int, ...], ...]
    log_probabilities: tuple[tuple[float, ...], ...]
    prompt: tuple[float, ...] = ()
    dollars: float | None = 0.0
    prompt_tokens: int = 0

    @property
    def totals(self) -> list[float]:
        """Log P(continuation | prompt) of each continuation, in nats."""
        return [sum(tokens) for tokens in self.log_probabilities]


@dataclass(frozen=True, slots=True)
class ReplyToken:
    """One token of an answer.

    Attributes:
        text: as it stands in the answer.
        likeliest: log-probabilities (nats) of the likeliest tokens in this place, its own among
            them.
    """

    text: str
    likeliest: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Generation:
    """An answer in words.

    Attributes:
        text: without the prompt, and without the stop string.
        prompt_tokens, tokens: read and generated, by the model's own count; 0 where it does not
            count.
        dollars: what it cost; 0 for a local model, ``None`` if the price is unknown.
        written: the tokens, with what else was likely, where the provider says so.
        cached: whether this is a stored answer to the same request.
    """

    text: str
    prompt_tokens: int
    tokens: int
    dollars: float | None = None
    written: tuple[ReplyToken, ...] = ()
    cached: bool = False


class LM(Protocol):
    """A language model."""

    @property
    def name(self) -> str:
        """For people: which model this is."""

    def prompt_limit(self, wanted: int = 0) -> int:
        """Tokens a prompt may have.

        Args:
            wanted: how many it should be allowed; 0: what suits such models. Of the model's whole
                window, room for the longest label or answer is set aside.

        Raises:
            TuneshotError: the model cannot read so many.
        """

    @property
    def prefers_chat(self) -> bool:
        """Whether a prompt is a chat unless somebody says otherwise."""

    @property
    def scores(self) -> bool:
        """Whether ``read`` works; most APIs can only ``generate``."""

    def count_tokens(self, prompt: PromptText) -> int:
        """Length of ``prompt``, the chat's control tokens included."""

    def check(self, prompt: PromptText, continuations: Sequence[str]) -> None:
        """Makes sure that ``read`` can answer for these continuations.

        Raises:
            TuneshotError: the tokens of ``prompt + continuation`` do not start with those of
                ``prompt``, so that there is no such probability; or the model has no chats.
        """

    def read(
        self, prompt: PromptText, continuations: Sequence[str], since: int | None = None
    ) -> Scored:
        """Scores of continuations, each token given all before it.

        Args:
            prompt: plain text or a chat.
            continuations: what might come next, such as each label's words.
            since: also score the prompt itself, from this character on; plain text only.

        Raises:
            TuneshotError: as ``check``; or the prompt is too long.
        """

    def next_tokens(self, prompt: PromptText) -> np.ndarray:
        """Log-probabilities of the next token: (V,) float32, nats, over the whole vocabulary.

        Raises:
            TuneshotError: the prompt is too long; or it is a model behind an API, which names some
                tokens at most.
        """

    def generate(
        self, prompt: PromptText, max_tokens: int = 32, stop: Sequence[str] = ()
    ) -> Generation:
        """The likeliest next words, until one of ``stop``, the model's end, or ``max_tokens``.

        Raises:
            TuneshotError: the prompt is too long, or the model has no chats.
        """
