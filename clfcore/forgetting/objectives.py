"""Objectives around another one: what is measured on the way, and what is measured with.

A remedy against forgetting is an objective around the one of the new task, see ``remedies.py``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from clfcore.model.classifier import TrunkModel
from clfcore.training.loop import Objective, Validation
from clfcore.training.recipe import mix_with

Score = Callable[[], float]  # of the model as it is


class Around:
    """The same objective as ``inner``, but for what a subclass changes."""

    def __init__(self, inner: Objective) -> None:
        self.inner = inner
        self.rows: Sequence[int] = inner.rows
        self.lengths: Sequence[int] = inner.lengths

    def passes(self, rows: list[int]) -> list[list[int]]:
        return self.inner.passes(rows)

    def weight(self, rows: list[int]) -> Tensor:
        return self.inner.weight(rows)

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, float]:
        return self.inner.loss(model, rows)

    def validate(self) -> tuple[float, float] | Validation:
        return self.inner.validate()


class Measured(Around):
    """Every validation also measures what may be forgotten.

    Args:
        inner: the objective of the new task.
        judge: loss in nats and accuracy of the new task; default: ``inner.validate``.
        scores: name -> what is measured of the model, such as its perplexity on some texts.
    """

    def __init__(
        self,
        inner: Objective,
        scores: Mapping[str, Score],
        judge: Callable[[], tuple[float, float]] | None = None,
    ) -> None:
        super().__init__(inner)
        self.scores, self.judge = scores, judge or inner.validate

    def validate(self) -> Validation:
        loss, accuracy = self.judge()[:2]
        return Validation(loss, accuracy, {name: score() for name, score in self.scores.items()})


class Mixed(Around):
    """WiSE-FT (Wortsman et al. 2022, eq. 1): what learns is one model, what is used is another.

    The weights that are used are ``share`` of the learned ones, and the rest of those at the
    start. The loop trains on as if nothing were mixed. A new head has no start and stays.

    Args:
        inner: the objective.
        model: as it is at the start.
        share: 0: the start itself; 1: what was learned.
    """

    def __init__(self, inner: Objective, model: TrunkModel, share: float) -> None:
        super().__init__(inner)
        self.model, self.share = model, share
        self.start = _copy(model)

    def validate(self) -> tuple[float, float] | Validation:
        with self.used():
            return self.inner.validate()

    @contextmanager
    def used(self) -> Iterator[None]:
        """Inside it, the model has the mixed weights."""
        learned = _copy(self.model)
        mix_with(self.model, self.start, self.share)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, weight in self.model.trunk.state_dict().items():
                    weight.copy_(learned[name])


def _copy(model: TrunkModel) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in model.trunk.state_dict().items()}
