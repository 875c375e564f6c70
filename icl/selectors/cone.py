"""ConE: the examples that make the message itself least surprising (Peng et al. 2024)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from clfcore.errors import TuneshotError
from icl.pool.pool import Pool
from icl.selectors.base import Reader, Selection
from icl.selectors.diverse import Reranker
from icl.selectors.filters import NO_FILTERS, Filters


@dataclass
class ConE(
    Reranker,
    title="ConE",
    description="Those after which your message is least surprising",
    source="Peng et al. 2024",
):
    """The candidates with the smallest conditional entropy of the query, each read alone.

    Of the nearest messages each is the only demonstration of a prompt; its score is minus the code
    length of the query after it, in nats, and the best k are shown (Revisiting Demonstration
    Selection Strategies in In-Context Learning, arXiv 2401.12087). All candidates of a query code
    the same text, so its length needs no correction. The authors' program sums one token late:
    without the query's first, and with the first of some label. Theirs are ``balance="none"`` and
    ``order="as_given"``, the best first. Messages that are not candidates follow by similarity.
    """

    def fit(self, pool: Pool, reader: Reader | None = None, filters: Filters = NO_FILTERS) -> Self:
        if reader is None:
            raise TuneshotError(
                "cone asks a language model that gives log-probabilities how surprising a message "
                "is; give one, or choose topk"
            )
        self.reader = reader
        return super().fit(pool, reader, filters)

    def select(self, texts: Sequence[str], vectors: np.ndarray, k: int) -> list[Selection]:
        if k == 0:  # nothing to ask
            return [self.walk(text, (), k) for text in texts]
        return super().select(texts, vectors, k)

    def rank(
        self, text: str, near: Sequence[int], similarity: np.ndarray
    ) -> list[tuple[int, float]]:
        fits = [len(self.reader.fitting(text, [row], [row])) == 1 for row in near]
        scores = np.full(len(near), np.nan)  # of what has no room even alone
        alone = [[row] for row, has_room in zip(near, fits, strict=True) if has_room]
        scores[fits] = [-length for length in self.reader.code_lengths(text, alone)]
        order = np.argsort(-scores, kind="stable")  # a tie: the more similar one
        return [(position, float(scores[position])) for position in order.tolist()]

    def scores_of_others(self, similarity: np.ndarray) -> np.ndarray:
        return np.full_like(similarity, np.nan)  # they are not read
