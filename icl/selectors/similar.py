"""The simple selectors: none, at random, the most similar."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from clfcore.data.draw import generator
from icl.pool.index import build_index
from icl.pool.pool import Pool
from icl.selectors.base import Reader, Selection, Selector
from icl.selectors.filters import NO_FILTERS, Filters

# Queries per matrix product: bounds memory to 1024 x N similarities.
QUERIES_PER_BLOCK = 1024


@dataclass
class Zero(
    Selector,
    title="Zero-shot",
    description="No examples: what the language model knows by itself",
):
    """No demonstrations: what the language model knows by itself."""

    def select(self, texts: Sequence[str], vectors: np.ndarray, k: int) -> list[Selection]:
        return [Selection([]) for _ in texts]


@dataclass
class Random(
    Selector,
    title="Random",
    description="Any messages, whatever their label",
):
    """A plain draw: labels come as the pool has them, whatever the balance setting.

    The draw depends on the seed and the query's text only, so a message sees the same
    demonstrations alone, in a batch, or in another order.
    """

    balance: ClassVar[str | None] = "none"

    def select(self, texts: Sequence[str], vectors: np.ndarray, k: int) -> list[Selection]:
        # Representatives only: a mass mailing is not more likely than any other message.
        rows = self.pool.representatives
        return [self.walk(text, generator(self.seed, text).permutation(rows), k) for text in texts]


@dataclass
class BalancedRandom(
    Random,
    title="Balanced random",
    description="Any messages, as many spam as not spam",
):
    """A random draw with the same number of each label."""

    balance: ClassVar[str | None] = "equal"


@dataclass
class TopK(
    Selector,
    title="Top-k",
    description="The messages most similar to yours",
    source="KATE, Liu et al. 2022",
):
    """The most similar messages first (KATE, Liu et al. 2022); ties go to the lower row.

    Each label is searched by itself: the k-th nearest message of a rare label may be a thousand
    rows down the common ranking. Exact in pools of up to ``EXACT_ROWS`` messages.
    """

    needs_vectors: ClassVar[bool] = True

    def fit(self, pool: Pool, reader: Reader | None = None, filters: Filters = NO_FILTERS) -> Self:
        labels = np.array(pool.labels)
        self._sizes = Counter(pool.labels)
        self._indexes = [
            build_index(pool.vectors, np.flatnonzero(labels == name)) for name in self._sizes
        ]
        return super().fit(pool, reader, filters)

    def select(self, texts: Sequence[str], vectors: np.ndarray, k: int) -> list[Selection]:
        for text in texts:
            self.walk(text, (), k)  # refuses a k that no depth would satisfy
        done: dict[int, Selection] = {}
        waiting = list(range(len(texts)))
        depth = 2 * k + 8  # of each label: room for copies
        while waiting:
            rankings = self._rankings(vectors[waiting], depth)
            for query, ranking in zip(waiting, rankings, strict=True):
                selection, counts = self._walk(texts[query], vectors[query], ranking, k)
                if all(counts[name] == k or size <= depth for name, size in self._sizes.items()):
                    done[query] = selection
            waiting = [query for query in waiting if query not in done]
            depth *= 8
        return [done[query] for query in range(len(texts))]

    def _rankings(self, vectors: np.ndarray, depth: int) -> list[list[int]]:
        """For each query, the ``depth`` nearest rows of every label in one order."""
        parts = [index.search(vectors, depth) for index in self._indexes]
        rows, cosines = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
        order = np.lexsort((rows, -cosines))  # (Q, labels x depth), each query by itself
        return list(np.take_along_axis(rows, order, axis=1).tolist())

    def _cosines(self, vector: np.ndarray, rows: list[int]) -> list[float]:
        """To some rows, from (d,). An index's last digit depends on what else is searched for."""
        found = self.pool.vectors[rows].astype(np.float64)  # (n, d)
        return list((found * vector.astype(np.float64)).sum(axis=1).round(6).tolist())

    def _walk(
        self, text: str, vector: np.ndarray, ranking: list[int], k: int
    ) -> tuple[Selection, Counter[str]]:
        """The candidates in a ranking, and how many there are of each label."""
        labels = self.pool.labels
        found = self.walk(text, ranking, k)
        rows = found.rows
        counts = Counter(labels[row] for row in rows)
        place = {row: place for place, row in enumerate(ranking)}
        last = {labels[row]: place[row] for row in rows if counts[labels[row]] == k}
        # Copies beyond the last candidate of their label did not rank high enough to be named.
        high = [
            p for p in found.passed_over if place[p.row] < last.get(labels[p.row], len(ranking))
        ]
        return Selection(rows, self._cosines(vector, rows), passed_over=tuple(high)), counts


@dataclass
class KNN(
    TopK,
    title="kNN vote",
    description="The most similar messages vote; no language model",
):
    """The vote of the k most similar messages: the baseline that needs no language model."""

    votes: ClassVar[bool] = True
    asks_lm: ClassVar[bool] = False
    balance: ClassVar[str | None] = "none"


def similarities(pool: Pool, vectors: np.ndarray) -> Iterator[np.ndarray]:
    """(N,) float32 cosines for each of (Q, d) queries, computed in blocks."""
    for start in range(0, len(vectors), QUERIES_PER_BLOCK):
        block = (
            vectors[start : start + QUERIES_PER_BLOCK] @ pool.vectors.T
        )  # (B, d) (d, N) -> (B, N)
        # The last bits depend on the block's shape; rounding keeps ties ties.
        yield from block.round(6)
