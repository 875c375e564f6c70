"""Choose a part of the pool first, then the most similar of that part for each query."""

from collections.abc import Sequence

import numpy as np

from clfcore.errors import TuneshotError
from icl.pool import Pool
from icl.selection import Selection, candidates


def within(
    pool: Pool,
    chosen_rows: Sequence[int] | np.ndarray,
    texts: Sequence[str],
    vectors: np.ndarray,
    k: int,
) -> list[Selection]:
    """Top-k among the chosen rows, by cosine; ties go to the lower row.

    Args:
        pool: the messages.
        chosen_rows: (M,) rows that may be shown, in any order.
        texts: Q queries.
        vectors: (Q, d) float32, rows of length 1.
        k: demonstrations wanted.

    Raises:
        TuneshotError: ``k`` is negative, or more than the chosen rows can offer a query.
    """
    chosen = np.unique(np.asarray(chosen_rows, np.int64))
    groups = set(pool.groups[chosen].tolist())
    is_part = len(groups) < len(pool.representatives)
    cosines = (vectors @ pool.vectors[chosen].T).round(6)  # (Q, d) (d, M) -> (Q, M); ties stay ties
    found = []
    for text, cosine in zip(texts, cosines, strict=True):
        usable = len(groups - {pool.group_of(text)})
        if k > usable and is_part:
            raise TuneshotError(
                f"cannot show k={k} examples: the chosen part of the pool has {usable} different "
                f"messages besides this one; choose k from 0 to {usable}, or a larger annotate"
            )
        order = chosen[np.argsort(-cosine, kind="stable")]
        rows, dropped = candidates(pool, text, order, k, usable)
        found.append(
            Selection(rows, cosine[np.searchsorted(chosen, rows)].tolist(), dropped=dropped)
        )
    return found
