"""The simple selectors: none, at random, the most similar."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from icl.pool import Pool
from icl.selection import Reader, Selection, candidates, generator

# Queries per matrix product: bounds memory to 1024 x N similarities.
BLOCK = 1024


@dataclass
class Zero:
    """No demonstrations: what the language model knows by itself."""

    needs_vectors: ClassVar[bool] = False
    votes: ClassVar[bool] = False
    reads: ClassVar[bool] = False
    arranges: ClassVar[bool] = False
    balance: ClassVar[str | None] = None
    seed: int = 0

    def fit(self, pool: Pool, reader: Reader | None = None) -> Self:
        return self

    def select(self, texts: Sequence[str], vectors: np.ndarray | None, k: int) -> list[Selection]:
        return [Selection([]) for _ in texts]


@dataclass
class Random:
    """A plain draw: labels come as the pool has them, whatever the balance setting.

    The draw depends on the seed and the query's text only, so a message sees the same
    demonstrations alone, in a batch, or in another order.
    """

    needs_vectors: ClassVar[bool] = False
    votes: ClassVar[bool] = False
    reads: ClassVar[bool] = False
    arranges: ClassVar[bool] = False
    balance: ClassVar[str | None] = "none"
    seed: int = 0

    def fit(self, pool: Pool, reader: Reader | None = None) -> Self:
        self.pool = pool
        return self

    def select(self, texts: Sequence[str], vectors: np.ndarray | None, k: int) -> list[Selection]:
        found = []
        for text in texts:
            # Representatives only: a mass mailing is not more likely than any other message.
            order = generator(self.seed, text).permutation(self.pool.representatives)
            rows, _ = candidates(self.pool, text, order, k)
            found.append(Selection(rows))
        return found


@dataclass
class BalancedRandom(Random):
    """A random draw with the same number of each label."""

    balance: ClassVar[str | None] = "equal"


@dataclass
class TopK:
    """The most similar messages first (KATE, Liu et al. 2022); exact, ties go to the lower row."""

    needs_vectors: ClassVar[bool] = True
    votes: ClassVar[bool] = False
    reads: ClassVar[bool] = False
    arranges: ClassVar[bool] = False
    balance: ClassVar[str | None] = None
    seed: int = 0

    def fit(self, pool: Pool, reader: Reader | None = None) -> Self:
        self.pool = pool
        return self

    def select(self, texts: Sequence[str], vectors: np.ndarray | None, k: int) -> list[Selection]:
        assert vectors is not None, "top-k needs the queries' vectors"
        found = []
        for text, similarity in zip(texts, similarities(self.pool, vectors), strict=True):
            order = np.argsort(-similarity, kind="stable")
            rows, dropped = candidates(self.pool, text, order, k)
            found.append(Selection(rows, similarity[rows].tolist(), dropped=dropped))
        return found


@dataclass
class KNN(TopK):
    """The vote of the k most similar messages: the baseline that needs no language model."""

    votes: ClassVar[bool] = True
    balance: ClassVar[str | None] = "none"


def similarities(pool: Pool, vectors: np.ndarray) -> Iterator[np.ndarray]:
    """(N,) float32 cosines for each of (Q, d) queries, computed in blocks."""
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK] @ pool.vectors.T  # (B, d) (d, N) -> (B, N)
        # The last bits depend on the block's shape; rounding keeps ties ties.
        yield from block.round(6)
