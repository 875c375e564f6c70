"""The labelled messages that demonstrations are chosen from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from clfcore.data.split import duplicate_groups, normal_form
from clfcore.errors import TuneshotError
from clfcore.types import Example
from icl.pool.embed import Embedder, embed_cached


@dataclass(frozen=True)
class Pool:
    """Messages with their labels, embeddings and duplicate groups, row by row.

    Attributes:
        texts, labels: N each.
        vectors: (N, d) float32, rows of length 1.
        groups: (N,) int64; rows of one group are copies of one message.
        added: how many of the first rows were added by hand, see ``with_added``.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    vectors: np.ndarray
    groups: np.ndarray
    added: int = 0

    @classmethod
    def build(cls, examples: Sequence[Example], embedder: Embedder) -> "Pool":
        """Embeds ``examples``, or takes their vectors from the disk cache.

        Raises:
            TuneshotError: no examples; the embedder cannot be loaded.
        """
        if not examples:
            raise TuneshotError("the pool is empty; give at least one labelled message")
        texts = tuple(example.text for example in examples)
        return cls(
            texts,
            tuple(example.label for example in examples),
            embed_cached(embedder, texts),
            duplicate_groups(texts),
        )

    def with_added(self, examples: Sequence[Example], embedder: Embedder) -> "Pool":
        """This pool with messages added by hand: first, and in place of their copies.

        They may be shown even to a copy of themselves: a visitor who adds a message and asks about
        it wants to see the effect. Their vectors are not kept on disk.

        Args:
            examples: if a message occurs twice, the last one counts.
            embedder: the one that made this pool.
        """
        new = {normal_form(example.text): example for example in examples}
        if not new:
            return self
        rows = [row for row, text in enumerate(self.texts) if normal_form(text) not in new]
        texts = tuple(example.text for example in new.values())
        return Pool(
            all_texts := (*texts, *(self.texts[row] for row in rows)),
            (*(example.label for example in new.values()), *(self.labels[row] for row in rows)),
            np.concatenate([embedder.embed(texts), self.vectors[rows]]),
            duplicate_groups(all_texts),
            added=len(new),
        )

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        """The labels that occur, in order of first appearance."""
        return tuple(dict.fromkeys(self.labels))

    @cached_property
    def representatives(self) -> np.ndarray:
        """The first row of every group, ascending, int64."""
        return np.sort(np.unique(self.groups, return_index=True)[1])

    def group_of(self, text: str) -> int | None:
        """The group of ``text``, which must not be shown to it; ``None`` if it has no copy here."""
        return self._group_numbers.get(normal_form(text))

    @cached_property
    def _group_numbers(self) -> dict[str, int]:
        rows = self.representatives[self.added :]
        return {normal_form(self.texts[row]): int(self.groups[row]) for row in rows}
