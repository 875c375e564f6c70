"""A chat without a page: a message and its settings in, the answer of each method out.

Nothing here knows the chat framework, and nothing is kept between two messages: what was chosen
comes with each message. So a reply is a function of its arguments, and any page can draw it.
"""

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from clfcore.data import load_pool
from clfcore.errors import TuneshotError, one_of
from clfcore.huggingface import DEFAULT_LM
from clfcore.predict import BUNDLED, FineTuned
from clfcore.types import Classifier, Example, Prediction
from icl.classify import FewShot
from icl.embed import SentenceEmbedder
from icl.lm import LM
from icl.models import open_lm
from icl.pool import Pool
from icl.prompt import ARRANGEMENTS, BALANCES
from icl.selectors import SELECTORS
from icl.tasks import TASKS

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
    """How a message is answered.

    Attributes:
        selector: one of ``CHAT_SELECTORS``.
        k: how many examples are shown, 0 to ``MAX_K``.
        order: a key of ``ARRANGEMENTS``.
        balance: a key of ``BALANCES``.
        task: a key of ``TASKS``.
        lm: one of the session's language models; "": its first.
        checkpoint: one of its fine-tuned models; "": the first that knows the task's labels.
        taught: messages that were added to the pool in this chat.
        trained: a fine-tuned model that was made in this chat, and is asked instead.

    Raises:
        TuneshotError: a name or a number that is not among them.
    """

    selector: str = "topk"
    k: int = 4
    order: str = "similar_last"
    balance: str = "equal"
    task: str = "sms_spam"
    lm: str = ""
    checkpoint: str = ""
    taught: tuple[Example, ...] = ()
    trained: Path | None = None

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise one_of(name, getattr(self, name), known)
        if not 0 <= self.k <= MAX_K:
            raise TuneshotError(f"k is {self.k}; choose a number from 0 to {MAX_K}")

    @classmethod
    def read(cls, choices: Mapping[str, str] | None) -> "Settings":
        """Settings from a page's choices; what is not chosen is the default.

        Raises:
            TuneshotError: an unknown choice, or one that is not allowed.
        """
        chosen = {name: str(value) for name, value in (choices or {}).items()}
        known = [field.name for field in fields(cls) if field.type in (str, int)]
        for name in chosen:
            if name not in known:
                raise one_of("setting", name, known)
        k = chosen.pop("k", str(cls().k))
        if not (k.isascii() and k.isdecimal() and len(k) < 10):
            raise TuneshotError(f"k is {k[:20]!r}; choose a number from 0 to {MAX_K}")
        return cls(k=int(k), **chosen)  # type: ignore[arg-type]  # all others are str

    def that_matter_to(self, method: str) -> "Settings":
        """These settings without those that make no difference to a method's answers."""
        if method == "fine_tuned":
            return Settings(task=self.task, checkpoint=self.checkpoint, trained=self.trained)
        return replace(self, checkpoint="", trained=None)


# The settings whose values are known beforehand; pages offer these.
CHOICES: dict[str, Sequence[str]] = {
    "selector": CHAT_SELECTORS,
    "order": tuple(ARRANGEMENTS),
    "balance": tuple(BALANCES),
    "task": tuple(TASKS),
}


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


def open_session(
    checkpoints: Sequence[Path] = (),
    pool: Path | None = None,
    lms: Sequence[str] = (DEFAULT_LM,),
    folder: Path | None = None,
) -> Session:
    """The two methods, each loaded when first asked.

    Args:
        checkpoints: fine-tuned models; by default the bundled one.
        pool: labelled messages of the task ``sms_spam``, see ``load_pool``.
        lms: language models that read the prompt, at least one, see ``open_lm``.
        folder: data of the other tasks, see ``Task.load``; without it, they have no pool.
    """
    embedder = SentenceEmbedder()
    places = {place.name: place for place in checkpoints or [BUNDLED]}

    @lru_cache(maxsize=8)
    def load(place: Path) -> FineTuned:
        return FineTuned.load(place)

    def checkpoint(settings: Settings) -> Path:
        if settings.checkpoint and settings.checkpoint not in places:
            raise one_of("checkpoint", settings.checkpoint, places)
        labels = set(TASKS[settings.task].labels)

        def fits(name: str) -> bool:
            return set(load(places[name]).labels) == labels

        chosen = settings.checkpoint
        if chosen and fits(chosen):
            return places[chosen]
        fitting = next(filter(fits, places), None)
        if fitting and chosen:
            raise TuneshotError(
                f"{chosen} was not fine-tuned for {settings.task}; choose {fitting}"
            )
        if fitting:
            return places[fitting]
        raise TuneshotError(
            f"no model here was fine-tuned for {settings.task}; make one (clf train --data FILE "
            f"--out runs/{settings.task}) and start with TUNESHOT_CHECKPOINT=runs/{settings.task}"
        )

    def fine_tuned(settings: Settings) -> Model:
        model = load(settings.trained or checkpoint(settings))
        return Model(model.name, model)

    @cache
    def messages(task: str) -> Pool:
        if task == "sms_spam":
            return Pool.build(load_pool(pool).examples, embedder)
        if folder is None:  # a chat asks no other machine
            raise TuneshotError(
                f"the data of {task} is not at hand; start with TUNESHOT_FOLDER=FOLDER, which has "
                f"a sub-folder {task} with its tables"
            )
        return Pool.build(TASKS[task].load("train", folder), embedder)

    opened = lru_cache(maxsize=4)(partial(open_lm, retries=1))  # people wait for it

    def language_model(settings: Settings) -> LM:
        if settings.lm and settings.lm not in lms:
            raise one_of("language model", settings.lm, lms)
        return opened(settings.lm or lms[0])

    @lru_cache(maxsize=16)  # some selectors take a second to look at the pool
    def few_shot(settings: Settings) -> Model:
        classifier = FewShot(
            settings.task,
            settings.selector,
            lm=None if SELECTORS[settings.selector].votes else language_model(settings),
            embedder=embedder,
            k=settings.k,
            order=settings.order,
            balance=settings.balance,
        ).fit(messages(settings.task).teach(settings.taught, embedder))
        return Model(embedder.name if classifier.lm is None else classifier.lm.name, classifier)

    return Session(
        {"fine_tuned": fine_tuned, "few_shot": few_shot},
        language_model,
        {"lm": lms, "checkpoint": list(places)},
        checkpoint,
    )
