"""A language model behind a prompt format: what selectors ask that ask a language model."""

from collections.abc import Sequence

import numpy as np

from icl.lm.base import LM
from icl.pool.pool import Pool
from icl.prompt.scoring import first_words, sum_of_tokens
from icl.prompt.template import Demonstration, Template, all_words
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
        since = len(prompt) - len(self.template.slot(query)) if whole else None
        read = self.lm.read(prompt, all_words(words), since)
        return ListScore(
            labels=sum_of_tokens([read], words),
            label_tokens=np.array([len(read.tokens[start]) for start in first_words(words)]),
            query=np.array(read.prompt),
        )
