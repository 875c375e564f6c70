"""A language model behind a prompt format: what selectors ask that ask a language model."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from icl.lm.base import LM
from icl.pool.pool import Pool
from icl.prompt.template import Demonstration, Template
from icl.selectors.base import ListScore


class PromptReader:
    """Reads queries after lists of demonstrations, always as plain text.

    Args:
        template: the format.
        pool: where the lists' rows are.
        lm: a model that ``scores``.
    """

    def __init__(self, template: Template, pool: Pool, lm: LM) -> None:
        self.template, self.pool, self.lm = template, pool, lm

    def read(
        self, query: str, lists: Sequence[Sequence[int]], whole: bool = False
    ) -> list[ListScore]:
        """As the protocol says."""
        return [self._read(query, rows, whole) for rows in lists]

    def _read(self, query: str, rows: Sequence[int], whole: bool) -> ListScore:
        shown = [
            Demonstration(self.pool.texts[row], self.pool.labels[row], None, row) for row in rows
        ]
        prompt = self.template.render(shown, query)
        words = self.template.words_for(query)
        spelled = [word for own in words.values() for word in own]
        since = len(prompt) - len(self.template.slot(query)) if whole else None
        read = self.lm.read(prompt, spelled, since)
        ends = np.cumsum([0, *(len(own) for own in words.values())])
        totals = np.array([sum(tokens) for tokens in read.log_probabilities])  # (W,)
        return ListScore(
            labels=np.array([np.logaddexp.reduce(totals[a:b]) for a, b in pairwise(ends)]),
            label_tokens=np.array([len(read.tokens[start]) for start in ends[:-1]]),
            query=np.array(read.prompt),
        )
