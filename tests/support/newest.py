"""A selector that somebody might add."""

from dataclasses import dataclass

from clfcore.config import at_least, setting
from icl.selectors.base import Selector


@dataclass
class Newest(
    Selector,
    title="Newest first",
    description="The messages that came last",
    source="Nobody 2026",
):
    """The last messages of the pool, whatever the query."""

    size: int = setting(5, "How many of the last messages may be shown.", bound=at_least(1))

    def select(self, texts, vectors, k):
        order = range(len(self.pool) - 1, -1, -1)
        return [self.walk(text, order, k) for text in texts]
