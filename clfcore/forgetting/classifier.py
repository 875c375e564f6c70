"""A classifier learns a second task with a new head on the same trunk, and may forget the first."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from clfcore.errors import TuneshotError
from clfcore.evaluation.records import Record
from clfcore.fine_tuned import FineTuned
from clfcore.forgetting.objectives import Measured
from clfcore.forgetting.progressive import ProgressiveTrunk
from clfcore.forgetting.remedies import REMEDIES, Learning
from clfcore.forgetting.run import choose_weights, follow, loop_config
from clfcore.forgetting.settings import ForgettingConfig
from clfcore.model.batching import Encoded
from clfcore.model.classifier import TextClassifier, Trunk
from clfcore.model.gpt import GPTModel
from clfcore.training.classification import Labels
from clfcore.training.resume import ResumableRun
from clfcore.training.settings import TrainConfig
from clfcore.types import Example, OnProgress, ignore


@dataclass(frozen=True, slots=True)
class SecondTask:
    """What a classifier is to learn beside what it knows.

    Attributes:
        learned: labelled messages of the new task.
        asked: others, to measure its accuracy on.
        old: messages of the old task that a remedy may read again.
        old_asked: others, to measure what is left of the old task.
    """

    learned: list[Example]
    asked: list[Example]
    old: list[Example]
    old_asked: list[Example]


def teach_classifier(
    first: FineTuned,
    task: SecondTask,
    remedy: str,
    config: ForgettingConfig,
    seed: int,
    *,
    on_progress: OnProgress = ignore,
    resumable: ResumableRun | None = None,
) -> Record:
    """Teaches ``first`` a second task with a remedy; see ``follow``.

    The new task has a head of its own; the old task keeps the old head, on the trunk that learns.

    Args:
        first: the classifier of the old task; changed by the learning.
        task: what it learns.
        remedy: a key of ``REMEDIES``.
        config: the settings.
        seed: of the new head, the order of rows, and adapters.
        on_progress: called with (stage, done, total, figures).
        resumable: where the state of the run is kept, and resumed from.

    Raises:
        TuneshotError: a new column beside a trunk that can have none.
    """
    of = REMEDIES[remedy]
    labels = sorted({example.label for example in task.learned})
    old_trunk, reading = first.model.trunk, first.model.reading
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(old_trunk.emb_dim, len(labels))
        nn.init.zeros_(head.weight)  # undecided, as every new head is
        nn.init.zeros_(head.bias)
        if of.column:
            if not isinstance(old_trunk, GPTModel):
                raise TuneshotError(f"{first.name} can have no new column; choose another remedy")
            trunk: Trunk = ProgressiveTrunk(old_trunk, len(labels))
            trunk.out_head = head
        else:
            trunk = with_head(old_trunk, head)
    model = TextClassifier(trunk, reading)
    choose_weights(model, of, config, seed, new_head=True)
    first.model.trunk.out_head.requires_grad_(False)
    if of.column:
        old_trunk.requires_grad_(False)

    def rows(part: Sequence[Example], names: Sequence[str]) -> Encoded:
        return Encoded.of(part, names, first.read)

    loop = TrainConfig(
        layers=of.layers, rank=config.rank, balance="none", **loop_config(of, config, seed)
    )

    def old_accuracy() -> float:
        answers = first.predict([example.text for example in task.old_asked])
        hits = sum(a.label == e.label for a, e in zip(answers, task.old_asked, strict=True))
        return hits / len(task.old_asked)

    new = Measured(
        Labels(model, rows(task.learned, labels), rows(task.asked, labels), loop, None, None),
        {"old_accuracy": old_accuracy},
    )
    old = Labels(
        first.model, rows(task.old, first.labels), rows(task.old, first.labels),
        replace(loop, seed=seed), None, None,
    )  # fmt: skip
    return follow(Learning(model, new, old, first.model), of, loop, on_progress, resumable)


def with_head(trunk: Trunk, head: nn.Module) -> Trunk:
    """A trunk of the same blocks and embeddings, not copies of them, under another head."""
    twin = copy.copy(trunk)
    twin._modules = {**trunk._modules, "out_head": head}
    return twin
