"""kNN prompting: the messages after which a language model expects the same words vote."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from clfcore.config import at_least, setting
from clfcore.errors import TuneshotError
from icl.pool.pool import Pool
from icl.selectors.base import Reader, Selection, Selector
from icl.selectors.filters import NO_FILTERS, Filters

# A distribution over a vocabulary of 49,152 takes 200 kB. The likeliest tokens hold nearly all of
# its mass; the others count together, as one.
TOKENS_KEPT = 1024
ANCHORS_WHOLE = 64  # that choose which tokens these are
MOST_SHOWN = 64  # examples of the prefix: with more labels, some have none


@dataclass
class KNNPrompting(
    Selector,
    title="kNN prompting",
    description="The messages after which the language model expects the same words vote",
    source="Xu et al. 2023",
):
    """Every message is read after the same few examples; the nearest by KL divergence vote.

    In kNN Prompting (arXiv 2303.13824), labelled messages beyond what a prompt has room for are
    anchors: the language model reads each after one fixed prefix, here one example of each label,
    and what it expects as the next token is the anchor's place. A query is read in the same way,
    and the anchors with the smallest KL(anchor || query) vote. As the prefix is the same, it is
    read once; a message costs its own tokens.

    The paper compares whole vocabularies. Here the ``TOKENS_KEPT`` tokens that are likeliest on
    average are compared, and all others together, which takes a fiftieth of the memory. Its votes
    count alike; here they count with exp(-KL), so that the nearest decides a tie. An example of the
    prefix is an anchor, too: whatever is read, the prefix shows no copy of it, but another example
    of its label.

    ``fit`` asks the model once for each anchor; a query that is one of them is not read again.
    ``Selection.similarities`` are exp(-KL).
    """

    votes: ClassVar[bool] = True
    balance: ClassVar[str | None] = "none"
    in_chat: ClassVar[bool] = False  # fit asks hundreds of questions
    part_option: ClassVar[str] = "anchors"
    anchors: int = setting(
        1024, "How many messages are read before the first answer, at most.", bound=at_least(1)
    )

    def fit(self, pool: Pool, reader: Reader | None = None, filters: Filters = NO_FILTERS) -> Self:
        if reader is None:
            raise TuneshotError(
                "knn_prompting compares what a language model expects, and needs one that gives "
                "log-probabilities; give it one, or choose knn"
            )
        super().fit(pool, reader, filters)
        self.reader = reader
        drawn = np.random.default_rng(self.seed).permutation(self.qualifying(pool.representatives))
        of_label: dict[str, list[int]] = {}
        for row in drawn.tolist():
            of_label.setdefault(pool.labels[row], []).append(row)
        others = {rows[0]: rows[1:2] for rows in of_label.values()}
        shown = list(others)[:MOST_SHOWN]
        fitting = reader.fitting(max(pool.texts, key=len), shown, shown)
        self._prefix = {row: others[row] for row in fitting}  # row -> another one of its label
        read = drawn[: self.anchors]
        whole = np.stack([*self._read(read, 0, min(ANCHORS_WHOLE, len(read)))])  # (M, V)
        likeliest = np.argsort(-np.logaddexp.reduce(whole, axis=0), kind="stable")
        self._tokens = np.sort(likeliest[:TOKENS_KEPT])
        kept = [self._kept(log_p) for log_p in whole]
        kept += map(self._kept, self._read(read, len(kept), len(read)))
        order = np.argsort(read)
        self.rows, self._log_p = read[order], np.stack(kept)[order]  # (A,), (A, T + 1)
        self._p = np.exp(self._log_p)
        self._negative_entropies = (self._p * self._log_p).sum(axis=1)  # (A,)
        self._places = {pool.texts[row]: place for place, row in enumerate(self.rows.tolist())}
        return self

    def select(self, texts: Sequence[str], vectors: np.ndarray, k: int) -> list[Selection]:
        return [self._select(text, k) for text in texts]

    def divergences(self, text: str) -> np.ndarray:
        """KL(anchor || query) of each of ``rows``, in nats: (A,) float64."""
        own, place = self.pool.group_of(text), self._places.get(text)
        if place is not None and own == self.pool.groups[self.rows[place]]:
            log_p = self._log_p[place]  # an anchor, which was read in the same way
        else:
            log_p = self._kept(self._expected(text, own))  # (T + 1,)
        return np.maximum(self._negative_entropies - self._p @ log_p, 0.0)

    def _select(self, text: str, k: int) -> Selection:
        whole = len(self.rows) == len(self.pool.representatives)
        groups = None if whole else set(self.pool.groups[self.rows].tolist())
        nothing = self.walk(text, (), k, groups=groups)  # refuses a k that cannot be
        if k == 0:
            return nothing
        similarities = np.exp(-self.divergences(text)).round(6)  # ties stay ties
        nearest = self.rows[np.argsort(-similarities, kind="stable")]
        by_row = dict(zip(self.rows.tolist(), similarities.tolist(), strict=True))
        return self.walk(text, nearest, k, similarity=by_row, groups=groups)

    def _read(self, rows: np.ndarray, start: int, end: int) -> Iterator[np.ndarray]:
        """What is expected after some of the rows, (V,) each."""
        for place in range(start, end):
            row = rows[place]
            yield self._expected(self.pool.texts[row], int(self.pool.groups[row]))
            self.reader.on_progress("kNN prompting: messages read", place + 1, len(rows), "")

    def _expected(self, text: str, own: int | None) -> np.ndarray:
        """Log-probabilities of the token after a message, (V,); ``own`` is the message's group."""
        groups = self.pool.groups
        rows = [
            shown
            for row, others in self._prefix.items()
            for shown in ([row] if groups[row] != own else others)
        ]
        return self.reader.next_tokens(text, self.reader.fitting(text, rows, rows))

    def _kept(self, log_p: np.ndarray) -> np.ndarray:
        """Those of the tokens that are compared, and of all others together: (V,) -> (T + 1,)."""
        kept = log_p[self._tokens].astype(np.float64)
        others = max(1.0 - float(np.exp(kept).sum()), float(np.finfo(np.float32).tiny))
        return np.append(kept, np.log(others))
