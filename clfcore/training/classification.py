"""What a classifier learns in the loop: the label of each message."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clfcore.data.balance import BALANCERS, balanced_rows, class_weights
from clfcore.model.batching import Batch, Encoded, by_length, of_equal_length, pad
from clfcore.model.classifier import TextClassifier, sentence_vectors
from clfcore.model.precision import autocast, resolve
from clfcore.model.trainable import frozen_depth
from clfcore.training.distributed import device_of, is_sharded
from clfcore.training.frozen import ActivationCache, offloaded_below
from clfcore.training.loop import StepMetrics, TrainingState, count_steps, learn
from clfcore.training.settings import TrainConfig
from clfcore.types import ignore

if TYPE_CHECKING:
    from accelerate import Accelerator

_VALIDATION_BATCH_SIZE = 64


@dataclass(frozen=True, slots=True)
class Practice:
    """Unlabelled texts to train on, and answers of a teacher.

    Attributes:
        tokens: (M,) token ids of the texts.
        targets: (N + M, classes) float32 probabilities: of the N training messages, then of these.
    """

    tokens: Sequence[Sequence[int]]
    targets: np.ndarray


def fit(
    model: TextClassifier,
    train: Encoded,
    val: Encoded,
    config: TrainConfig,
    on_step: Callable[[StepMetrics], None] = ignore,
    *,
    practice: Practice | None = None,
    accelerator: "Accelerator | None" = None,
    resume: TrainingState | None = None,
    on_state: Callable[[Callable[[], TrainingState]], None] = ignore,
    after_step: Callable[[int], None] = ignore,
) -> list[StepMetrics]:
    """Trains the weights of ``model`` that require gradients, in place; see ``loop.learn``.

    Args:
        model: a classifier; left on its device, in evaluation mode.
        train: rows to train on; balancing draws from these only.
        val: rows to validate on.
        config: the settings.
        on_step: called after every step.
        practice: what else to train on.
        accelerator: on which device and among how many processes; default: alone, on the CPU.
        resume: the state to continue from.
        on_state: called after every step with a function that makes the state to resume from.
        after_step: called with the step's number while its gradients are still there.

    Returns:
        The steps that were followed by a validation.

    Raises:
        TuneshotError: a balancing strategy that these rows do not allow, or a loss that is no
            longer a number.
    """
    if not is_sharded(accelerator):  # shards are moved where they belong, not the whole
        model.to(device_of(accelerator))
    objective = Labels(model, train, val, config, practice, accelerator)
    return learn(
        model, objective, config, on_step, accelerator=accelerator, resume=resume,
        on_state=on_state, after_step=after_step,
    )  # fmt: skip


def planned_steps(labels: Sequence[int], config: TrainConfig) -> int:
    """Optimiser steps of a run; strategies that compare neighbours may leave out a few."""
    rows = (
        balanced_rows(labels, config.balance, config.seed, config.balance_ratio)
        if BALANCERS[config.balance].kind == "rows"
        else labels
    )
    return count_steps(len(rows) + config.practice, config)


class Labels:
    """The objective: cross-entropy of the labels, weighted by label and by message."""

    def __init__(
        self,
        model: TextClassifier,
        train: Encoded,
        val: Encoded,
        config: TrainConfig,
        practice: Practice | None,
        accelerator: "Accelerator | None",
    ) -> None:
        self.model, self.val, self.config = model, val, config
        self.device = device_of(accelerator)
        self.precision = resolve(config.precision, self.device)
        vectors = (
            sentence_vectors(model, train.tokens, self.precision)
            if BALANCERS[config.balance].kind == "neighbours"
            else None
        )
        self.rows: Sequence[int] = balanced_rows(
            train.labels, config.balance, config.seed, config.balance_ratio, vectors
        )
        label_weights = class_weights(train.labels, config.balance, train.weights)
        self.soft_targets: Tensor | None = None
        if practice is not None:
            self.rows = [*self.rows, *range(len(train.tokens), len(practice.targets))]
            self.soft_targets = torch.tensor(practice.targets, device=self.device)  # (N + M, K)
            train = _together(train, practice)
        self.train = train
        self.lengths: Sequence[int] = [len(ids) for ids in train.tokens]
        widths = {"longest": max(self.lengths), "full_context": model.trunk.context_length}
        self.width = widths.get(config.padding)  # of a training batch; None: of its longest message

        self.depth = frozen_depth(model.trunk)
        self.cache = self.val_cache = None
        both = [*train.tokens, *val.tokens]
        alone = accelerator is None or accelerator.num_processes == 1
        if self.depth and alone and ActivationCache.fits_in_memory(model, both):
            with offloaded_below(model.trunk, self.depth):
                self.cache, self.val_cache = (
                    ActivationCache(model, part.tokens, self.depth, self.precision)
                    for part in (train, val)
                )

        floats = partial(torch.tensor, dtype=torch.float32, device=self.device)
        self.label_weights = floats(label_weights)  # (classes,)
        self.weights = floats(train.weights)  # (N,)
        self.val_weights = floats(val.weights)
        self.targets = torch.tensor(train.labels, device=self.device)  # (N,)
        self.val_targets = torch.tensor(val.labels, device=self.device)

    def passes(self, rows: list[int]) -> list[list[int]]:
        return of_equal_length(self.lengths, rows) if self.config.padding == "none" else [rows]

    def weight(self, rows: list[int]) -> Tensor:
        return (self.label_weights[self.targets[rows]] * self.weights[rows]).sum()

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, int]:
        batch = pad(self.train.tokens, rows, self.width)
        logits = self._logits(model, batch, self.cache)  # (B, classes)
        y = self.targets[rows]
        target = y if self.soft_targets is None else self.soft_targets[rows]
        losses = F.cross_entropy(
            logits, target, self.label_weights, reduction="none",
            label_smoothing=self.config.label_smoothing,
        )  # (B,)  # fmt: skip
        right = int((logits.argmax(dim=-1) == y).sum())
        return (losses * self.weights[rows]).sum(), right

    def validate(self) -> tuple[float, float]:
        """Every process reads the whole validation part."""
        loss, right = 0.0, 0.0
        for batch in by_length(self.val.tokens, _VALIDATION_BATCH_SIZE):
            logits = self._logits(self.model, batch, self.val_cache)
            y = self.val_targets[batch.rows]
            w = self.val_weights[batch.rows]  # (B,)
            loss += float((F.cross_entropy(logits, y, reduction="none") * w).sum())
            right += float(((logits.argmax(dim=-1) == y) * w).sum())
        total = float(self.val_weights.sum())
        return loss / total, right / total

    def _logits(self, model: nn.Module, batch: Batch, cache: ActivationCache | None) -> Tensor:
        """(B, classes) float32, from the cache where there is one."""
        with autocast(self.precision, self.device):
            if cache is not None:
                return self.model.above(*cache.batch(batch.rows), self.depth).float()
            return model(batch.ids.to(self.device), batch.lengths.to(self.device)).float()


def _together(train: Encoded, practice: Practice) -> Encoded:
    """The messages, then the practice texts with the labels that the teacher thinks likeliest."""
    likeliest = practice.targets[len(train.tokens) :].argmax(axis=1).tolist()
    return Encoded(
        [*train.tokens, *practice.tokens],
        [*train.labels, *likeliest],
        [*train.weights, *[1.0] * len(likeliest)],
    )
