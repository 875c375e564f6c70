"""Selectors that compare words: BM25, and its fusion with similarity."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from clfcore.errors import TuneshotError
from icl.pool.pool import Pool
from icl.selectors.base import Reader, Selection, Selector, candidates
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
class BM25(Selector):
    """Messages that share rare words with the query (Robertson and Zaragoza 2009); Okapi's form.

    A word in most messages has a negative weight in Okapi; it gets a quarter of the mean instead.

    Attributes:
        k1: how much a repeated word counts.
        b: how much a long message is held back, from 0 to 1.
    """

    seed: int = 0
    k1: float = 1.5
    b: float = 0.75

    def __post_init__(self) -> None:
        if self.k1 < 0:
            raise TuneshotError(f"k1 must be 0 or more, not {self.k1}")
        if not 0 <= self.b <= 1:
            raise TuneshotError(f"b must be from 0 to 1, not {self.b}")

    def fit(self, pool: Pool, reader: Reader | None = None) -> Self:
        self.pool = pool
        messages = [words(text) for text in pool.texts]
        self._columns: dict[str, int] = {}
        for word in (word for message in messages for word in message):
            self._columns.setdefault(word, len(self._columns))
        self._weights = self._okapi(self._count(messages)).T.tocsr()  # (V, N)
        return self

    def scores(self, texts: Sequence[str]) -> Iterator[np.ndarray]:
        """(N,) float64 scores of the pool's rows for each query; 0 where no word is shared."""
        for first in range(0, len(texts), QUERIES_PER_BLOCK):
            queries = self._count(
                [words(text) for text in texts[first : first + QUERIES_PER_BLOCK]]
            )
            found = queries @ self._weights  # (B, V) (V, N) -> (B, N), sparse
            for start, end in pairwise(found.indptr):
                score = np.zeros(len(self.pool))
                score[found.indices[start:end]] = found.data[start:end]
                yield score

    def select(self, texts: Sequence[str], vectors: np.ndarray | None, k: int) -> list[Selection]:
        found = []
        for text, score in zip(texts, self.scores(texts), strict=True):
            order = np.argsort(-score, kind="stable")
            rows, passed_over = candidates(self.pool, text, order, k)
            found.append(Selection(rows, scores=score[rows].tolist(), passed_over=passed_over))
        return found

    def _count(self, messages: Sequence[Sequence[str]]) -> "csr_array":
        """(M, V) float64: how often each known word occurs in each message."""
        from scipy.sparse import csr_array

        known = [[self._columns[w] for w in message if w in self._columns] for message in messages]
        columns = np.fromiter((column for row in known for column in row), np.int64)
        ends = np.cumsum([0, *map(len, known)])
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
class Hybrid(BM25):
    """Similarity and BM25 together, by reciprocal rank fusion (Cormack et al. 2009).

    A message scores 1 / (``rank_constant`` + rank) in each of the two rankings; in BM25's only if
    it shares words with the query.
    """

    needs_vectors: ClassVar[bool] = True
    rank_constant: int = 60

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank_constant < 0:
            raise TuneshotError(f"rank_constant must be 0 or more, not {self.rank_constant}")

    def select(self, texts: Sequence[str], vectors: np.ndarray | None, k: int) -> list[Selection]:
        assert vectors is not None, "the fusion needs the queries' vectors"
        selections = []
        for text, similarity, lexical in zip(
            texts, similarities(self.pool, vectors), self.scores(texts), strict=True
        ):
            fused = np.zeros(len(self.pool))
            for score, found in (
                (similarity, np.arange(len(fused))),
                (lexical, np.flatnonzero(lexical > 0)),
            ):
                ranking = found[np.argsort(-score[found], kind="stable")]
                fused[ranking] += 1 / (self.rank_constant + np.arange(1, len(ranking) + 1))
            order = np.argsort(-fused, kind="stable")
            rows, passed_over = candidates(self.pool, text, order, k)
            selections.append(
                Selection(rows, similarity[rows].tolist(), fused[rows].tolist(), passed_over)
            )
        return selections
