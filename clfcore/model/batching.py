"""From token lists to padded tensors, grouped by length so that little is wasted on padding."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clfcore.types import Example

_MAX_TOKENS_PER_BATCH = 2048  # of inference, padding counted
_MAX_TOKENS_PER_PASS = 1024  # of training a language model; with all of SmolLM2, over a gigabyte


@dataclass(frozen=True, slots=True)
class Encoded:
    """Messages as the model sees them: token ids and label numbers, (N,) each.

    Attributes:
        weights: (N,) how much each counts; by default all the same, 1.
    """

    tokens: Sequence[Sequence[int]]
    labels: Sequence[int]
    weights: Sequence[float] = ()

    def __post_init__(self) -> None:
        if not self.weights:
            object.__setattr__(self, "weights", [1.0] * len(self.labels))

    @classmethod
    def of(
        cls, examples: Sequence[Example], labels: Sequence[str], read: Callable[[str], list[int]]
    ) -> "Encoded":
        """Encodes ``examples``.

        Args:
            examples: labelled messages.
            labels: in the order of the head's outputs.
            read: text -> the token ids that the model reads.
        """
        return cls(
            [read(e.text) for e in examples],
            [labels.index(e.label) for e in examples],
            [e.weight for e in examples],
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """Right-padded messages.

    Attributes:
        ids: (B, T) int64; positions from ``lengths[b]`` on hold padding.
        lengths: (B,) int64 count of real tokens, at least 1. Never guessed from the ids: the
            padding token is also a real token.
        rows: which input rows these are, in order.
    """

    ids: Tensor
    lengths: Tensor
    rows: list[int]

    def to(self, device: torch.device) -> "Batch":
        """The same batch on ``device``."""
        return Batch(self.ids.to(device), self.lengths.to(device), self.rows)


def pad(tokens: Sequence[Sequence[int]], rows: Sequence[int], width: int | None = None) -> Batch:
    """The chosen ``rows`` of ``tokens`` as one batch, ``width`` or as many tokens wide as needed.

    The id that fills the rest does not matter: it is never read.
    """
    lengths = [len(tokens[row]) for row in rows]
    ids = np.zeros((len(rows), width or max(lengths)), dtype=np.int64)  # (B, T)
    for i, row in enumerate(rows):
        ids[i, : lengths[i]] = tokens[row]
    return Batch(torch.from_numpy(ids), torch.tensor(lengths), list(rows))


def by_length(tokens: Sequence[Sequence[int]], batch_size: int) -> Iterator[Batch]:
    """Every message once, shortest first: for inference, where order does not matter.

    Batches of long messages are smaller, so that memory stays the same.
    """
    rows: list[int] = []
    for row in sorted(range(len(tokens)), key=lambda row: len(tokens[row])):
        too_wide = (len(rows) + 1) * len(tokens[row]) > _MAX_TOKENS_PER_BATCH
        if rows and (too_wide or len(rows) == batch_size):  # one message may be longer than that
            yield pad(tokens, rows)
            rows = []
        rows.append(row)
    if rows:
        yield pad(tokens, rows)


def shuffled(
    lengths: Sequence[int],
    rows: Sequence[int],
    batch_size: int,
    rng: np.random.Generator,
) -> Iterator[list[int]]:
    """One training epoch over ``rows`` (which may repeat): the rows of each batch, by length.

    Rows are shuffled, cut into chunks of 16 batches, sorted by length inside a chunk, and the
    chunk's batches are shuffled again: padding is small, yet batches stay random.
    """
    order = rng.permutation(np.asarray(rows))
    chunk = 16 * batch_size
    for start in range(0, len(order), chunk):
        # Rows are ints; a stable sort keeps the shuffled order among equal lengths.
        near = sorted(order[start : start + chunk].tolist(), key=lengths.__getitem__)
        starts = range(0, len(near), batch_size)
        for i in rng.permutation(len(starts)):
            yield near[starts[i] : starts[i] + batch_size]


def of_equal_length(lengths: Sequence[int], rows: Sequence[int]) -> list[list[int]]:
    """``rows`` in groups that need no padding at all."""
    groups: dict[int, list[int]] = {}
    for row in rows:
        groups.setdefault(lengths[row], []).append(row)
    return list(groups.values())


def split_by_tokens(rows: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
    """``rows`` in groups of at most ``_MAX_TOKENS_PER_PASS`` tokens; one row may be longer."""
    group: list[int] = []
    for row in rows:
        longest = max(lengths[each] for each in (*group, row))
        if group and longest * (len(group) + 1) > _MAX_TOKENS_PER_PASS:
            yield group
            group = []
        group.append(row)
    if group:
        yield group
