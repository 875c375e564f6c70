"""A few more messages for a finished classifier: its last block is trained, the rest stays.

A model trained on new messages alone forgets the old ones, so messages of its training part are
shown again beside them (rehearsal, Robins 1995). Some repeats of a new message leave out some of
its words (random deletion, Wei & Zou 2019), so that the same thing in a few other words is
recognised, too.

Where the messages it was trained on are not at hand, it rehearses its own answers to others
(learning without forgetting, Li & Hoiem 2016): their true labels would be new training data.
"""

import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import numpy as np
import torch

from clfcore.data.messages import LabelledMessages
from clfcore.data.split import content_hash, data_record, grouped_stratified_split, normal_form
from clfcore.errors import TuneshotError
from clfcore.evaluation.evaluate import evaluate
from clfcore.fine_tuned import FineTuned
from clfcore.model.batching import Encoded
from clfcore.model.trainable import count_parameters, freeze_all_but
from clfcore.training.calibrate import calibrate
from clfcore.training.classification import fit, planned_steps
from clfcore.training.loop import StepMetrics
from clfcore.training.settings import TrainConfig
from clfcore.types import Example, ignore
from clfcore.weights.bases import fingerprint
from clfcore.wording import listed

# All figures were chosen on the validation part and on messages written for it, never on the test
# part. A message that contradicts all the others is learnt late; with half as many steps, the
# others suffer.
_CONFIG = TrainConfig(
    layers="last_block",
    balance="none",  # the rehearsed messages are balanced already
    batch_size=32,
    learning_rate=5e-4,
    schedule="one_cycle",
    weight_decay=0.05,
    label_smoothing=0.05,  # what is memorised must not become infinitely sure
    precision="float32",
)
_MAX_REHEARSED_MESSAGES = 2_000
_MAX_VAL_MESSAGES = 1_000
_MESSAGES_SHOWN = 36_000  # in all epochs together,
_MAX_EPOCHS = 64  # unless there is too little to show
_REPEATS = 24  # of a taught message in an epoch,
_MAX_TAUGHT_ROWS = 240  # unless that makes more rows than this,
_MIN_REPEATS = 8  # but never fewer
_SHORTENED_REPEATS = 24  # leave out words, of all together; half of a message's at most
_LEFT_OUT_SHARE = 0.3  # of the words


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The new messages, and the old ones that are shown beside them.

    Attributes:
        taught: the new messages; of copies, the last one.
        repeated: ``taught`` as one epoch shows them.
        familiar: whether the classifier was trained on what it rehearses.
        rehearsed: from the training part, as many of each label where there are as many; with
            the classifier's own answers if it is not familiar.
        val: from the validation part, without copies of ``taught``.
        data: where the last two come from: ``source``, its ``sha256`` and ``split_seed``.
        config: the settings.
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


def plan_rehearsal(
    parent: FineTuned, taught: Sequence[Example], source: LabelledMessages, seed: int = 0
) -> Rehearsal:
    """Chooses what to rehearse, from the training part of ``parent``.

    Args:
        parent: the classifier to train further.
        taught: labelled messages.
        source: all labelled messages of its task; the test part is not touched.
        seed: of everything that is random.

    Raises:
        TuneshotError: no new message, labels that ``parent`` does not have, or an adapter; or
            ``source`` is of another task, or too small to split.
    """
    _check(parent, taught, source)
    new = {normal_form(example.text): example for example in taught}
    data = parent.meta.about.get("data", {})
    sha256, split_seed = content_hash(source.examples), data.get("split_seed", 0)
    split = grouped_stratified_split(source.examples, split_seed)
    rng = np.random.default_rng(seed)
    train, val = (
        [e for e in (source.examples[row] for row in rng.permutation(part).tolist())
         if normal_form(e.text) not in new]
        for part in (split.train, split.val)
    )  # fmt: skip
    rehearsed = _balanced(train, parent.labels)
    familiar = data.get("sha256") == sha256
    if not familiar:
        answers = parent.predict([example.text for example in rehearsed])
        rehearsed = [replace(e, label=a.label) for e, a in zip(rehearsed, answers, strict=True)]
    repeated = _repeated(list(new.values()), rng)
    epochs = min(_MAX_EPOCHS, max(1, _MESSAGES_SHOWN // (len(rehearsed) + len(repeated))))
    return Rehearsal(
        taught=list(new.values()),
        repeated=repeated,
        familiar=familiar,
        rehearsed=rehearsed,
        val=val[:_MAX_VAL_MESSAGES],
        data={"source": source.name, "sha256": sha256, "split_seed": split_seed},
        config=replace(_CONFIG, epochs=epochs, seed=seed),
    )


def train_further(
    parent: FineTuned, rehearsal: Rehearsal, on_step: Callable[[StepMetrics], None] = ignore
) -> FineTuned:
    """Trains ``parent`` on new and rehearsed messages, in place.

    Args:
        parent: changed by the training.
        rehearsal: from ``plan_rehearsal``.
        on_step: called after every optimiser step.

    Returns:
        The new classifier. Its description says where it comes from and how well it does on the
        validation part; the taught messages themselves are not in it.

    Raises:
        TuneshotError: the loss is no longer a number.
    """
    start = perf_counter()
    model, trunk, before = parent.model, parent.model.trunk, parent.meta
    origin = {"name": before.name, "fingerprint": fingerprint(trunk)}
    stored = {name for name, weight in trunk.named_parameters() if weight.requires_grad}
    freeze_all_but(trunk, rehearsal.config.layers)
    trained, total = count_parameters(model)
    rows, val = (
        Encoded.of(part, parent.labels, parent.read) for part in (rehearsal.rows, rehearsal.val)
    )
    history = fit(model, rows, val, rehearsal.config, on_step)
    # Made to fit messages unlike those it was calibrated on, the threshold would lose its meaning.
    calibration = calibrate(model, val) if rehearsal.familiar else None
    for name, weight in trunk.named_parameters():
        # A checkpoint on a Hugging Face trunk stores only what requires gradients.
        weight.requires_grad_(weight.requires_grad or name in stored)

    count = len(rehearsal.taught)
    child = FineTuned(model, replace(before, name=f"{before.name} + {count} taught"), parent.encode)
    answers = child.predict([example.text for example in rehearsal.taught])
    hits = sum(a.label == e.label for a, e in zip(answers, rehearsal.taught, strict=True))
    about = {
        "base": before.about.get("base"),
        "parent": origin,
        "taught": {
            "messages": count,
            "shown": len(rehearsal.repeated) * rehearsal.config.epochs,
            "answered_as_taught": hits,
        },
        "data": before.about.get("data", rehearsal.data),
        "rehearsal": {
            **rehearsal.data,
            "own_answers": not rehearsal.familiar,
            "train": data_record(rehearsal.rehearsed),
            "val": data_record(rehearsal.val),
        },
        "train": {**rehearsal.config.to_dict(), "history": [asdict(step) for step in history]},
        "weights": {"learning": trained, "all": total},
        "calibration": calibration and {"slope": calibration[0], "shifts": calibration[1]},
        "val_metrics": evaluate(child, rehearsal.val).to_dict(),
        "seconds": round(perf_counter() - start, 1),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    child.meta = replace(child.meta, about=about)
    return child


def _check(parent: FineTuned, taught: Sequence[Example], source: LabelledMessages) -> None:
    if not taught:
        raise TuneshotError("no message has been taught; add at least one, with its label")
    if parent.meta.adapter is not None:
        raise TuneshotError(
            f"{parent.name} carries an adapter, and its last block cannot be trained beside it; "
            "fold the adapter in first: clf merge"
        )
    if unknown := sorted({example.label for example in taught} - set(parent.labels)):
        raise TuneshotError(
            f"{parent.name} has no label {listed(map(repr, unknown))}; it knows "
            f"{listed(parent.labels)}"
        )
    if (labels := {example.label for example in source.examples}) != set(parent.labels):
        raise TuneshotError(
            f"{source.name} has the labels {listed(sorted(labels))}, and {parent.name} has "
            f"{listed(parent.labels)}; give messages of the task it was trained on"
        )


def _balanced(examples: Sequence[Example], labels: Sequence[str]) -> list[Example]:
    """``_MAX_REHEARSED_MESSAGES`` at most, as many of each label where there are as many."""
    by_label = [[e for e in examples if e.label == label] for label in labels]
    balanced: list[Example] = []
    # The rarest first: what they leave goes to the others.
    for done, members in enumerate(sorted(by_label, key=len)):
        balanced += members[: (_MAX_REHEARSED_MESSAGES - len(balanced)) // (len(labels) - done)]
    return balanced


def _repeated(taught: Sequence[Example], rng: np.random.Generator) -> list[Example]:
    repeats = max(_MIN_REPEATS, min(_REPEATS, _MAX_TAUGHT_ROWS // len(taught)))
    whole = repeats - min(repeats // 2, _SHORTENED_REPEATS // len(taught))
    return [
        example if repeat < whole else _shortened(example, rng)
        for example in taught
        for repeat in range(repeats)
    ]


def _shortened(example: Example, rng: np.random.Generator) -> Example:
    """``example`` without some of its words; never without all of them."""
    kept = [word for word in example.text.split() if rng.random() >= _LEFT_OUT_SHARE]
    return replace(example, text=" ".join(kept) or example.text)
