"""The nearest vectors: an exact search, and an approximate one for pools too large for it.

Similarity is the inner product of rows of length 1, rounded to millionths: the bits beyond depend
on the shape of the matrix product. Equal similarities rank by row, the lower first.
"""

from collections.abc import Iterator

import numpy as np

from clfcore.errors import missing_extra_explained

# The largest pools searched exactly: 6 ms for one query, 11 s for the whole graph, on one thread.
EXACT_ROWS = 100_000
EXACT_GRAPH_ROWS = 30_000
# The largest part of a larger pool searched exactly: that takes a copy of its vectors.
EXACT_PART_ROWS = 10_000
# Similarities held at once: 16 MB, whatever the pool's size.
MAX_SIMILARITIES = 1 << 22
# Vectors copied at once: 6 MB at 384 dimensions, which a cache holds.
ROWS_PER_COPY = 1 << 12


def build_index(
    vectors: np.ndarray, rows: np.ndarray | None = None
) -> "ExactIndex | ApproximateIndex":
    """An index: exact for N up to ``EXACT_ROWS`` or few ``rows``, else approximate.

    Args:
        vectors: (N, d) float32, rows of length 1.
        rows: the only rows to be found, ascending int64; ``None`` = all.

    Raises:
        TuneshotError: the approximate search is not installed.
    """
    rows = np.arange(len(vectors)) if rows is None else rows
    few = len(vectors) <= EXACT_ROWS or len(rows) <= EXACT_PART_ROWS
    return ExactIndex(vectors, rows) if few else ApproximateIndex(vectors, rows)


def knn_graph(vectors: np.ndarray, k: int) -> np.ndarray:
    """The k nearest other rows of every row: exact up to ``EXACT_GRAPH_ROWS``.

    Args:
        vectors: (N, d) float32, rows of length 1.
        k: neighbours; N - 1 if that is fewer.

    Returns:
        (N, k) int32, nearest first. A row is never its own neighbour; a copy of it may be.

    Raises:
        TuneshotError: the approximate search is not installed.
    """
    size = len(vectors)
    k = min(k, size - 1)
    build = ExactIndex if size <= EXACT_GRAPH_ROWS else ApproximateIndex
    index = build(vectors, np.arange(size))
    graph = np.empty((size, k), np.int32)
    for part in _parts(size, MAX_SIMILARITIES // (k + 1)):
        found, _ = index.search(vectors[part], k + 1)
        other = found != np.arange(size)[part, None]
        # Where k + 1 copies come before the row itself, the last of them goes instead.
        other[other.all(axis=1), -1] = False
        graph[part] = found[other].reshape(len(found), k)
    return graph


class ExactIndex:
    """Every query against every row."""

    def __init__(self, vectors: np.ndarray, rows: np.ndarray) -> None:
        self.rows = rows
        self.vectors = vectors if len(rows) == len(vectors) else vectors[rows]

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest rows to each query, or all of them if there are fewer.

        Args:
            vectors: (Q, d) float32, rows of length 1.
            k: at least 1.

        Returns:
            (Q, k) int64 rows, best first, and (Q, k) float32 similarities.
        """
        size = len(self.rows)
        k = min(k, size)
        found = np.empty((len(vectors), k), np.int64)
        similarities = np.empty((len(vectors), k), np.float32)
        for part in _parts(len(vectors), MAX_SIMILARITIES // size):
            block = vectors[part] @ self.vectors.T  # (B, d) (d, N) -> (B, N)
            kth = np.partition(block, size - k, axis=1)[:, size - k, None]
            # Whatever may tie with the k-th after rounding competes too.
            query, column = np.nonzero(block >= kth - 2e-6)
            best, similarities[part] = _best(query, column, block[query, column], k)
            found[part] = self.rows[best]
        return found, similarities


class ApproximateIndex:
    """Looks into the nearest tenth of the pool's clusters, then compares exactly.

    An inverted file over vectors of one byte a number (FAISS, Douze et al. 2024): a quarter of
    the vectors' memory, and unlike a graph index the same on every build.
    """

    def __init__(self, vectors: np.ndarray, rows: np.ndarray) -> None:
        with missing_extra_explained(
            f"a pool too large to compare one by one ({len(rows):,} messages)"
        ):
            import faiss
        self.vectors, self.rows = vectors, rows
        lists = round(2 * len(rows) ** 0.5)
        width = vectors.shape[1]
        self._file = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(width),
            width,
            lists,
            faiss.ScalarQuantizer.QT_8bit,
            faiss.METRIC_INNER_PRODUCT,
        )
        self._file.nprobe = lists // 10 + 1
        self._file.cp.niter, self._file.cp.max_points_per_centroid = 10, 64
        sample = np.random.default_rng(0).choice(rows, min(len(rows), 64 * lists), replace=False)
        self._file.train(vectors[np.sort(sample)])
        self._reserve()
        for part in _parts(len(rows), ROWS_PER_COPY):
            self._file.add_with_ids(vectors[rows[part]], rows[part])

    def _reserve(self) -> None:
        """Makes the lists as long as they will be: growing, they would take half as much again."""
        nearest, lists = self._file.quantizer, self._file.invlists
        assert nearest is not None
        assert lists is not None
        sizes = np.zeros(lists.nlist, np.int64)
        for part in _parts(len(self.rows), ROWS_PER_COPY):
            home = nearest.assign(self.vectors[self.rows[part]], 1)  # (B, d) -> (B, 1)
            sizes += np.bincount(home.ravel(), minlength=len(sizes))
        for number, size in enumerate(sizes.tolist()):
            lists.resize(number, size)
            lists.resize(number, 0)

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As ``ExactIndex.search``."""
        size = len(self.rows)
        k = min(k, size)
        close = min(k + max(24, k // 4), size)  # more than k: a byte is not exact
        _, near = self._file.search(vectors, close)  # (Q, close), -1 where there are no more
        short = near[:, k - 1] < 0
        if short.any():
            import faiss

            everywhere = faiss.SearchParametersIVF()  # not kept: it cannot be pickled
            everywhere.nprobe = self._file.nlist
            _, near[short] = self._file.search(vectors[short], close, params=everywhere)
        found = np.empty((len(vectors), k), np.int64)
        similarities = np.empty((len(vectors), k), np.float32)
        for part in _parts(len(vectors), ROWS_PER_COPY // close):
            exact = np.einsum("bd,bcd->bc", vectors[part], self.vectors[near[part]])
            query, place = np.nonzero(near[part] >= 0)
            rows = near[part][query, place]
            found[part], similarities[part] = _best(query, rows, exact[query, place], k)
        return found, similarities


def _parts(count: int, step: int) -> Iterator[slice]:
    """Consecutive slices of ``range(count)``."""
    step = max(1, step)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def _best(
    query: np.ndarray, row: np.ndarray, similarity: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of each query's competitors, ties to the lower row.

    Args:
        query: (n,) 0 to B - 1, ascending, at least k of each.
        row: (n,) int64.
        similarity: (n,) float32.
        k: at least 1.

    Returns:
        (B, k) int64 rows, best first, and (B, k) float32 similarities, rounded.
    """
    millionths = np.rint(similarity * np.float32(1e6)).astype(np.int64)
    # One number a competitor, which sorts by query, then falling similarity, then row.
    size = int(row.max()) + 1
    keys = np.sort((query * 4_000_000 - millionths) * size + row)
    queries = np.arange(query[-1] + 1)
    first = np.searchsorted(query, queries)
    keys = keys[first[:, None] + np.arange(k)]  # (n,) -> (B, k)
    distance, rows = np.divmod(keys, size)
    millionths = queries[:, None] * 4_000_000 - distance
    return rows, millionths.astype(np.float32) / np.float32(1e6)
