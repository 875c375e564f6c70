"""Which messages of the pool may be shown for a query.

A selector ranks; how many of each label are kept (``BALANCES``) and in which order they are
shown (``ARRANGEMENTS``) are separate stages, in ``prompt.py``. Every selector keeps two promises:
no two candidates are copies of each other, and none is a copy of the query. (Without them, 13 %
of the messages in the SMS corpus would be shown their own text, with its label.)
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import numpy as np

from clfcore.errors import TuneshotError
from icl.pool import Pool

# Queries per matrix product: bounds memory to 1024 x N similarities.
BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Selection:
    """Candidates for one query, best first.

    At most k of each label, which is enough for every balance of k demonstrations.

    Attributes:
        rows: rows of the pool.
        similarities: cosine to the query, one per row; ``None`` where the draw ignored it.
    """

    rows: list[int]
    similarities: list[float] | None = None


class Selector(Protocol):
    """Chooses candidates from a pool.

    Attributes:
        needs_vectors: whether ``select`` reads the queries' vectors.
        votes: whether the candidates' labels are the answer, without a language model.
        balance: the only ``BALANCES`` entry that makes sense with it; ``None`` = the user's choice.
    """

    needs_vectors: ClassVar[bool]
    votes: ClassVar[bool]
    balance: ClassVar[str | None]

    def __init__(self, seed: int = 0) -> None: ...

    def fit(self, pool: Pool) -> Self:
        """Prepares for ``pool``; returns itself."""
        ...

    def select(self, texts: Sequence[str], vectors: np.ndarray | None, k: int) -> list[Selection]:
        """Candidates for each query; the answer for one never depends on the others.

        Args:
            texts: Q queries.
            vectors: (Q, d) float32, rows of length 1; ``None`` where ``needs_vectors`` is false.
            k: demonstrations wanted, at least 0.

        Raises:
            TuneshotError: ``k`` is negative, or larger than what the pool can offer a query.
        """
        ...


class Zero:
    """No demonstrations: what the language model knows by itself."""

    needs_vectors: ClassVar[bool] = False
    votes: ClassVar[bool] = False
    balance: ClassVar[str | None] = None

    def __init__(self, seed: int = 0) -> None:
        pass

    def fit(self, pool: Pool) -> Self:
        return self

    def select(self, texts: Sequence[str], vectors: np.ndarray | None, k: int) -> list[Selection]:
        return [Selection([]) for _ in texts]


class Random:
    """A plain draw: labels come as the pool has them, whatever the balance setting.

    The draw depends on the seed and the query's text only, so a message sees the same
    demonstrations alone, in a batch, or in another order.
    """

    needs_vectors: ClassVar[bool] = False
    votes: ClassVar[bool] = False
    balance: ClassVar[str | None] = "none"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, pool: Pool) -> Self:
        self.pool = pool
        return self

    def select(self, texts: Sequence[str], vectors: np.ndarray | None, k: int) -> list[Selection]:
        # Representatives only: a mass mailing is not more likely than any other message.
        return [
            Selection(_candidates(self.pool, text, generator(self.seed, text).permutation(rows), k))
            for rows in [self.pool.representatives]
            for text in texts
        ]


class BalancedRandom(Random):
    """A random draw with the same number of each label."""

    balance: ClassVar[str | None] = "equal"


class TopK:
    """The most similar messages first (KATE, Liu et al. 2022); exact, ties go to the lower row."""

    needs_vectors: ClassVar[bool] = True
    votes: ClassVar[bool] = False
    balance: ClassVar[str | None] = None

    def __init__(self, seed: int = 0) -> None:
        pass

    def fit(self, pool: Pool) -> Self:
        self.pool = pool
        return self

    def select(self, texts: Sequence[str], vectors: np.ndarray | None, k: int) -> list[Selection]:
        assert vectors is not None, "top-k needs the queries' vectors"
        found = []
        for text, similarity in zip(texts, self._similarities(vectors), strict=True):
            order = np.argsort(-similarity, kind="stable")
            rows = _candidates(self.pool, text, order, k)
            found.append(Selection(rows, similarity[rows].tolist()))
        return found

    def _similarities(self, vectors: np.ndarray) -> Iterator[np.ndarray]:
        """(N,) float32 cosines for each query, computed in blocks."""
        for start in range(0, len(vectors), BLOCK):
            block = vectors[start : start + BLOCK] @ self.pool.vectors.T  # (B, d) (d, N) -> (B, N)
            # The last bits depend on the block's shape; rounding keeps ties ties.
            yield from block.round(6)


class KNN(TopK):
    """The vote of the k most similar messages: the baseline that needs no language model."""

    votes: ClassVar[bool] = True
    balance: ClassVar[str | None] = "none"


SELECTORS: dict[str, type[Selector]] = {
    "zero": Zero,
    "random": Random,
    "balanced_random": BalancedRandom,
    "topk": TopK,
    "knn": KNN,
}


def generator(seed: int, text: str) -> np.random.Generator:
    """Random numbers that belong to one message."""
    digest = hashlib.sha256(f"{seed}\0{text}".encode("utf-8", "surrogatepass")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def _candidates(pool: Pool, query: str, order: Iterable[int], k: int) -> list[int]:
    """Rows in the given order of preference: one per group, none of the query's, k per label."""
    own = pool.group_of(query)
    usable = len(pool.representatives) - (own is not None)
    if not 0 <= k <= usable:
        raise TuneshotError(
            f"cannot show k={k} examples: the pool has {usable} different messages besides this "
            f"one; choose k from 0 to {usable}"
        )
    wanted = dict.fromkeys(pool.label_names, k)
    seen = {own}
    rows: list[int] = []
    for row in order:
        label, group = pool.labels[row], int(pool.groups[row])
        if group not in seen and wanted[label]:
            seen.add(group)
            wanted[label] -= 1
            rows.append(int(row))
            if not any(wanted.values()):
                break
    return rows
