"""A chat without a page: a message and its settings in, the answer of each method out.

Nothing here knows the chat framework, and nothing is kept between two messages: what was chosen
comes with each message. So a reply is a function of its arguments, and any page can draw it.
"""

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from clfcore.errors import TuneshotError, unknown_choice
from clfcore.types import MAX_CHARACTERS, NO_ANSWER, Classifier, Prediction
from icl.lm.base import LM
from icl.session.settings import NOTHING_CHOSEN, PROFILES, Settings

log = logging.getLogger("tuneshot")


class Model(NamedTuple):
    """A classifier that is ready to answer, and what to call it."""

    name: str
    classifier: Classifier


@dataclass(frozen=True, slots=True)
class MethodResult:
    """One method's part of a reply: an answer, or the reason why there is none.

    Attributes:
        method: ``fine_tuned`` or ``few_shot``.
        settings: what was chosen, as far as it is relevant to the method.
        model: the name of the model that answered; empty if none did.
        prediction: what came of asking it, with a label or without, or ``None``.
        problem: one line for the reader when it could not be asked: what is wrong, what to do.
    """

    method: str
    settings: Settings
    model: str = ""
    prediction: Prediction | None = None
    problem: str = ""

    @property
    def label(self) -> str | None:
        """Its answer, if there is one."""
        return None if self.prediction is None else self.prediction.label

    @property
    def why_none(self) -> str:
        """One line on why there is no label; empty if there is one."""
        if self.prediction is None:
            return self.problem
        return "" if self.label is not None else next(iter(self.prediction.notes), NO_ANSWER)


@dataclass(frozen=True, slots=True)
class Reply:
    """The results of the methods that were asked, in the profile's order."""

    results: tuple[MethodResult, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the methods that have an answer."""
        return tuple(result.label for result in self.results if result.label is not None)


@dataclass(frozen=True, slots=True)
class Turn:
    """One message and its answers.

    Attributes:
        id: unique.
        text: the message.
        settings: how it was answered.
        reply: the answers.
        visitor: the name of who asked; empty without a login.
    """

    id: str
    text: str
    settings: Settings
    reply: Reply
    visitor: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels that a method could have answered with."""
        predictions = [result.prediction for result in self.reply.results]
        return tuple(dict.fromkeys(label for p in predictions if p for label in p.probabilities))


class RecentTurns(dict[str, Turn]):
    """The latest turns by id, the newest last; older ones are forgotten.

    Args:
        limit: how many are remembered.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def add(self, turn: Turn) -> None:
        """Remembers ``turn``."""
        self[turn.id] = turn
        while len(self) > self.limit:
            del self[next(iter(self))]

    def find(self, id: object) -> Turn:
        """The turn of this id.

        Raises:
            TuneshotError: it is not remembered.
        """
        if not isinstance(id, str) or id not in self:
            raise TuneshotError(
                "this answer is not remembered any more; send a message first, or this one again"
            )
        return self[id]

    def newest(self) -> Turn:
        """The last turn.

        Raises:
            TuneshotError: there is none.
        """
        return self.find(next(reversed(self), None))


@dataclass(frozen=True)
class Session:
    """Answers messages with each method.

    Attributes:
        methods: name -> function that gives the model for some settings. It is called for every
            message: it caches a model that loads slowly, but not a failure, so that a missing part
            may be installed while the chat is running.
        language_model: gives the model that completes free prompts.
        checkpoint: gives the folder of the fine-tuned model that some settings choose.
        offers: setting -> the names it may have on this machine; the first is the default.
        usual: the settings of a visitor who has chosen nothing.
    """

    methods: Mapping[str, Callable[[Settings], Model]]
    language_model: Callable[[Settings], LM]
    checkpoint: Callable[[Settings], Path]
    offers: Mapping[str, Sequence[str]]
    usual: Settings = NOTHING_CHOSEN

    def classify(self, method: str, settings: Settings, texts: Sequence[str]) -> list[MethodResult]:
        """One method's answers to several messages, in one pass where the model can.

        Never raises; one message that cannot be answered does not silence the others.
        """
        try:
            model = self.methods[method](settings)
            predictions = model.classifier.predict(texts)
        except Exception as error:
            if len(texts) > 1:
                return [self.classify(method, settings, [text])[0] for text in texts]
            return [MethodResult(method, settings, problem=error_line(error))]
        return [MethodResult(method, settings, model.name, each) for each in predictions]


def methods_of(profile: str) -> tuple[str, ...]:
    """The methods that answer in a profile.

    Raises:
        TuneshotError: an unknown profile.
    """
    if profile not in PROFILES:
        raise unknown_choice("profile", profile, PROFILES)
    return PROFILES[profile]


def check_message(text: str) -> None:
    """Refuses what no method is asked.

    Raises:
        TuneshotError: an empty message, or one that is too long.
    """
    if not text.strip():
        raise TuneshotError("the message is empty; type or paste a text message")
    if len(text) > MAX_CHARACTERS:
        raise TuneshotError(
            f"the message has {len(text):,} characters; send at most {MAX_CHARACTERS:,}"
        )


def error_line(error: Exception) -> str:
    """What a visitor reads of an error: a ``TuneshotError`` as it is.

    Any other error is logged, and the line only has a reference that finds it in the log.
    """
    if isinstance(error, TuneshotError):
        return str(error)
    reference = uuid.uuid4().hex[:8]
    log.error("unexpected error, reference %s", reference, exc_info=error)
    return f"something went wrong here; the server's log has the details under {reference}"
