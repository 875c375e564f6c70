"""What lies behind an answer, computed on demand: jobs for the thread of the method concerned.

Each takes a session, a method, settings and texts, as ``Session.ask_all`` does, and gives one
result for each text.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clfcore.attribution import Attribution, attribute
from clfcore.errors import TuneshotError, unknown_choice
from clfcore.fine_tuned import FineTuned
from icl.few_shot import FewShot
from icl.figures.look import Drawing
from icl.figures.maps import PoolMap, neighbourhood
from icl.figures.pool import pool_map, vote_graph
from icl.prompt.free_form import FREE_FORM
from icl.prompt.prompt import as_text
from icl.prompt.template import Demonstration
from icl.selectors.votek import VoteK
from icl.session.session import Session
from icl.session.settings import Settings
from icl.session.sweep import Sweep, sweep


@dataclass(frozen=True, slots=True)
class Completion:
    """What a language model wrote.

    Attributes:
        prompt: the exact text it read.
        text: what came after it.
        tokens: of the prompt.
        model: its name.
        ms: wall-clock time, in milliseconds.
        dollars: what it cost; 0 for a local model, ``None`` if nobody knows.
    """

    prompt: str
    text: str
    tokens: int
    model: str
    ms: float
    dollars: float | None


# The page speaks as the lecture does; data, command lines and prompts keep their labels.
WORDS = {"ham": "not spam", "spam": "spam"}


def word(label: str) -> str:
    """A label as the page says it."""
    return WORDS.get(label, label.replace("_", " "))


def words(
    session: Session, method: str, settings: Settings, texts: Sequence[str]
) -> list[Attribution]:
    """Which words moved the fine-tuned answer, by leaving them out.

    Raises:
        TuneshotError: there is no such model.
    """
    classifier = session.methods[method](settings).classifier
    assert isinstance(classifier, FineTuned)
    return [attribute(classifier, text) for text in texts]


@dataclass(frozen=True, slots=True)
class Places:
    """Where a message stands in the pool.

    Attributes:
        pool: the map.
        votes: vote-k's graph around the message, if the selector holds a vote.
    """

    pool: Drawing
    votes: Drawing | None


def places(session: Session, method: str, settings: Settings, texts: Sequence[str]) -> list[Places]:
    """The map of the pool around each message, and vote-k's graph where there is one.

    Raises:
        TuneshotError: the settings do not allow an answer, or the pool has no map.
    """
    few_shot = _few_shot(session, method, settings)
    plane = PoolMap(few_shot.pool)
    labels = {label: word(label) for label in few_shot.labels}
    selector = few_shot.selector
    picks = selector.picks if isinstance(selector, VoteK) else ()
    found = []
    for text in texts:
        vector = few_shot.embedder.embed([text])[0]
        shown = [demonstration.row for demonstration in _demonstrations(few_shot, text)]
        around = (
            neighbourhood(selector, text, vector, shown) if isinstance(selector, VoteK) else None
        )
        found.append(
            Places(
                pool_map(plane, labels, text, vector, shown, picks),
                None if around is None else vote_graph(around, labels),
            )
        )
    return found


def prompts(session: Session, method: str, settings: Settings, texts: Sequence[str]) -> list[str]:
    """The exact prompt of each message, without asking the language model.

    Raises:
        TuneshotError: the settings do not allow an answer, or no language model is asked.
    """
    few_shot = _few_shot(session, method, settings)
    if few_shot.votes:
        raise TuneshotError(
            "there is no prompt, because the examples vote; choose another selector than kNN vote"
        )
    return [as_text(few_shot.prompt(text).text) for text in texts]


@dataclass(frozen=True, slots=True)
class Complete:
    """The job of going on with a free prompt.

    Attributes:
        form: a key of ``FREE_FORM``; "" for the text alone.
    """

    form: str

    def __call__(
        self, session: Session, method: str, settings: Settings, texts: Sequence[str]
    ) -> list[Completion]:
        """What the language model writes after each text.

        Raises:
            TuneshotError: an unknown form, or a model that cannot answer.
        """
        if self.form and self.form not in FREE_FORM:
            raise unknown_choice("free prompt", self.form, FREE_FORM)
        form = FREE_FORM.get(self.form)
        lm = session.language_model(settings)
        found = []
        for text in texts:
            prompt = form.render(text) if form else text
            start = time.perf_counter()
            said = lm.generate(prompt, stop=form.stop if form else ())
            ms = 1000 * (time.perf_counter() - start)
            found.append(
                Completion(prompt, said.text.strip(), said.prompt_tokens, lm.name, ms, said.dollars)
            )
        return found


@dataclass(frozen=True, slots=True)
class Vary:
    """The job of asking again with other numbers and orders of examples.

    Attributes:
        stop: asked before each question but the first; what is known by then is the result.
    """

    stop: Callable[[], bool]

    def __call__(
        self, session: Session, method: str, settings: Settings, texts: Sequence[str]
    ) -> list[Sweep]:
        """How the answer to each text changes.

        Raises:
            TuneshotError: the settings do not allow an answer.
        """
        few_shot = _few_shot(session, method, settings)
        return [sweep(few_shot, text, stop=self.stop) for text in texts]


def _demonstrations(few_shot: FewShot, text: str) -> Sequence[Demonstration]:
    """What is shown for ``text``, in prompt order."""
    return few_shot.select(text)[0] if few_shot.votes else few_shot.prompt(text).demonstrations


def _few_shot(session: Session, method: str, settings: Settings) -> FewShot:
    classifier = session.methods[method](settings).classifier
    assert isinstance(classifier, FewShot)
    return classifier
