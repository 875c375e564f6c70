"""Replay: rows of the old task among those of the new one (rehearsal, Robins 1995)."""

import math
from collections.abc import Iterator, Sequence
from itertools import chain, islice

import numpy as np
from torch import Tensor, nn

from clfcore.forgetting.objectives import Around
from clfcore.model.batching import shuffled
from clfcore.training.loop import Objective


class Replay(Around):
    """An objective whose steps hold a fixed share of old rows. A row counts as a row.

    An epoch shows every new row, and so many old ones that they are ``share`` of all; each step
    holds its part of them, rounded down or up. Which ones, the epoch's random numbers say.

    Args:
        new: what is learned.
        old: what is not to be forgotten. Its model shares its weights with that of ``new``.
        old_model: the model that ``old`` is about.
        share: in [0, 1).
    """

    def __init__(self, new: Objective, old: Objective, old_model: nn.Module, share: float) -> None:
        super().__init__(new)
        self.old, self.old_model = old, old_model
        self.first = len(new.lengths)  # old rows are numbered from here
        self.count = round(len(new.rows) * share / (1 - share))  # in an epoch
        self.rows: Sequence[int] = [*new.rows, *range(self.first, self.first + self.count)]
        self.lengths: Sequence[int] = [*new.lengths, *old.lengths]

    def order(self, size: int, rng: np.random.Generator) -> Iterator[list[int]]:
        """The rows of each step of an epoch, ``size`` of them."""
        steps = math.ceil(len(self.rows) / size)
        near = shuffled(self.inner.lengths, self.inner.rows, size, rng)
        new = chain.from_iterable(near)
        pool = rng.permutation(len(self.old.lengths)) + self.first
        old = iter(np.resize(pool, self.count).tolist())  # begins anew where all were shown
        for step in range(steps):
            replayed = (step + 1) * self.count // steps - step * self.count // steps
            yield [*islice(new, size - replayed), *islice(old, replayed)]

    def passes(self, rows: list[int]) -> list[list[int]]:
        new, old = self._parted(rows)
        return [
            *(self.inner.passes(new) if new else []),
            *([r + self.first for r in part] for part in (self.old.passes(old) if old else [])),
        ]

    def weight(self, rows: list[int]) -> Tensor:
        new, old = self._parted(rows)
        return sum(each.weight(part) for each, part in ((self.inner, new), (self.old, old)) if part)  # type: ignore[return-value]

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, float]:
        new, old = self._parted(rows)
        found = [self.inner.loss(model, new)] if new else []
        found += [self.old.loss(self.old_model, old)] if old else []
        losses, right = zip(*found, strict=True)
        return sum(losses), sum(right)

    def _parted(self, rows: list[int]) -> tuple[list[int], list[int]]:
        """Rows of the new task, and those of the old one as it numbers them."""
        new = [row for row in rows if row < self.first]
        return new, [row - self.first for row in rows if row >= self.first]
