"""The labelled messages as questions: in which order they are asked, and how much each counts."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Self

import numpy as np

from icl.pool.pool import Pool


@dataclass(frozen=True)
class Questions:
    """Different messages of a pool, whose labels take turns as long as they last.

    Attributes:
        texts: N of them.
        right: (N,) int64, the number of each one's label.
        of_label: (N,) int64, how many different messages of the pool have that label.
    """

    texts: tuple[str, ...]
    right: np.ndarray
    of_label: np.ndarray

    @classmethod
    def of(cls, pool: Pool, labels: tuple[str, ...], seed: int) -> Self:
        """All messages of a pool, of copies the first; the seed draws their order.

        Args:
            pool: labelled messages.
            labels: the task's; theirs are among them.
            seed: nothing else decides.
        """
        rng = np.random.default_rng(seed)
        rows_of: dict[str, list[int]] = defaultdict(list)
        for row in rng.permutation(pool.representatives).tolist():
            rows_of[pool.labels[row]].append(row)
        turns = [(turn, rng.random(), row) for rows in rows_of.values() for turn, row in
                 enumerate(rows)]  # fmt: skip
        rows = [row for _, _, row in sorted(turns)]
        names = [pool.labels[row] for row in rows]
        return cls(
            tuple(pool.texts[row] for row in rows),
            np.array([labels.index(name) for name in names], np.int64),
            np.array([len(rows_of[name]) for name in names], np.int64),
        )

    def first(self, count: int) -> Self:
        """The first of them."""
        return type(self)(self.texts[:count], self.right[:count], self.of_label[:count])

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def for_labels(self) -> np.ndarray:
        """How much each counts where each label counts the same: (N,) float64, sums to 1."""
        _, label, counts = np.unique(self.right, return_inverse=True, return_counts=True)
        return np.asarray(1 / (len(counts) * counts[label]))

    @property
    def for_prior(self) -> np.ndarray:
        """How much each counts where labels count as in the pool: (N,) float64, not normed."""
        _, label, counts = np.unique(self.right, return_inverse=True, return_counts=True)
        return np.asarray(self.of_label / counts[label])
