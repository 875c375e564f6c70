"""Penalties on leaving the start: elastic weight consolidation, and plain L2."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from clfcore.forgetting.objectives import Around
from clfcore.training.loop import Objective


class Pull(NamedTuple):
    """What pulls a weight back.

    Attributes:
        start: the weight as it was.
        importance: how hard it is pulled, of the same shape; or of all its numbers alike, ().
    """

    start: Tensor
    importance: Tensor


class Penalized(Around):
    """Adds λ/2 Σᵢ Fᵢ (θᵢ − θᵢ*)² to the mean loss of a step (Kirkpatrick et al. 2017, eq. 3).

    Args:
        inner: the objective of the new task.
        model: at the start.
        importance: F of each weight by its name; those without one are free.
        strength: λ.
    """

    def __init__(
        self, inner: Objective, model: nn.Module, importance: Mapping[str, Tensor], strength: float
    ) -> None:
        super().__init__(inner)
        self.strength = strength
        self.weights = {n: w for n, w in model.named_parameters() if n in importance}
        self.pulls = {
            name: Pull(weight.detach().clone(), importance[name].to(weight))
            for name, weight in self.weights.items()
        }

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, float]:
        # The loop divides by the weight of the whole step, so all passes add one penalty.
        summed, right = self.inner.loss(model, rows)
        return summed + self.inner.weight(rows) * self.penalty(), right

    def penalty(self) -> Tensor:
        """λ/2 Σᵢ Fᵢ (θᵢ − θᵢ*)²: (), in nats."""
        terms = [
            (pull.importance * (self.weights[name] - pull.start).square()).sum()
            for name, pull in self.pulls.items()
        ]
        return self.strength / 2 * torch.stack(terms).sum()


def fisher(model: nn.Module, old: Objective, old_model: nn.Module) -> dict[str, Tensor]:
    """The diagonal of the Fisher information: the mean over old rows of the squared gradient.

    It is the empirical one: of the loss on the rows' own answers, not on answers that the model
    would draw (Kunstner et al. 2019 say when that differs). Where a weight hardly moves the loss
    of the old task, it may go where it likes.

    Args:
        model: whose weights that require gradients are asked about; its gradients are left empty.
        old: the old task; each of its rows is read once.
        old_model: what ``old`` is about; shares its weights with ``model``.

    Returns:
        name of a weight -> F, of its shape; weights that the old task does not use are left out.
    """
    trained = {n: w for n, w in model.named_parameters() if w.requires_grad}
    squares = {name: torch.zeros_like(weight) for name, weight in trained.items()}
    used: dict[str, None] = {}
    old_model.eval()
    for row in range(len(old.lengths)):
        model.zero_grad()
        summed, _ = old.loss(old_model, [row])
        (summed / old.weight([row])).backward()
        for name, weight in trained.items():
            if weight.grad is not None:
                squares[name] += weight.grad.square()
                used[name] = None
    model.zero_grad()
    return {name: squares[name] / len(old.lengths) for name in used}


def scaled(importance: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``importance`` divided by its mean, so that one λ suits models of all sizes."""
    count = sum(each.numel() for each in importance.values())
    mean = sum(float(each.sum(dtype=torch.float64)) for each in importance.values()) / count
    return {name: each / max(mean, 1e-30) for name, each in importance.items()}
