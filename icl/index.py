"""The nearest vectors: an exact search, and an approximate one for pools too large for it.

Similarity is the inner product of rows of length 1, rounded to millionths: the bits beyond depend
on the shape of the matrix product. Equal similarities rank by row, the lower first.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

# Similarities held at once: 64 MB, whatever the pool's size.
BLOCK = 1 << 24


class Index(Protocol):
    """Vectors that can be searched."""

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest rows to each query, or all of them if there are fewer.

        Args:
            vectors: (Q, d) float32, rows of length 1.
            k: at least 1.

        Returns:
            (Q, k) int64 rows, best first, and (Q, k) float32 similarities.
        """
        ...


class ExactIndex:
    """Every query against every row."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        k = min(k, len(self.vectors))
        rows = np.empty((len(vectors), k), np.int64)
        similarities = np.empty((len(vectors), k), np.float32)
        for part in _blocks(len(vectors), len(self.vectors)):
            rows[part], similarities[part] = _best(vectors[part] @ self.vectors.T, k)
        return rows, similarities


def build_index(vectors: np.ndarray) -> Index:
    """An index of ``vectors`` ((N, d) float32, rows of length 1)."""
    return ExactIndex(vectors)


def knn_graph(vectors: np.ndarray, k: int) -> np.ndarray:
    """The k nearest other rows of every row.

    Args:
        vectors: (N, d) float32, rows of length 1.
        k: neighbours; N - 1 if that is fewer.

    Returns:
        (N, k) int32, nearest first. A row is never its own neighbour; a copy of it may be.
    """
    k = min(k, len(vectors) - 1)
    graph = np.empty((len(vectors), k), np.int32)
    for part in _blocks(len(vectors), len(vectors)):
        similarity = vectors[part] @ vectors.T  # (B, d) (d, N) -> (B, N)
        own = np.arange(len(vectors))[part]
        similarity[own - part.start, own] = -np.inf
        graph[part] = _best(similarity, k)[0]
    return graph


def _blocks(queries: int, rows: int) -> Iterator[slice]:
    """Consecutive slices of the queries, as many at once as ``BLOCK`` allows."""
    step = max(1, BLOCK // rows)
    return (slice(start, min(start + step, queries)) for start in range(0, queries, step))


def _best(similarity: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest of each row of (B, N), ties to the lower column: columns, values."""
    count, size = similarity.shape
    if k == 0:
        return np.empty((count, 0), np.int64), np.empty((count, 0), np.float32)
    kth = np.partition(similarity, size - k, axis=1)[:, size - k, None]
    # Whatever could tie with the k-th after rounding competes too.
    query, row = np.nonzero(similarity >= kth - 2e-6)
    millionths = np.rint(similarity[query, row] * np.float32(1e6)).astype(np.int64)
    # One number per competitor, ordered by query, then similarity, then row.
    keys = np.sort((query * 4_000_000 - millionths) * size + row)
    first = np.searchsorted(query, np.arange(count))
    keys = keys[first[:, None] + np.arange(k)]  # (B, k)
    distance, rows = np.divmod(keys, size)
    millionths = np.arange(count)[:, None] * 4_000_000 - distance
    return rows, millionths.astype(np.float32) / np.float32(1e6)
