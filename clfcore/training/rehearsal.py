"""A few messages more, taught to a finished classifier: its last block learns, the rest stays.

A model that learns only new messages forgets the old ones, so messages of its training part are
shown again beside them (rehearsal, Robins 1995). Some repeats of a new message leave out some of
its words (random deletion, Wei & Zou 2019), so that what is said in a few other words is known,
too.

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

from clfcore.data.messages import Source
from clfcore.data.split import content_hash, grouped_stratified_split, normal_form
from clfcore.errors import TuneshotError
from clfcore.evaluation.evaluate import evaluate
from clfcore.fine_tuned import FineTuned
from clfcore.model.batching import Encoded
from clfcore.model.trainable import count_parameters, freeze_all_but
from clfcore.training.calibrate import calibrate
from clfcore.training.loop import Step, fit, planned_steps
from clfcore.training.settings import TrainConfig
from clfcore.types import Example, ignore
from clfcore.weights.bases import fingerprint

# All figures were chosen on the validation part and on messages written for it, never on the test
# part. A message that contradicts all the others is learnt late; with half as many steps, the
# others pay for it.
_CONFIG = TrainConfig(
    layers="last_block",
    balance="none",  # the rehearsed messages are balanced already
    batch_size=32,
    learning_rate=5e-4,
    schedule="one_cycle",
    weight_decay=0.05,
    label_smoothing=0.05,  # what is learnt by heart must not become infinitely sure
    precision="float32",
)
_REHEARSED = 2_000  # messages at most,
_VAL = 1_000  # and to judge by
_SHOWN = 36_000  # all epochs together,
_MOST_EPOCHS = 64  # unless there is too little to show
_REPEATS = 24  # of a taught message in an epoch,
_TAUGHT_ROWS = 240  # unless that makes more rows than this,
_LEAST_REPEATS = 8  # but never fewer
_SHORTENED = 24  # repeats that leave out words, of all together; half of a message's at most
_LEFT_OUT = 0.3  # share of the words


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is to be learnt, and what must not be forgotten.

    Attributes:
        taught: the new messages; of copies, the last one.
        repeated: ``taught`` as one epoch shows them.
        familiar: whether the classifier was trained on what it rehearses.
        rehearsed: from the training part, as many of each label where there are as many; with
            the classifier's own answers if it is not familiar.
        val: from the validation part, without copies of ``taught``.
        data: where the last two come from: ``source``, its ``sha256`` and ``split_seed``.
        config: how.
    """

    taught: list[Example]
    repeated: list[Example]
    familiar: bool
    rehearsed: list[Example]
    val: list[Example]
    data: dict[str, Any]
    config: TrainConfig

    @property
    def rows(self) -> list[Example]:
        """The messages of one epoch."""
        return [*self.rehearsed, *self.repeated]

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
        TuneshotError: nothing to learn, labels that ``parent`` does not know, or an adapter; or
            ``source`` is of another task, or too small to split.
    """
    _check(parent, taught, source)
    new = {normal_form(example.text): example for example in taught}
    studied = parent.meta.about.get("data", {})
    sha256, split_seed = content_hash(source.examples), studied.get("split_seed", 0)
    split = grouped_stratified_split(source.examples, split_seed)
    rng = np.random.default_rng(seed)
    train, val = (
        [e for e in (source.examples[row] for row in rng.permutation(part).tolist())
         if normal_form(e.text) not in new]
        for part in (split.train, split.val)
    )  # fmt: skip
    rehearsed = _balanced(train, parent.labels)
    familiar = studied.get("sha256") == sha256
    if not familiar:
        answers = parent.predict([example.text for example in rehearsed])
        rehearsed = [replace(e, label=a.label) for e, a in zip(rehearsed, answers, strict=True)]
    repeated = _repeated(list(new.values()), rng)
    epochs = min(_MOST_EPOCHS, max(1, _SHOWN // (len(rehearsed) + len(repeated))))
    return Lesson(
        taught=list(new.values()),
        repeated=repeated,
        familiar=familiar,
        rehearsed=rehearsed,
        val=val[:_VAL],
        data={"source": source.name, "sha256": sha256, "split_seed": split_seed},
        config=replace(_CONFIG, epochs=epochs, seed=seed),
    )


def learn_more(
    parent: FineTuned, lesson: Lesson, on_step: Callable[[Step], None] = ignore
) -> FineTuned:
    """Teaches ``parent`` the lesson, in place.

    Args:
        parent: no longer what it was, afterwards.
        lesson: from ``prepare``.
        on_step: called after every optimiser step.

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
    history = fit(model, rows, val, lesson.config, on_step)
    # Made to fit messages unlike those it was calibrated on, the threshold would lose its meaning.
    calibration = calibrate(model, val) if lesson.familiar else None
    for name, weight in trunk.named_parameters():
        # A checkpoint on a Hugging Face trunk stores only what requires gradients.
        weight.requires_grad_(weight.requires_grad or name in differs)

    count = len(lesson.taught)
    name = f"{before.name} + {count} taught"
    learnt = FineTuned(model, replace(before, name=name), parent.encode)
    answers = learnt.predict([example.text for example in lesson.taught])
    hits = sum(a.label == e.label for a, e in zip(answers, lesson.taught, strict=True))
    about = {
        "base": before.about.get("base"),
        "parent": origin,
        "taught": {
            "messages": count,
            "shown": len(lesson.repeated) * lesson.config.epochs,
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
        "val_metrics": evaluate(learnt, lesson.val).to_dict(),
        "seconds": round(perf_counter() - start, 1),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    learnt.meta = replace(learnt.meta, about=about)
    return learnt


def _check(parent: FineTuned, taught: Sequence[Example], source: Source) -> None:
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


def _balanced(examples: Sequence[Example], labels: Sequence[str]) -> list[Example]:
    """The first ``_REHEARSED`` messages, as many of each label where there are as many."""
    by_label = [[e for e in examples if e.label == label] for label in labels]
    chosen: list[Example] = []
    # The rarest first: what they leave goes to the others.
    for done, own in enumerate(sorted(by_label, key=len)):
        chosen += own[: (_REHEARSED - len(chosen)) // (len(labels) - done)]
    return chosen


def _repeated(taught: Sequence[Example], rng: np.random.Generator) -> list[Example]:
    repeats = max(_LEAST_REPEATS, min(_REPEATS, _TAUGHT_ROWS // len(taught)))
    whole = repeats - min(repeats // 2, _SHORTENED // len(taught))
    return [
        example if repeat < whole else _shortened(example, rng)
        for example in taught
        for repeat in range(repeats)
    ]


def _shortened(example: Example, rng: np.random.Generator) -> Example:
    """``example`` without some of its words; never without all of them."""
    kept = [word for word in example.text.split() if rng.random() >= _LEFT_OUT]
    return replace(example, text=" ".join(kept) or example.text)


def _encoded(classifier: FineTuned, examples: Sequence[Example]) -> Encoded:
    limit = classifier.model.trunk.context_length
    return Encoded(
        [classifier.meta.reading.tokens(classifier.encode(e.text), limit) for e in examples],
        [classifier.labels.index(example.label) for example in examples],
    )


def _identity(part: list[Example]) -> dict[str, object]:
    return {"messages": len(part), "sha256": content_hash(part)}
