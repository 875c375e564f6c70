"""The training loop: no files, no prints, no globals. Progress leaves through a callback."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from clfcore.balance import BALANCERS, balanced_rows
from clfcore.batching import by_length, shuffled
from clfcore.classifier import TRAINABLE, class_log_probs, class_logits, freeze_all_but
from clfcore.config import Checked
from clfcore.gpt import GPTModel


@dataclass(frozen=True, slots=True)
class TrainConfig(Checked):
    """How to fine-tune.

    Attributes:
        epochs: passes over the balanced training rows.
        batch_size: messages a step.
        learning_rate: peak of the one-cycle schedule (Smith & Topin 2017).
        embedding_learning_rate: likewise for ``tok_emb``, which knows more than it can learn here.
        weight_decay: on matrices only (AdamW, Loshchilov & Hutter 2019).
        label_smoothing: share of the target spread over all labels.
        grad_clip: largest gradient norm.
        layers: a key of ``TRAINABLE``.
        balance: a key of ``BALANCERS``, applied to the training rows only.
        seed: of everything random here.
    """

    epochs: int = 5
    batch_size: int = 8
    learning_rate: float = 5e-5
    embedding_learning_rate: float = 5e-5
    weight_decay: float = 0.1
    label_smoothing: float = 0.0
    grad_clip: float = 1.0
    layers: str = "last_block"
    balance: str = "undersample"
    seed: int = 123

    def problems(self) -> list[str]:
        found = [
            f"{name} must be at least 1, not {getattr(self, name)!r}"
            for name in ("epochs", "batch_size")
            if getattr(self, name) < 1
        ]
        found += [
            f"{name} must be positive, not {getattr(self, name)!r}"
            for name in ("learning_rate", "embedding_learning_rate", "grad_clip")
            if not getattr(self, name) > 0
        ]
        if not 0 <= self.label_smoothing < 1:
            found.append(f"label_smoothing must be in [0, 1), not {self.label_smoothing!r}")
        if self.weight_decay < 0:
            found.append(f"weight_decay must not be negative, not {self.weight_decay!r}")
        for name, table in (("layers", TRAINABLE), ("balance", BALANCERS)):
            if getattr(self, name) not in table:
                found.append(
                    f"unknown {name} {getattr(self, name)!r}; choose from {', '.join(table)}"
                )
        return found


@dataclass(frozen=True, slots=True)
class Encoded:
    """Messages as the model sees them: token ids and label numbers, (N,) each."""

    tokens: Sequence[Sequence[int]]
    labels: Sequence[int]


@dataclass(frozen=True, slots=True)
class Step:
    """What the callback hears after every optimiser step; losses in nats."""

    step: int
    steps: int
    epoch: int
    examples_seen: int
    loss: float
    val_loss: float | None = None  # at the end of an epoch
    val_accuracy: float | None = None


def fit(
    model: GPTModel,
    train: Encoded,
    val: Encoded,
    config: TrainConfig,
    on_step: Callable[[Step], None] = lambda step: None,
) -> list[Step]:
    """Fine-tunes ``model`` in place and leaves it in evaluation mode.

    Args:
        model: a classifier.
        train: rows to learn from; balancing draws from these only.
        val: rows to watch, at the end of every epoch.
        config: how.
        on_step: called after every step.

    Returns:
        The last step of every epoch, with validation figures.
    """
    torch.manual_seed(config.seed)  # dropout
    rng = np.random.default_rng(config.seed)
    rows = balanced_rows(train.labels, config.balance, config.seed)
    targets = torch.tensor(train.labels)
    steps = config.epochs * -(-len(rows) // config.batch_size)

    freeze_all_but(model, config.layers)
    optimizer, schedule = _optimizer(model, config, steps)
    history: list[Step] = []
    done = seen = 0
    for epoch in range(1, config.epochs + 1):
        model.train()
        for batch in shuffled(train.tokens, rows, config.batch_size, rng):
            logits = class_logits(model, batch)  # (B, classes)
            loss = F.cross_entropy(
                logits, targets[batch.rows], label_smoothing=config.label_smoothing
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
            optimizer.step()
            schedule.step()
            done, seen = done + 1, seen + len(batch.rows)
            step = Step(done, steps, epoch, seen, loss.item())
            on_step(step)
        val_loss, val_accuracy = validate(model, val)
        history.append(Step(done, steps, epoch, seen, step.loss, val_loss, val_accuracy))
        on_step(history[-1])
    model.requires_grad_(True)
    model.eval()
    return history


@torch.inference_mode()
def validate(model: GPTModel, data: Encoded) -> tuple[float, float]:
    """Mean loss in nats and accuracy on ``data``."""
    model.eval()
    loss, correct = 0.0, 0
    targets = torch.tensor(data.labels)
    for batch in by_length(data.tokens, 64):
        log_p, y = class_log_probs(model, batch), targets[batch.rows]  # (B, classes), (B,)
        loss += F.nll_loss(log_p, y, reduction="sum").item()
        correct += int((log_p.argmax(dim=-1) == y).sum())
    return loss / len(data.labels), correct / len(data.labels)


def _optimizer(
    model: GPTModel, config: TrainConfig, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW over three groups: token embedding, matrices (decayed), vectors (not decayed)."""
    embedding: list[nn.Parameter] = []
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        group = embedding if name == "tok_emb.weight" else matrices if weight.dim() > 1 else vectors
        group.append(weight)
    groups = [
        {"params": embedding, "lr": config.embedding_learning_rate, "weight_decay": 0.0},
        {"params": matrices, "lr": config.learning_rate, "weight_decay": config.weight_decay},
        {"params": vectors, "lr": config.learning_rate, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    optimizer = torch.optim.AdamW(groups, fused=True)
    peaks = [float(group["lr"]) for group in groups]  # type: ignore[arg-type]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peaks, total_steps=steps)
    return optimizer, schedule
