"""The labelled messages that demonstrations are chosen from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from clfcore.data import duplicate_groups, normal_form
from clfcore.errors import TuneshotError
from clfcore.types import Example
from icl.embed import Embedder, embed_remembered


@dataclass(frozen=True)
class Pool:
    """Messages with their labels, embeddings and duplicate groups, row by row.

    Attributes:
        texts, labels: N each.
        vectors: (N, d) float32, rows of length 1.
        groups: (N,) int64; rows of one group are copies of one message.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    vectors: np.ndarray
    groups: np.ndarray

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
            embed_remembered(embedder, texts),
            duplicate_groups(texts),
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
        """The group that ``text`` is a copy of, if there is one."""
        return self._group_numbers.get(normal_form(text))

    @cached_property
    def _group_numbers(self) -> dict[str, int]:
        rows = self.representatives
        return {normal_form(self.texts[row]): int(self.groups[row]) for row in rows}
