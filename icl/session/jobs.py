"""What explains an answer, computed on demand: jobs for ``Workers.run``, in a method's thread."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from clfcore.analysis.attention import Attention, attention
from clfcore.attribution import Attribution, attribute
from clfcore.errors import TuneshotError, unknown_choice
from clfcore.fine_tuned import FineTuned
from icl.few_shot import FewShot
from icl.figures.look import Drawing
from icl.figures.maps import PoolMap, neighbourhood
from icl.figures.pool import pool_map, vote_graph
from icl.prompt.free_prompts import FREE_PROMPTS
from icl.prompt.prompt import as_text
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
        dollars: what it cost; 0 for a local model, ``None`` if unknown.
    """

    prompt: str
    text: str
    tokens: int
    model: str
    ms: float
    dollars: float | None


# The page speaks as the lecture does; data, command lines and prompts keep their labels.
LABEL_WORDS = {"ham": "not spam", "spam": "spam"}


def display_label(label: str) -> str:
    """A label as the page says it, in English."""
    return LABEL_WORDS.get(label, label.replace("_", " "))


def _fine_tuned(session: Session, settings: Settings) -> FineTuned:
    classifier = session.methods["fine_tuned"](settings).classifier
    assert isinstance(classifier, FineTuned)
    return classifier


def word_effects(session: Session, settings: Settings, text: str) -> Attribution:
    """Which words moved the fine-tuned answer, by leaving them out.

    Raises:
        TuneshotError: there is no such model.
    """
    return attribute(_fine_tuned(session, settings), text)


def attention_within(session: Session, settings: Settings, text: str) -> Attention:
    """Which token of a message looks at which, in the last layer, over all its heads.

    Raises:
        TuneshotError: there is no such model, or it does not tell.
    """
    return attention(_fine_tuned(session, settings), text)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a message is in the pool.

    Attributes:
        pool: the map.
        votes: vote-k's graph around the message, if the selector holds a vote.
    """

    pool: Drawing
    votes: Drawing | None


def surroundings(session: Session, settings: Settings, text: str) -> Surroundings:
    """The map of the pool around a message, and vote-k's graph where there is one.

    Raises:
        TuneshotError: the settings do not allow an answer, or the pool has no map.
    """
    few_shot = _few_shot(session, settings)
    labels = {label: display_label(label) for label in few_shot.labels}
    vector = few_shot.embedder.embed([text])[0]
    demonstrations = (
        few_shot.select(text)[0] if few_shot.votes else few_shot.prompt(text).demonstrations
    )
    shown = [demonstration.row for demonstration in demonstrations]
    votek = few_shot.selector if isinstance(few_shot.selector, VoteK) else None
    return Surroundings(
        pool_map(PoolMap(few_shot.pool), labels, text, vector, shown, votek.picks if votek else ()),
        vote_graph(neighbourhood(votek, text, vector, shown), labels) if votek else None,
    )


def exact_prompt(session: Session, settings: Settings, text: str) -> str:
    """The prompt of a message, without asking the language model.

    Raises:
        TuneshotError: the settings do not allow an answer, or no language model is asked.
    """
    few_shot = _few_shot(session, settings)
    if few_shot.votes:
        raise TuneshotError(
            "there is no prompt, because the examples vote; choose another selector than kNN vote"
        )
    return as_text(few_shot.prompt(text).text)


def complete_prompt(form_name: str, session: Session, settings: Settings, text: str) -> Completion:
    """What the language model writes after a free prompt.

    Args:
        form_name: a key of ``FREE_PROMPTS``.
        session: has the language model.
        settings: choose it.
        text: the question at the end of the prompt.

    Raises:
        TuneshotError: an unknown form, or a model that cannot answer.
    """
    if form_name not in FREE_PROMPTS:
        raise unknown_choice("free prompt", form_name, FREE_PROMPTS)
    form = FREE_PROMPTS[form_name]
    lm = session.language_model(settings)
    prompt = form.render(text)
    start = time.perf_counter()
    generation = lm.generate(prompt, stop=form.stop)
    ms = 1000 * (time.perf_counter() - start)
    return Completion(
        prompt, generation.text.strip(), generation.prompt_tokens, lm.name, ms, generation.dollars
    )


def vary_examples(
    stop: Callable[[], bool], session: Session, settings: Settings, text: str
) -> Sweep:
    """How the answer changes with the number and the order of the examples.

    Args:
        stop: asked before each question but the first; what is known by then is the result.
        session: has the few-shot method.
        settings: of the present answer.
        text: the message.

    Raises:
        TuneshotError: the settings do not allow an answer.
    """
    return sweep(_few_shot(session, settings), text, stop=stop)


def _few_shot(session: Session, settings: Settings) -> FewShot:
    classifier = session.methods["few_shot"](settings).classifier
    assert isinstance(classifier, FewShot)
    return classifier
