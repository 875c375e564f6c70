"""A language model behind a prompt format: what selectors ask that ask a language model."""

from collections.abc import Callable, Sequence

import numpy as np

from clfcore.types import OnProgress, ignore
from icl.lm.base import LM
from icl.pool.pool import Pool
from icl.prompt.prompt import Arrange, Prompt
from icl.prompt.scoring import first_words, sum_of_tokens
from icl.prompt.template import Demonstration, Template, Verbalizer, all_words
from icl.selectors.arrange import in_order
from icl.selectors.base import ListScore


class PromptReader:
    """Reads queries after lists of demonstrations, always as plain text.

    Args:
        template: the format.
        pool: where the lists' rows are.
        lm: a model that ``scores``.
        build: makes the prompt that is shown: demonstrations, best first, and the query and the
            order -> as much of them as fits.
        words: a query -> the words of the labels that are asked about.
        on_progress: as the protocol says.
    """

    def __init__(
        self,
        template: Template,
        pool: Pool,
        lm: LM,
        build: Callable[[Sequence[Demonstration], str, Arrange], Prompt],
        words: Callable[[str], Verbalizer],
        on_progress: OnProgress = ignore,
    ) -> None:
        self.template, self.pool, self.lm, self.build = template, pool, lm, build
        self.words, self.on_progress = words, on_progress

    def fitting(self, query: str, ranked: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
        """As the protocol says."""
        prompt = self.build(self._shown(ranked), query, in_order(order))
        return tuple(shown.row for shown in prompt.demonstrations)

    def read(
        self, query: str, lists: Sequence[Sequence[int]], whole: bool = False
    ) -> list[ListScore]:
        """As the protocol says."""
        words = self.words(query)
        as_shown = self._as_shown(query)
        return [self._read(as_shown, words, rows, whole) for rows in lists]

    def code_lengths(self, query: str, lists: Sequence[Sequence[int]]) -> list[float]:
        """As the protocol says."""
        as_shown = self._as_shown(query)
        texts = [self._prompt(rows, as_shown) for rows in lists]
        return [-sum(self.lm.read(text, (), since).prompt) for text, since in texts]

    def next_tokens(self, query: str, rows: Sequence[int]) -> np.ndarray:
        """As the protocol says."""
        prompt, _ = self._prompt(rows, self._as_shown(query))
        return self.lm.next_tokens(prompt)

    def _read(self, query: str, words: Verbalizer, rows: Sequence[int], whole: bool) -> ListScore:
        prompt, since = self._prompt(rows, query)
        read = self.lm.read(prompt, all_words(words), since if whole else None)
        return ListScore(
            labels=sum_of_tokens([read], words),
            label_tokens=np.array([len(read.tokens[start]) for start in first_words(words)]),
            query=np.array(read.prompt),
        )

    def _prompt(self, rows: Sequence[int], query: str) -> tuple[str, int]:
        """The prompt, and where the query's slot begins."""
        prompt = self.template.render(self._shown(rows), query)
        return prompt, len(prompt) - len(self.template.slot(query))

    def _as_shown(self, query: str) -> str:
        return self.build([], query, list).query

    def _shown(self, rows: Sequence[int]) -> list[Demonstration]:
        return [
            Demonstration(self.pool.texts[row], self.pool.labels[row], None, row) for row in rows
        ]
