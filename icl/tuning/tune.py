"""Chooses the settings of a prompt by the labelled messages alone: the face of tuning.

Each labelled message is asked about, with the other ones to show. No selector shows a copy of the
question, so a classifier that was fitted to all of them predicts each as if it had never seen its
label: that is leave-one-out cross-validation, with pools of the size that will be used, and nothing
is fitted anew. (Where ``fit`` itself looks at messages, as batch calibration does, it looks at
their texts only.)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from clfcore.data.labels import unknown_labels
from clfcore.data.split import data_record
from clfcore.errors import TuneshotError
from clfcore.types import Example, OnProgress, ignore
from icl.lm.base import LM
from icl.pool.embed import Embedder
from icl.pool.pool import Pool
from icl.prompt.tasks import Task
from icl.recipe import Recipe
from icl.settings import FewShotConfig
from icl.tuning.candidates import TUNED, anchored, candidate_prompts, reads_a_message
from icl.tuning.choice import choose, losses
from icl.tuning.contender import Contender
from icl.tuning.metered import MeteredLM, PoolEmbedder
from icl.tuning.questions import Questions
from icl.tuning.race import USUAL_READS, Round, TooFewReadsError, plan_race, reads_of

USUAL_SETTINGS = FewShotConfig()
LEAST_MESSAGES = 16  # different ones: fewer cannot tell settings apart
IN_A_ROW = 4  # messages that one prompt reads before the next does: their beginnings are read once
READS_OF_FIT = 1  # ``FewShot.fit`` makes sure once that the language model can be asked


@dataclass(frozen=True)
class Tuned:
    """What came of tuning.

    Attributes:
        recipe: the settings that were chosen, and what the choice rests on.
        tried: everything that was tried, for a record: plain values for JSON.
    """

    recipe: Recipe
    tried: Sequence[Mapping[str, Any]]


def tune(
    labelled: Pool | Sequence[Example],
    task: Task,
    lm: LM,
    embedder: Embedder,
    *,
    default: FewShotConfig = USUAL_SETTINGS,
    reads: int = USUAL_READS,
    vote: bool = True,
    note: Callable[[str], object] = ignore,
    on_progress: OnProgress = ignore,
) -> Tuned:
    """The settings of a prompt that suit the labelled messages best.

    Each label counts the same, as in balanced accuracy. Prompts race (``race.py``) over messages
    whose labels take turns. The default stays in the race to the end, and is kept without evidence
    that something is better (``choice.py``).

    Args:
        labelled: what may be learned from; nothing else is looked at.
        task: labels and prompt format.
        lm: the language model.
        embedder: finds similar messages.
        default: what is kept without evidence. Of its settings those in ``TUNED`` are chosen, and
            the others stay; its seed draws the messages.
        reads: how often the language model may be asked, at most.
        vote: whether the vote of the nearest may be chosen, which asks no language model.
        note: told in one line what will be done, before the first read.
        on_progress: called with ("tune", reads done, reads at most, "").

    Raises:
        TuneshotError: too few reads, no labelled message, labels that the task does not have, or a
            language model that cannot be asked.
    """
    pool = labelled if isinstance(labelled, Pool) else Pool.build(labelled, embedder)
    if unknown := set(pool.label_names) - set(task.labels):
        raise unknown_labels(unknown, task.labels, f"task {task.name}", "the labelled data")
    default.check_task(task)
    votes = vote and not task.has_choices
    questions = Questions.of(pool, task.labels, default.seed)
    data = data_record([Example(*each) for each in zip(pool.texts, pool.labels, strict=True)])
    basis = {"labelled": data, "reads": 0, "dollars": 0.0, "asked": 0}
    recipe = Recipe(task.name, task.labels, default, lm.name, embedder.name)
    if reason := _too_few(questions):
        note(summary := f"the default is kept: {reason}")
        return Tuned(replace(recipe, basis={**basis, "summary": summary}), ())

    settings = candidate_prompts(default, len(questions) - 1, votes)
    racing = [each for each in settings if reads_a_message(each)]
    prices = [reads_a_message(each) for each in racing]
    extra = anchored(default, len(questions), reads) if lm.scores and not task.has_choices else None
    rounds, extra, most = _plan(prices, extra, len(questions), reads)
    note(_what_is_done(rounds, extra, most, len(questions), lm))
    metered, near = MeteredLM(lm, reads), PoolEmbedder(embedder, pool)
    make = partial(Contender, vote=votes, task=task, pool=pool, lm=metered, embedder=near)
    contenders = [make(each) for each in settings if each not in racing[rounds[0].prompts :]]
    in_race = [each for each in contenders if each.settings in racing]
    if extra is not None:
        try:
            contenders.append(make(extra, on_progress=on_progress))
        except TuneshotError as error:  # most servers do not say what it compares
            note(f"{extra.selector} is not tried: {error}")
    _race(in_race, contenders[0], rounds, questions, on_progress)
    asked = questions.first(rounds[-1].messages)
    for contender in contenders:
        if contender not in in_race:
            contender.read(asked.texts)
    trials = [
        trial
        for contender in contenders
        for trial in _trials(contender, questions.first(len(contender.readings)), default)
    ]
    finals = [trial for trial in trials if trial.messages == len(asked)]
    # The default first, then the simplest: what asks no language model, then what asks it.
    finals[1:] = sorted(finals[1:], key=lambda trial: reads_a_message(trial.settings) > 0)
    choice = choose(np.stack([trial.losses for trial in finals]), asked.for_labels, default.seed)
    chosen = finals[choice.candidate]
    basis |= {
        "reads": metered.reads,
        "dollars": metered.dollars,
        "asked": len(asked),
        "chance": round(choice.chance, 4),
        "default": finals[0].figures,
        "chosen": chosen.figures,
        "summary": _summary(choice.candidate, finals[0], chosen, choice.chance),
    }
    return Tuned(
        replace(recipe, settings=chosen.settings, basis=basis),
        [{**trial.record, "chosen": trial is chosen} for trial in trials],
    )


# --- the race -----------------------------------------------------------------------------------


def _plan(
    prices: Sequence[int], extra: FewShotConfig | None, messages: int, reads: int
) -> tuple[list[Round], FewShotConfig | None, int]:
    """The rounds; the ``extra`` prompt, if the reads pay for it, too; all reads at most."""
    rounds = plan_race(prices, messages, reads, READS_OF_FIT)
    beside = 0
    if extra is not None:
        # A question that is no anchor is one more read.
        beside = int(extra.options["anchors"]) + rounds[-1].messages
        try:
            rounds = plan_race(prices, messages, reads, READS_OF_FIT + beside)
        except TooFewReadsError:
            extra, beside = None, 0
    return rounds, extra, reads_of(rounds, prices[: rounds[0].prompts]) + READS_OF_FIT + beside


def _race(
    racing: list[Contender],
    default: Contender,
    rounds: Sequence[Round],
    questions: Questions,
    on_progress: OnProgress,
) -> None:
    """Lets the contenders read as the rounds say; the default stays to the end."""
    total = reads_of(rounds, [reads_a_message(each.settings) for each in racing])
    done, before = 0, 0
    for size, messages in rounds:
        if before:
            asked = questions.first(before)
            nats = {each: min(trial.nats for trial in _trials(each, asked, default.settings))
                    for each in racing}  # fmt: skip
            best = sorted(racing, key=lambda each: (each is not default, nats[each]))[:size]
            racing = [each for each in racing if each in best]
        for start in range(before, messages, IN_A_ROW):
            texts = questions.texts[start : min(start + IN_A_ROW, messages)]
            for contender in racing:
                contender.read(texts)
                done += len(texts) * reads_a_message(contender.settings)
                on_progress("tune", done, total, "")
        before = messages


class _Trial(NamedTuple):
    """Settings that were tried.

    Attributes:
        settings: all of them.
        losses: (M,) float64, nats, see ``losses``.
        nats: their mean; each label counts the same.
        accuracy: the mean over labels of the share that is right.
    """

    settings: FewShotConfig
    losses: np.ndarray
    nats: float
    accuracy: float

    @property
    def messages(self) -> int:
        return len(self.losses)

    @property
    def figures(self) -> dict[str, float]:
        return {"nats": round(self.nats, 4), "accuracy": round(self.accuracy, 4)}

    @property
    def record(self) -> dict[str, Any]:
        settings = {name: getattr(self.settings, name) for name in TUNED}
        return {"settings": settings, "messages": self.messages, **self.figures}


def _trials(contender: Contender, asked: Questions, default: FewShotConfig) -> list[_Trial]:
    """Every way to answer with a prompt that has been asked these questions."""
    weights, trials = asked.for_labels, []
    for settings, p in contender.answers(default, asked):
        of_each = losses(p, asked.right, weights)
        accuracy = (p.argmax(axis=1) == asked.right) @ weights
        trials.append(_Trial(settings, of_each, float(of_each @ weights), float(accuracy)))
    return trials


# --- in words -----------------------------------------------------------------------------------


def _too_few(questions: Questions) -> str:
    """Why these messages cannot tell settings apart; empty if they can."""
    if len(questions) < LEAST_MESSAGES:
        return (
            f"{len(questions)} different labelled messages are too few to choose by; "
            f"{LEAST_MESSAGES} or more are needed"
        )
    if len(set(questions.right.tolist())) < 2:
        return "the labelled messages have one label only"
    return ""


def _what_is_done(
    rounds: Sequence[Round], extra: FewShotConfig | None, most: int, labelled: int, lm: LM
) -> str:
    first, last = rounds[0], rounds[-1]
    some = f"{first.messages} to {last.messages}" if len(rounds) > 1 else f"{last.messages}"
    beside = " and kNN prompting" if extra else ""
    return (
        f"{first.prompts} prompts{beside} are compared on {some} of {labelled:,} labelled "
        f"messages: at most {most:,} reads of {lm.name}"
    )


def _summary(candidate: int, default: _Trial, chosen: _Trial, chance: float) -> str:
    if not candidate:
        return (
            f"the default is kept: on {default.messages} labelled messages nothing was better "
            f"beyond chance (p = {chance:.2f})"
        )
    return (
        f"on {chosen.messages} labelled messages {chosen.accuracy:.1%} right, the default "
        f"{default.accuracy:.1%}; on new ones, expect a little less"
    )
