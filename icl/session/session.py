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
from clfcore.types import Classifier, Prediction
from icl.lm.base import LM
from icl.session.settings import PROFILES, Settings

log = logging.getLogger("tuneshot")

MAX_CHARACTERS = 100_000  # of one message; an SMS has 160


class Model(NamedTuple):
    """A classifier that is ready to answer, and what to call it."""

    name: str
    classifier: Classifier


@dataclass(frozen=True, slots=True)
class Side:
    """One method's half of a reply: an answer, or the reason why there is none.

    Attributes:
        method: ``fine_tuned`` or ``few_shot``.
        settings: what was chosen; the fine-tuned side has nothing to choose.
        model: the name of the model that answered; empty if none did.
        prediction: its answer, or ``None``.
        problem: one line for the reader when there is no answer: what is wrong, what to do.
    """

    method: str
    settings: Settings
    model: str = ""
    prediction: Prediction | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """The sides that were asked, in the profile's order."""

    sides: tuple[Side, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the sides that have an answer."""
        return tuple(side.prediction.label for side in self.sides if side.prediction)


class Session:
    """Answers messages with each method.

    Args:
        methods: name -> what gives the model for some settings. It is called for every message:
            a model that loads slowly is remembered by the function itself, a failure is not, so
            that a missing part may be installed while the chat goes on.
        language_model: gives the model that goes on with free prompts.
        offers: setting -> what may be chosen, beside ``CHOICES``; the first is the default.
        checkpoint: gives the folder of the fine-tuned model that some settings ask.
    """

    def __init__(
        self,
        methods: Mapping[str, Callable[[Settings], Model]],
        language_model: Callable[[Settings], LM] | None = None,
        offers: Mapping[str, Sequence[str]] | None = None,
        checkpoint: Callable[[Settings], Path] | None = None,
    ) -> None:
        self.methods = methods
        self.offers = offers or {}
        self._checkpoint = checkpoint
        self._language_model = language_model

    def language_model(self, settings: Settings) -> LM:
        """The model that goes on with free prompts.

        Raises:
            TuneshotError: there is none.
        """
        if self._language_model is None:
            raise TuneshotError("no language model is set up here; start with TUNESHOT_LM=NAME")
        return self._language_model(settings)

    def checkpoint(self, settings: Settings) -> Path:
        """The fine-tuned model that is asked, before it learned more in a chat.

        Raises:
            TuneshotError: there is none.
        """
        if self._checkpoint is None:
            raise TuneshotError("no fine-tuned model is set up here; there is nothing to train")
        return self._checkpoint(settings)

    def reply(self, text: str, profile: str, settings: Settings) -> Reply:
        """The answer of every method of ``profile``; one that fails does not silence the other.

        Raises:
            TuneshotError: an unknown profile, or a message that cannot be asked.
        """
        return Reply(tuple(self.ask(m, text, settings) for m in self.asked(text, profile)))

    def asked(self, text: str, profile: str) -> tuple[str, ...]:
        """The methods that ``text`` is to be sent to.

        Raises:
            TuneshotError: an unknown profile, or a message that cannot be asked.
        """
        if profile not in PROFILES:
            raise unknown_choice("profile", profile, PROFILES)
        if not text.strip():
            raise TuneshotError("the message is empty; type or paste a text message")
        if len(text) > MAX_CHARACTERS:
            raise TuneshotError(
                f"the message has {len(text):,} characters; send at most {MAX_CHARACTERS:,}"
            )
        return PROFILES[profile]

    def ask(self, method: str, text: str, settings: Settings) -> Side:
        """One method's answer. Never raises: a reader of the other side must not suffer."""
        return self.ask_all(method, [text], settings)[0]

    def ask_all(self, method: str, texts: Sequence[str], settings: Settings) -> list[Side]:
        """One method's answers to several messages, in one pass where the model can.

        Never raises; one message that cannot be answered does not silence the others.
        """
        try:
            model = self.methods[method](settings)
            predictions = model.classifier.predict(texts)
        except Exception as error:
            if len(texts) > 1:
                return [self.ask(method, text, settings) for text in texts]
            problem = str(error) if isinstance(error, TuneshotError) else unexpected()
            return [Side(method, settings, problem=problem)]
        return [Side(method, settings, model.name, prediction) for prediction in predictions]


def unexpected() -> str:
    """Logs the error being handled; returns a line that leads back to it and gives nothing away."""
    reference = uuid.uuid4().hex[:8]
    log.exception("unexpected error, reference %s", reference)
    return f"something went wrong here; the server's log has the details under {reference}"
