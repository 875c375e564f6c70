"""A chat without a page: a message and its settings in, the answer of each method out.

Nothing here knows the chat framework, and nothing is kept between two messages: what was chosen
comes with each message. So a reply is a function of its arguments, and any page can draw it.
"""

import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from clfcore.data import load_pool
from clfcore.errors import TuneshotError, one_of
from clfcore.huggingface import DEFAULT_LM
from clfcore.predict import FineTuned
from clfcore.types import Classifier, Prediction
from icl.classify import FewShot
from icl.embed import SentenceEmbedder
from icl.lm import LM
from icl.models import open_lm
from icl.pool import Pool
from icl.prompt import ARRANGEMENTS
from icl.selectors import SELECTORS

log = logging.getLogger("tuneshot")

MAX_CHARACTERS = 100_000  # of one message; an SMS has 160
MAX_K = 32

# The two-stage vote asks the language model hundreds of questions first: no chat waits for that.
CHAT_SELECTORS = tuple(name for name in SELECTORS if name != "votek_two_stage")

# What a visitor chooses -> the methods that answer.
PROFILES: dict[str, tuple[str, ...]] = {
    "Compare": ("fine_tuned", "few_shot"),
    "Fine-tuned": ("fine_tuned",),
    "Few-shot": ("few_shot",),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """How the few-shot prompt is made.

    Attributes:
        selector: one of ``CHAT_SELECTORS``.
        k: how many examples are shown, 0 to ``MAX_K``.
        order: a key of ``ARRANGEMENTS``.

    Raises:
        TuneshotError: a name or a number that is not among them.
    """

    selector: str = "topk"
    k: int = 4
    order: str = "similar_last"

    def __post_init__(self) -> None:
        if self.selector not in CHAT_SELECTORS:
            raise one_of("selector", self.selector, CHAT_SELECTORS)
        if self.order not in ARRANGEMENTS:
            raise one_of("order", self.order, ARRANGEMENTS)
        if not 0 <= self.k <= MAX_K:
            raise TuneshotError(f"k is {self.k}; choose a number from 0 to {MAX_K}")

    @classmethod
    def read(cls, choices: Mapping[str, str] | None) -> "Settings":
        """Settings from a page's choices; what is not chosen is the default.

        Raises:
            TuneshotError: an unknown choice, or one that is not allowed.
        """
        chosen = dict(choices or {})
        for name in chosen:
            if name not in (known := [field.name for field in fields(cls)]):
                raise one_of("setting", name, known)
        k = str(chosen.get("k", cls().k))
        if not (k.isascii() and k.isdecimal() and len(k) < 10):
            raise TuneshotError(f"k is {k[:20]!r}; choose a number from 0 to {MAX_K}")
        return cls(
            selector=str(chosen.get("selector", cls().selector)),
            k=int(k),
            order=str(chosen.get("order", cls().order)),
        )


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
    """

    def __init__(self, methods: Mapping[str, Callable[[Settings], Model]]) -> None:
        self.methods = methods

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
            raise one_of("profile", profile, PROFILES)
        if not text.strip():
            raise TuneshotError("the message is empty; type or paste a text message")
        if len(text) > MAX_CHARACTERS:
            raise TuneshotError(
                f"the message has {len(text):,} characters; send at most {MAX_CHARACTERS:,}"
            )
        return PROFILES[profile]

    def ask(self, method: str, text: str, settings: Settings) -> Side:
        """One method's answer. Never raises: a reader of the other side must not suffer."""
        try:
            model = self.methods[method](settings)
            (prediction,) = model.classifier.predict([text])
        except TuneshotError as error:
            return Side(method, settings, problem=str(error))
        except Exception:
            return Side(method, settings, problem=unexpected())
        return Side(method, settings, model.name, prediction)


def unexpected() -> str:
    """Logs the error being handled; returns a line that leads back to it and gives nothing away."""
    reference = uuid.uuid4().hex[:8]
    log.exception("unexpected error, reference %s", reference)
    return f"something went wrong here; the server's log has the details under {reference}"


def open_session(
    checkpoint: Path | None = None, pool: Path | None = None, lm: str = DEFAULT_LM
) -> Session:
    """The two methods, each loaded when first asked.

    Args:
        checkpoint: a fine-tuned model; by default the bundled one.
        pool: labelled messages, see ``load_pool``.
        lm: the language model that reads the prompt, see ``open_lm``.
    """
    embedder = SentenceEmbedder()

    @cache
    def fine_tuned_model() -> FineTuned:
        return FineTuned.load(checkpoint)

    @cache
    def messages() -> Pool:
        return Pool.build(load_pool(pool).examples, embedder)

    @cache
    def language_model() -> LM:
        return open_lm(lm)

    def fine_tuned(settings: Settings) -> Model:
        model = fine_tuned_model()
        return Model(model.name, model)

    @lru_cache(maxsize=8)  # some selectors take a second to look at the pool
    def few_shot(settings: Settings) -> Model:
        votes = SELECTORS[settings.selector].votes
        classifier = FewShot(
            "sms_spam",
            settings.selector,
            lm=None if votes else language_model(),
            embedder=embedder,
            k=settings.k,
            order=settings.order,
        ).fit(messages())
        return Model(embedder.name if classifier.lm is None else classifier.lm.name, classifier)

    return Session({"fine_tuned": fine_tuned, "few_shot": few_shot})
