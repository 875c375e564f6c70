"""Models that do nothing twice, and read no more than they may."""

from collections.abc import Sequence

import numpy as np

from clfcore.errors import TuneshotError
from icl.lm.base import LM, Generation, PromptText, Scored, total_dollars
from icl.pool.embed import Embedder
from icl.pool.pool import Pool


class MeteredLM:
    """A language model, its answers remembered.

    Prompts of different settings are often the same: of all labels or the nearest, where the
    nearest are of all labels. They are read once.

    Args:
        lm: what reads.
        most: how often it may answer.

    Attributes:
        reads: how often it has answered; what it refused to read is not counted.
        dollars: what that cost; ``None`` if a price is unknown.
    """

    def __init__(self, lm: LM, most: int) -> None:
        self._lm, self._most = lm, most
        self.name, self.prefers_chat = lm.name, lm.prefers_chat
        self.prompt_limit, self.count_tokens = lm.prompt_limit, lm.count_tokens
        self.reads = 0
        self.dollars: float | None = 0.0
        self._scored: dict[tuple[PromptText, tuple[str, ...], int | None], Scored] = {}
        self._replies: dict[tuple[PromptText, int, tuple[str, ...]], Generation] = {}

    @property
    def scores(self) -> bool:
        """As ``LM.scores``; a server may say only when it is asked that it gives none."""
        return self._lm.scores

    def check(self, prompt: PromptText, continuations: Sequence[str]) -> None:
        """As ``LM.check``."""
        self._lm.check(prompt, continuations)

    def read(
        self, prompt: PromptText, continuations: Sequence[str], since: int | None = None
    ) -> Scored:
        """As ``LM.read``."""
        asked = prompt, tuple(continuations), since
        if asked not in self._scored:
            self._check_left()
            self._scored[asked] = self._lm.read(*asked)
            self._count(self._scored[asked].dollars)
        return self._scored[asked]

    def next_tokens(self, prompt: PromptText) -> np.ndarray:
        """As ``LM.next_tokens``; not remembered, for a vocabulary is large."""
        self._check_left()
        log_p = self._lm.next_tokens(prompt)
        self._count(0.0)
        return log_p

    def generate(
        self, prompt: PromptText, max_tokens: int = 32, stop: Sequence[str] = ()
    ) -> Generation:
        """As ``LM.generate``."""
        asked = prompt, max_tokens, tuple(stop)
        if asked not in self._replies:
            self._check_left()
            self._replies[asked] = self._lm.generate(*asked)
            self._count(self._replies[asked].dollars)
        return self._replies[asked]

    def _check_left(self) -> None:
        if self.reads == self._most:
            raise TuneshotError(
                f"the language model may be asked {self._most:,} times, and that was not enough; "
                "allow more reads"
            )

    def _count(self, price: float | None) -> None:
        self.reads += 1
        self.dollars = total_dollars([self.dollars, price])


class PoolEmbedder:
    """An embedder that knows the vectors of a pool's messages, of which every question is one."""

    def __init__(self, embedder: Embedder, pool: Pool) -> None:
        self.name = embedder.name
        self._embedder = embedder
        self._known = dict(zip(pool.texts, pool.vectors, strict=True))

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """As ``Embedder.embed``."""
        if all(text in self._known for text in texts):
            return np.stack([self._known[text] for text in texts])
        return self._embedder.embed(texts)
