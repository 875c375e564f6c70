"""Selectors that compare words: BM25, and its fusion with similarity."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from clfcore.config import SHARE, at_least, setting
from icl.pool.pool import Pool
from icl.selectors.base import Reader, Selection, Selector
from icl.selectors.filters import NO_FILTERS, Filters
from icl.selectors.similar import similarities

if TYPE_CHECKING:
    from scipy.sparse import csr_array


# Queries per matrix product: bounds memory to 64 x N scores.
QUERIES_PER_BLOCK = 64

_WORD = re.compile(r"\w+|[^\w\s]")


def words(text: str) -> list[str]:
    """Runs of letters and digits, whatever their case, and single marks: "£" and "!" tell much."""
    return _WORD.findall(text.casefold())


@dataclass
class BM25(
    Selector,
    title="BM25",
    description="Messages that share rare words with yours",
    source="Robertson and Zaragoza 2009",
):
    """Messages that share rare words with the query (Robertson and Zaragoza 2009); Okapi's form.

    A word in most messages has a negative weight in Okapi; it gets a quarter of the mean instead.
    """

    k1: float = setting(1.5, "How much a repeated word counts.", bound=at_least(0))
    b: float = setting(0.75, "How much a long message is held back.", bound=SHARE)

    def fit(self, pool: Pool, reader: Reader | None = None, filters: Filters = NO_FILTERS) -> Self:
        messages = [words(text) for text in pool.texts]
        known = dict.fromkeys(word for message in messages for word in message)
        self._columns = {word: column for column, word in enumerate(known)}
        self._weights = self._okapi(self._count(messages)).T.tocsr()  # (V, N)
        return super().fit(pool, reader, filters)

    def scores(self, texts: Sequence[str]) -> Iterator[np.ndarray]:
        """(N,) float64 scores of the pool's rows for each query; 0 where no word is shared."""
        for first in range(0, len(texts), QUERIES_PER_BLOCK):
            block = [words(text) for text in texts[first : first + QUERIES_PER_BLOCK]]
            yield from (self._count(block) @ self._weights).toarray()  # (B, V) (V, N) -> (B, N)

    def select(self, texts: Sequence[str], vectors: np.ndarray, k: int) -> list[Selection]:
        return [
            self.walk(text, np.argsort(-score, kind="stable"), k, score=score)
            for text, score in zip(texts, self.scores(texts), strict=True)
        ]

    def _count(self, messages: Sequence[Sequence[str]]) -> "csr_array":
        """(M, V) float64: how often each known word occurs in each message."""
        from scipy.sparse import csr_array

        found = [[self._columns[w] for w in message if w in self._columns] for message in messages]
        columns = np.fromiter((column for row in found for column in row), np.int64)
        ends = np.cumsum([0, *map(len, found)])
        counts = csr_array(
            (np.ones(len(columns)), columns, ends), shape=(len(messages), len(self._columns))
        )
        counts.sum_duplicates()
        return counts

    def _okapi(self, counts: "csr_array") -> "csr_array":
        """(N, V) counts -> (N, V) weights."""
        lengths = counts.sum(axis=1)  # (N,)
        messages_with = np.bincount(counts.indices, minlength=counts.shape[1])  # (V,)
        idf = np.log(len(lengths) - messages_with + 0.5) - np.log(messages_with + 0.5)
        idf[idf < 0] = 0.25 * idf.mean() if len(idf) else 0
        row = np.repeat(np.arange(len(lengths)), np.diff(counts.indptr))  # of each count
        slow = self.k1 * (1 - self.b + self.b * lengths[row] / lengths.mean())
        counts.data *= idf[counts.indices] * (self.k1 + 1) / (counts.data + slow)
        return counts


@dataclass
class Hybrid(
    BM25,
    title="Hybrid",
    description="Similar in meaning and in words",
    source="reciprocal rank fusion, Cormack et al. 2009",
):
    """Similarity and BM25 together, by reciprocal rank fusion (Cormack et al. 2009).

    A message scores 1 / (``rank_constant`` + rank) in each of the two rankings; in BM25's only if
    it shares words with the query.
    """

    needs_vectors: ClassVar[bool] = True
    rank_constant: int = setting(60, "How little the first ranks stand out.", bound=at_least(0))

    def select(self, texts: Sequence[str], vectors: np.ndarray, k: int) -> list[Selection]:
        selections = []
        for text, similarity, lexical in zip(
            texts, similarities(self.pool, vectors), self.scores(texts), strict=True
        ):
            fused = np.zeros(len(self.pool))
            for score, rows in (
                (similarity, np.arange(len(fused))),
                (lexical, np.flatnonzero(lexical > 0)),
            ):
                ranking = rows[np.argsort(-score[rows], kind="stable")]
                fused[ranking] += 1 / (self.rank_constant + np.arange(1, len(ranking) + 1))
            order = np.argsort(-fused, kind="stable")
            selections.append(self.walk(text, order, k, similarity=similarity, score=fused))
        return selections
