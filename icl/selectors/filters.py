"""What is left out on the way down a ranking, before the cut to k."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from icl.pool.pool import Pool


@dataclass(frozen=True)
class Filters:
    """Messages that are better not shown. The next in the ranking takes the place of each.

    Attributes:
        near: leaves out messages as similar as this (cosine) to a better one; 1: none. A mailing
            with another code word in it is no exact copy, but adds nothing new.
        longest: leaves out messages of more tokens; 0: none. One long message would cost the room
            of many short ones.
        count_tokens: length of a message.
    """

    near: float = 1.0
    longest: int = 0
    count_tokens: Callable[[str], int] = len
    _lengths: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    def too_long(self, text: str) -> str | None:
        """Why ``text`` is left out whatever else is shown, in words; ``None`` if it is not."""
        if not self.longest:
            return None
        if text not in self._lengths:
            self._lengths[text] = self.count_tokens(text)
        tokens = self._lengths[text]
        if tokens <= self.longest:
            return None
        return f"{tokens} tokens, and {self.longest} are allowed"

    def reason(self, pool: Pool, row: int, better: Sequence[int]) -> str | None:
        """Why ``row`` of the pool is left out after the ``better`` rows; ``None`` if it is not."""
        if (reason := self.too_long(pool.texts[row])) or self.near >= 1 or not better:
            return reason
        return near_copy(pool.vectors[row], pool.vectors[list(better)], better, self.near)

    def __str__(self) -> str:
        longest = f"longest {self.longest}" if self.longest else ""
        near = f"near {self.near:g}" if self.near < 1 else ""
        return ", ".join(filter(None, (longest, near)))


NO_FILTERS = Filters()


def near_copy(
    vector: np.ndarray, others: np.ndarray, rows: Sequence[int], threshold: float
) -> str | None:
    """Which message is nearly the same, in words; ``None`` if none is.

    Args:
        vector: (d,) float32, of length 1.
        others: (n, d) float32, of the messages that might be, at least one.
        rows: their n rows of the pool.
        threshold: the cosine from which on two messages are nearly the same.
    """
    cosines = (others @ vector).round(6)  # (n, d) (d,) -> (n,)
    nearest = int(cosines.argmax())
    if cosines[nearest] < threshold:
        return None
    return f"nearly row {rows[nearest]}: cosine {cosines[nearest]:.3f}"
