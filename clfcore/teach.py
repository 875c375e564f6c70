"""A few messages more, taught to a finished classifier: its last block learns, the rest stays.

A model that learns only new messages forgets the old ones, so messages of its training part are
shown again beside them (rehearsal, Robins 1995). A message that is merely repeated is learnt by
heart; each repeat after the first leaves out some of the words (random deletion, Wei & Zou 2019),
so that what is said in a few other words is known, too.

Where the messages it was trained on are not at hand, it rehearses its own answers to others
(learning without forgetting, Li & Hoiem 2016): their true labels would be a second lesson.
"""

import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import numpy as np
import torch

from clfcore.bases import fingerprint
from clfcore.batching import Encoded
from clfcore.calibrate import calibrate
from clfcore.classifier import count_parameters, freeze_all_but
from clfcore.data import Source, content_hash, grouped_stratified_split, normal_form
from clfcore.errors import TuneshotError
from clfcore.evaluate import evaluate
from clfcore.predict import FineTuned
from clfcore.settings import TrainConfig
from clfcore.train import Step, fit, planned_steps
from clfcore.types import Example, unheard

# Chosen on the validation part and on messages written for it, never on the test part: the most
# paraphrases learnt among settings that keep the accuracy.
_CONFIG = TrainConfig(
    layers="last_block",
    balance="none",  # the rehearsed messages are balanced already
    epochs=8,
    batch_size=32,
    learning_rate=5e-4,
    schedule="one_cycle",
    weight_decay=0.05,
    precision="float32",
)
_REHEARSED = 1_100  # messages at most; of the SMS corpus, all spam and as many ham are 1,046
_REPEATS = 32  # of a taught message in an epoch,
_TAUGHT_ROWS = 192  # unless that makes more rows than this,
_LEAST_REPEATS = 8  # but never fewer
_LEFT_OUT = 0.3  # share of the words


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is to be learnt, and what must not be forgotten.

    Attributes:
        taught: the new messages; of copies, the last one.
        repeats: how often each is shown in an epoch.
        familiar: whether the classifier was trained on what it rehearses.
        rehearsed: from the training part, as many of each label; with the classifier's own
            answers if it is not familiar.
        val: the validation part, without copies of ``taught``.
        data: where the last two come from: ``source``, its ``sha256`` and ``split_seed``.
        config: how.
    """

    taught: list[Example]
    repeats: int
    familiar: bool
    rehearsed: list[Example]
    val: list[Example]
    data: dict[str, Any]
    config: TrainConfig

    @property
    def rows(self) -> list[Example]:
        """The messages of one epoch; the same for the same seed."""
        rng = np.random.default_rng(self.config.seed)
        repeats = [
            _shortened(example, rng) for example in self.taught for _ in range(self.repeats - 1)
        ]
        return [*self.rehearsed, *self.taught, *repeats]

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return planned_steps([0] * len(self.rows), self.config)


def prepare(parent: FineTuned, taught: Sequence[Example], source: Source, seed: int = 0) -> Lesson:
    """Chooses what to rehearse, from the training part ``parent`` has learnt from.

    Args:
        parent: the classifier that shall learn more.
        taught: labelled messages.
        source: all labelled messages of its task; the test part is not touched.
        seed: of everything that is random.

    Raises:
        TuneshotError: nothing to learn, labels that ``parent`` does not know, or an adapter.
    """
    if not taught:
        raise TuneshotError("no message has been taught; add at least one, with its label")
    if parent.meta.adapter is not None:
        raise TuneshotError(
            f"{parent.name} carries an adapter, and its last block cannot learn beside it; fold "
            "the adapter in first: clf merge"
        )
    if unknown := sorted({example.label for example in taught} - set(parent.labels)):
        raise TuneshotError(
            f"{parent.name} has no label {', '.join(map(repr, unknown))}; it knows "
            f"{', '.join(parent.labels)}"
        )
    if (found := {example.label for example in source.examples}) != set(parent.labels):
        raise TuneshotError(
            f"{source.name} has the labels {', '.join(sorted(found))}, and {parent.name} has "
            f"{', '.join(parent.labels)}; give messages of the task it was trained on"
        )
    new = {normal_form(example.text): example for example in taught}
    studied = parent.meta.about.get("data", {})
    sha256, split_seed = content_hash(source.examples), studied.get("split_seed", 0)
    familiar = studied.get("sha256") == sha256
    split = grouped_stratified_split(source.examples, split_seed)
    train, val = (
        [e for e in (source.examples[row] for row in rows) if normal_form(e.text) not in new]
        for rows in (split.train, split.val)
    )
    if not familiar:
        answers = parent.predict([example.text for example in train])
        train = [replace(e, label=a.label) for e, a in zip(train, answers, strict=True)]
    by_label = [[e for e in train if e.label == label] for label in parent.labels]
    each = min(_REHEARSED // len(by_label), *map(len, by_label))
    if each == 0:
        raise TuneshotError(
            f"{parent.name} has nothing to rehearse: it does not give every one of its answers on "
            f"{source.name}; give messages of the task it was trained on"
        )
    rng = np.random.default_rng(seed)
    rehearsed = [own[i] for own in by_label for i in rng.permutation(len(own))[:each]]
    return Lesson(
        taught=list(new.values()),
        repeats=max(_LEAST_REPEATS, min(_REPEATS, _TAUGHT_ROWS // len(new))),
        familiar=familiar,
        rehearsed=rehearsed,
        val=val,
        data={
            "source": source.name,
            "sha256": sha256,
            "split_seed": split_seed,
        },
        config=replace(_CONFIG, seed=seed),
    )


def learn_more(
    parent: FineTuned, lesson: Lesson, watch: Callable[[Step], None] = unheard
) -> FineTuned:
    """Teaches ``parent`` the lesson, in place.

    Args:
        parent: no longer what it was, afterwards.
        lesson: from ``prepare``.
        watch: hears every step.

    Returns:
        The new classifier. It says where it comes from and how well it does on the validation
        part; the taught messages themselves are not in it.

    Raises:
        TuneshotError: the loss is no longer a number.
    """
    start = perf_counter()
    model, trunk, before = parent.model, parent.model.trunk, parent.meta
    origin = {"name": before.name, "fingerprint": fingerprint(trunk)}
    differs = {name for name, weight in trunk.named_parameters() if weight.requires_grad}
    freeze_all_but(trunk, lesson.config.layers)
    learning, weights = count_parameters(model)
    rows, val = _encoded(parent, lesson.rows), _encoded(parent, lesson.val)
    history = fit(model, rows, val, lesson.config, watch)
    # Made to fit messages unlike those it was calibrated on, the threshold would lose its meaning.
    calibration = calibrate(model, val) if lesson.familiar else None
    for name, weight in trunk.named_parameters():
        # A checkpoint on a Hugging Face trunk stores only what requires gradients.
        weight.requires_grad_(weight.requires_grad or name in differs)

    count = len(lesson.taught)
    learnt = FineTuned(
        model, replace(before, name=f"{before.name} + {count} taught"), parent.encode
    )
    answers = learnt.predict([example.text for example in lesson.taught])
    hits = sum(a.label == e.label for a, e in zip(answers, lesson.taught, strict=True))
    judged = evaluate(learnt, lesson.val)
    about = {
        "base": before.about.get("base"),
        "parent": origin,
        "taught": {
            "messages": count,
            "repeats": lesson.repeats,
            "words_left_out": _LEFT_OUT,
            "answered_as_taught": hits,
        },
        "data": before.about.get("data", lesson.data),
        "rehearsal": {
            **lesson.data,
            "own_answers": not lesson.familiar,
            "train": _identity(lesson.rehearsed),
            "val": _identity(lesson.val),
        },
        "train": {**lesson.config.to_dict(), "history": [asdict(step) for step in history]},
        "weights": {"learning": learning, "all": weights},
        "calibration": calibration and {"slope": calibration[0], "shifts": calibration[1]},
        "seconds": round(perf_counter() - start, 1),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "val_metrics": judged.to_dict(),
    }
    learnt.meta = replace(learnt.meta, about=about)
    return learnt


def _shortened(example: Example, rng: np.random.Generator) -> Example:
    """``example`` without some of its words; with one word at least."""
    words = example.text.split()
    kept = [word for word in words if rng.random() >= _LEFT_OUT]
    return replace(example, text=" ".join(kept) or example.text)


def _encoded(classifier: FineTuned, examples: Sequence[Example]) -> Encoded:
    limit = classifier.model.trunk.context_length
    return Encoded(
        [classifier.meta.reading.tokens(classifier.encode(e.text), limit) for e in examples],
        [classifier.labels.index(example.label) for example in examples],
    )


def _identity(part: list[Example]) -> dict[str, object]:
    return {"messages": len(part), "sha256": content_hash(part)}
