"""Selectors that avoid saying the same thing twice.

Two kinds. MMR and DPP re-rank the messages most similar to a query, one query at a time. KCenter
and Facility choose a part of the pool that stands for all of it, once; each query then gets the
most similar messages of that part.
"""

import heapq
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from clfcore.config import POSITIVE, SHARE, at_least, setting
from icl.pool.index import knn_graph
from icl.pool.pool import Pool
from icl.selectors.base import Reader, Selection, Selector
from icl.selectors.filters import NO_FILTERS, Filters
from icl.selectors.similar import similarities

if TYPE_CHECKING:
    from scipy.sparse import csr_array


# Below this, what a message adds is rounding noise.
MIN_VARIANCE = 1e-10

# Facility location compares all pairs in pools up to this size (256 MB) ...
DENSE_ROWS = 8_000
# ... and in larger ones every message with its nearest only.
SPARSE_NEIGHBOURS = 100


# --- of the messages most similar to a query, those that differ from each other ------------------


@dataclass
class Reranker(Selector):
    """The messages most similar to the query in a new order, then all others by similarity."""

    needs_vectors: ClassVar[bool] = True
    candidates: int = setting(30, "How many are put into a new order.", bound=at_least(1))

    @abstractmethod
    def rank(
        self, text: str, near: Sequence[int], similarity: np.ndarray
    ) -> list[tuple[int, float]]:
        """All candidates in a new order: position, and the score that put it there.

        Args:
            text: the query.
            near: C rows of the pool, the most similar first.
            similarity: (C,) float64, their cosines to the query.
        """

    @abstractmethod
    def scores_of_others(self, similarity: np.ndarray) -> np.ndarray:
        """The scores of messages that are not candidates; not above any candidate's, or NaN.

        (N,) float64 from (N,) float64, their cosines to the query.
        """

    def select(self, texts: Sequence[str], vectors: np.ndarray, k: int) -> list[Selection]:
        return [
            self._select(text, similarity.astype(np.float64), k)
            for text, similarity in zip(texts, similarities(self.pool, vectors), strict=True)
        ]

    def _select(self, text: str, similarity: np.ndarray, k: int) -> Selection:
        """``similarity``: (N,) float64, cosines of the pool's rows to the query."""
        order = np.argsort(-similarity, kind="stable")
        near, end = self._nearest(text, order)
        ranked = self.rank(text, near, similarity[near])

        # Copies follow their message, so that they are reported; those of the query are first.
        groups = self.pool.groups
        place = {groups[near[position]]: i for i, (position, _) in enumerate(ranked)}
        head = sorted(order[:end], key=lambda row: place.get(groups[row], -1))
        new_order = chain(head, order[end:])
        score = self.scores_of_others(similarity)
        score[[near[position] for position, _ in ranked]] = [value for _, value in ranked]
        return self.walk(text, new_order, k, similarity=similarity, score=score)

    def _nearest(self, text: str, order: np.ndarray) -> tuple[list[int], int]:
        """The first different messages of ``order``, none the query's, and where they end."""
        own = self.pool.group_of(text)
        nearest: dict[int, int] = {}  # group -> row
        for end, row in enumerate(order.tolist()):
            if len(nearest) == self.candidates:
                return list(nearest.values()), end
            group = int(self.pool.groups[row])
            if group != own and not self.filters.too_long(self.pool.texts[row]):
                nearest.setdefault(group, row)
        return list(nearest.values()), len(order)


@dataclass
class DiverseReranker(Reranker):
    """A new order by how similar the candidates are to the query and to each other."""

    @abstractmethod
    def rerank(self, similarity: np.ndarray, alike: np.ndarray) -> list[tuple[int, float]]:
        """As ``rank``, from (C,) float64 cosines to the query and (C, C) to each other."""

    def rank(
        self, text: str, near: Sequence[int], similarity: np.ndarray
    ) -> list[tuple[int, float]]:
        points = self.pool.vectors[near].astype(np.float64)
        alike = (points @ points.T).round(12)  # (C, C); the last bits must not break ties
        return self.rerank(similarity, alike)


@dataclass
class MMR(
    DiverseReranker,
    title="MMR",
    description="Similar to yours, and not all alike",
    source="Carbonell and Goldstein 1998",
):
    """Maximal marginal relevance (Carbonell and Goldstein 1998).

    Next comes the candidate of largest ``relevance`` · (cosine to the query) − (1 − ``relevance``)
    · (largest cosine to those before it).
    """

    relevance: float = setting(0.5, "Weight of the similarity to the query.", bound=SHARE)

    def rerank(self, similarity: np.ndarray, alike: np.ndarray) -> list[tuple[int, float]]:
        wanted = self.relevance * similarity
        redundancy = np.zeros(len(similarity))  # of the first: nothing was said before it
        ranked: list[tuple[int, float]] = []
        for step in range(len(similarity)):
            score = wanted - (1 - self.relevance) * redundancy  # (C,)
            score[[position for position, _ in ranked]] = -np.inf
            best = int(score.argmax())  # a tie: the more similar one
            ranked.append((best, float(score[best])))
            redundancy = alike[best] if step == 0 else np.maximum(redundancy, alike[best])
        return ranked

    def scores_of_others(self, similarity: np.ndarray) -> np.ndarray:
        # As if all had been said before.
        return self.relevance * similarity - (1 - self.relevance)


@dataclass
class DPP(
    DiverseReranker,
    title="DPP",
    description="A varied set of similar messages",
    source="CEIL, Ye et al. 2023",
):
    """The most probable set of a determinantal point process, greedily.

    The kernel is CEIL's (Ye et al. 2023): similarity to each other, weighted by similarity to the
    query.
    """

    scale: float = setting(0.1, "A smaller one weighs the query more.", bound=POSITIVE)

    def rerank(self, similarity: np.ndarray, alike: np.ndarray) -> list[tuple[int, float]]:
        ranked = greedy_map(self.kernel(similarity, alike))
        others = set(range(len(similarity))) - {position for position, _ in ranked}
        return ranked + [(position, 0.0) for position in sorted(others)]

    def kernel(self, similarity: np.ndarray, alike: np.ndarray) -> np.ndarray:
        """(C, C) float64, from the arguments of ``rerank``."""
        relevance = (similarity + 1) / 2
        # (C,), at most 1
        weight = np.exp((relevance - relevance.max(initial=0)) / (2 * self.scale))
        return weight[:, None] * (alike + 1) / 2 * weight

    def scores_of_others(self, similarity: np.ndarray) -> np.ndarray:
        return np.zeros_like(similarity)


def greedy_map(kernel: np.ndarray) -> list[tuple[int, float]]:
    """The set of large determinant, one item at a time (Chen, Zhang and Zhou 2018).

    Stops when no item adds anything, so no item comes twice.

    Args:
        kernel: (C, C) float64, positive semi-definite.

    Returns:
        Each item and the factor by which it multiplies the determinant.
    """
    variance = kernel.diagonal().copy()  # of each item, given those taken
    factor = np.zeros_like(kernel)  # row t: of the t-th taken item, in the Cholesky factor
    taken: list[tuple[int, float]] = []
    for step in range(len(kernel)):
        best = int(variance.round(12).argmax())  # a tie: the first
        if variance[best] < MIN_VARIANCE:
            break
        taken.append((best, float(variance[best])))
        so_far = factor[:step, best] @ factor[:step]  # (t,) (t, C) -> (C,)
        factor[step] = (kernel[best] - so_far) / np.sqrt(variance[best])
        variance -= factor[step] ** 2
        variance[best] = -np.inf
    return taken


# --- a part of the pool that stands for all of it ------------------------------------------------


@dataclass
class Representative(Selector):
    """Chooses ``annotate`` messages of the pool, then the most similar of those for each query.

    Attributes:
        picks: the chosen rows in order of choice, after ``fit``.
    """

    needs_vectors: ClassVar[bool] = True
    annotate: int = setting(100, "How many messages to choose.", bound=at_least(1))

    def fit(self, pool: Pool, reader: Reader | None = None, filters: Filters = NO_FILTERS) -> Self:
        super().fit(pool, reader, filters)
        rows = self.qualifying(pool.representatives)
        self.picks = self.choose(pool, rows, min(self.annotate, len(rows)))
        return self

    @abstractmethod
    def choose(self, pool: Pool, rows: np.ndarray, count: int) -> list[int]:
        """``count`` of ``rows`` of the pool, no two of which are copies: (R,) int64."""

    def select(self, texts: Sequence[str], vectors: np.ndarray, k: int) -> list[Selection]:
        return self.top_k_among(self.picks, texts, vectors, k)


@dataclass
class KCenter(
    Representative,
    title="k-center + top-k",
    description="From 100 that leave no message far away",
    source="Gonzalez 1985",
):
    """Farthest first (Gonzalez 1985): no message is far from a chosen one.

    Begins with the most central message; then always the one least similar to all chosen so far.
    """

    def choose(self, pool: Pool, rows: np.ndarray, count: int) -> list[int]:
        vectors = pool.vectors[rows]  # (R, d)
        pick = int((vectors @ vectors.mean(axis=0)).round(6).argmax())
        picks = [pick]
        nearest = np.full(len(vectors), -np.inf, np.float32)  # largest cosine to a chosen one
        while len(picks) < count:
            nearest = np.maximum(nearest, (vectors @ vectors[pick]).round(6))
            nearest[pick] = np.inf
            pick = int(nearest.argmin())
            picks.append(pick)
        return rows[picks].tolist()


@dataclass
class Facility(
    Representative,
    title="Facility + top-k",
    description="From the 100 that cover the pool best",
    source="Nemhauser et al. 1978",
):
    """Greedy facility location: every message is similar to a chosen one.

    Maximises the sum, over all messages of the pool, of the largest cosine to a chosen one; a
    negative cosine counts as 0. The greedy choice is within 1 − 1/e of the best (Nemhauser et al.
    1978).
    """

    def choose(self, pool: Pool, rows: np.ndarray, count: int) -> list[int]:
        if len(pool) <= DENSE_ROWS:
            cosines = pool.vectors[rows] @ pool.vectors.T  # (R, d) (d, N) -> (R, N)
            np.maximum(cosines, 0, out=cosines)
            picks = lazy_greedy(
                cosines.sum(axis=1), lambda i: (slice(None), cosines[i]), len(pool), count
            )
        else:
            graph = covering_graph(pool.vectors, SPARSE_NEIGHBOURS)[rows]  # (R, N)
            parts = [slice(*ends) for ends in pairwise(graph.indptr)]
            picks = lazy_greedy(
                graph.sum(axis=1),
                lambda i: (graph.indices[parts[i]], graph.data[parts[i]]),
                len(pool),
                count,
            )
        return rows[picks].tolist()


def covering_graph(vectors: np.ndarray, neighbours: int) -> "csr_array":
    """Which messages each message can stand for: itself, and those it is a neighbour of.

    Args:
        vectors: (N, d) float32, rows of length 1.
        neighbours: how many nearest messages may stand for one.

    Returns:
        (N, N) float32: in row u and column v their cosine, where u is a neighbour of v.
    """
    from scipy.sparse import csr_array, eye_array

    graph = knn_graph(vectors, neighbours)  # (N, k)
    cosines = [vectors[near] @ vector for near, vector in zip(graph, vectors, strict=True)]
    size, k = graph.shape
    by_voter = csr_array(
        (np.maximum(np.concatenate(cosines), 0), graph.ravel(), np.arange(size + 1) * k),
        shape=(size, size),
    )
    return (by_voter.T + eye_array(size, dtype=np.float32)).tocsr()


def lazy_greedy(
    gains: np.ndarray,
    covers: Callable[[int], tuple[slice | np.ndarray, np.ndarray]],
    size: int,
    count: int,
) -> list[int]:
    """Maximises the sum of the best cover of each point, one item at a time (Minoux 1978).

    What an item adds can only shrink as others are taken. So an old gain is an upper bound, and an
    item whose new gain still beats all old ones is the best: few gains are ever computed anew.

    Args:
        gains: (C,) what each item adds to nothing.
        covers: the points an item covers and how well, at least 0.
        size: number of points.
        count: items to take, at most C.

    Returns:
        The items in order of choice; a tie goes to the lower.
    """
    best = np.zeros(size, np.float32)  # cover of each point by the items taken
    heap = [(-gain, item) for item, gain in enumerate(gains.tolist())]
    heapq.heapify(heap)
    taken: list[int] = []
    while len(taken) < count:
        _, item = heapq.heappop(heap)
        points, cover = covers(item)
        entry = (-float(np.maximum(cover - best[points], 0).sum()), item)
        if heap and heap[0] < entry:
            heapq.heappush(heap, entry)
        else:
            taken.append(item)
            best[points] = np.maximum(best[points], cover)
    return taken
