"""Which labels are considered for a message, where there are too many to read them all.

Hundreds of labels would cost a language model many passes for one message, and nearly all of them
are out of the question. Considered are those of the examples that are shown, and then those of the
most similar labelled messages. Where these do not suffice, as without examples, the labels whose
own words are most like the message are considered, too.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from icl.pool.embed import Embedder, embed_cached
from icl.pool.pool import Pool
from icl.prompt.template import Template


class Considered:
    """Chooses the labels that a language model is asked about, message by message.

    Args:
        template: has all labels and their words.
        pool: labelled messages; ``None``: their labels are not to be looked at.
        embedder: the one of the pool.
        most: how many labels are considered; more, if the examples show more.
    """

    def __init__(
        self, template: Template, pool: Pool | None, embedder: Embedder, most: int
    ) -> None:
        self._template, self._pool, self._embedder, self._most = template, pool, embedder, most

    def labels(self, text: str, vector: np.ndarray, shown: Iterable[str]) -> tuple[str, ...]:
        """Those considered for a message, in the order of all.

        The label of a copy of the message does not count: it would be the answer.

        Args:
            text: the message.
            vector: its own, (d,) float32 of length 1.
            shown: the labels of the examples in its prompt.
        """
        considered = set(shown)
        for rank in (self._of_nearest, self._by_words):
            if len(considered) < self._most:
                others = [label for label in rank(text, vector) if label not in considered]
                considered |= {*others[: self._most - len(considered)]}
        return tuple(label for label in self._template.words if label in considered)

    def _of_nearest(self, text: str, vector: np.ndarray) -> Sequence[str]:
        """The labels of the most similar messages, nearest first, each once."""
        if self._pool is None:
            return ()
        pool = self._pool
        own = pool.group_of(text)
        cosines = (pool.vectors @ vector).round(6)  # (N, d) (d,) -> (N,); ties stay ties
        order = np.argsort(-cosines, kind="stable")
        if own is not None:
            order = order[pool.groups[order] != own]
        return list(dict.fromkeys(pool.labels[row] for row in order.tolist()))

    def _by_words(self, text: str, vector: np.ndarray) -> Sequence[str]:
        """All labels, those whose words are most like the message first."""
        cosines = (self._word_vectors @ vector).round(6)  # (C, d) (d,) -> (C,)
        labels = list(self._template.words)
        return [labels[i] for i in np.argsort(-cosines, kind="stable").tolist()]

    @cached_property
    def _word_vectors(self) -> np.ndarray:
        """(C, d) float32, of each label's first word."""
        words = [own[0].strip() for own in self._template.words.values()]
        return embed_cached(self._embedder, words)
