"""A language model as a classifier: where it is read, and which of its layers learn.

In a causal model only the last token has seen the whole message, so that is where the lecture
puts the head. The other choices of its table are here to be compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clfcore.config import Checked
from clfcore.errors import unknown_choice
from clfcore.model.batching import Batch, by_length
from clfcore.model.gpt import GPTModel
from clfcore.model.huggingface import HuggingFaceTrunk
from clfcore.model.precision import autocast
from clfcore.model.tokenizer import END_OF_TEXT

Trunk = GPTModel | HuggingFaceTrunk

# Which position the head reads. "last_column" is the book's: the last column of a padded batch,
# so padding is part of the message; the others never look at padding.
POSITIONS = ("last_token", "last_column", "first", "mean")


@dataclass(frozen=True, slots=True)
class Reading(Checked):
    """How a message becomes one vector; part of the model, so it travels with the checkpoint.

    Attributes:
        position: one of ``POSITIONS``.
        pad_to: messages are padded to this many tokens, and the padding is read (position
            ``last_column`` only).
        causal: keep GPT's mask; without it every token sees the whole message.
    """

    position: str = "last_token"
    pad_to: int | None = None
    causal: bool = True

    def problems(self) -> list[str]:
        found = []
        if self.position not in POSITIONS:
            found.append(f"unknown position {self.position!r}; choose from {', '.join(POSITIONS)}")
        if (self.pad_to is None) == (self.position == "last_column"):
            found.append("pad_to belongs to the position last_column, and it needs one")
        return found

    def tokens(self, ids: list[int], limit: int) -> list[int]:
        """``ids`` as they are read: cut to ``limit``, padded where padding is read."""
        return ids[:limit] + [END_OF_TEXT] * ((self.pad_to or 0) - len(ids))


class TextClassifier(nn.Module):
    """A trunk and a head. (B, T) token ids -> (B, classes) logits.

    The way is cut in two, ``below`` and ``above`` a number of blocks, because what lies below
    the first block that learns need be computed only once.
    """

    def __init__(self, trunk: Trunk, reading: Reading) -> None:
        super().__init__()
        self.trunk = trunk
        self.reading = reading
        self.adapter: Adapted | None = None  # see clfcore/model/adapters.py

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Logits of the labels.

        Args:
            ids: (B, T) int64, padded on the right.
            lengths: (B,) int64 count of real tokens.
        """
        return self.above(self.below(ids, lengths, 0), lengths, 0)

    def below(self, ids: Tensor, lengths: Tensor, depth: int) -> Tensor:
        """The stream after the first ``depth`` blocks: (B, T) -> (B, T, C).

        A soft prompt stands in front of the message there, and makes T larger.
        """
        front = self.trunk.virtual_tokens
        seen = None if self.reading.causal else _real(front + ids.shape[1], front + lengths)
        return self.trunk.lower(ids, depth, seen)

    def above(self, x: Tensor, lengths: Tensor, depth: int) -> Tensor:
        """The rest of the way, and the head: (B, T, C) -> (B, classes)."""
        return self.trunk.out_head(self.vectors(x, lengths, depth))

    def vectors(self, x: Tensor, lengths: Tensor, depth: int) -> Tensor:
        """What the head reads: (B, T, C) -> (B, C)."""
        front = self.trunk.virtual_tokens
        real = _real(x.shape[1], front + lengths)  # (B, T)
        if self.reading.position == "mean":
            h = self.trunk.upper(x, depth, None if self.reading.causal else real)  # (B, T, C)
            own = h * real[:, :, None]
            return own[:, front:].sum(dim=1) / lengths[:, None]  # -> (B, C)
        where = self.where(lengths)  # (B,)
        if depth == len(self.trunk.trf_blocks):
            return self.trunk.final_norm(x[torch.arange(len(x), device=x.device), where])
        columns = torch.arange(x.shape[1], device=x.device)
        seen = columns <= where[:, None] if self.reading.causal else real  # (B, T)
        return self.trunk.upper_at(x, depth, where, seen, self.reading.causal)

    def where(self, lengths: Tensor) -> Tensor:
        """The position that is read: (B,) lengths -> (B,) int64."""
        own = torch.zeros_like(lengths) if self.reading.position == "first" else lengths - 1
        return self.trunk.virtual_tokens + own


def _real(width: int, lengths: Tensor) -> Tensor:
    """Which columns hold tokens and not padding: (B, T) bool."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def class_logits(model: TextClassifier, batch: Batch) -> Tensor:
    """Logits of the labels: (B, classes)."""
    return model(batch.ids, batch.lengths)


def class_log_probs(model: TextClassifier, batch: Batch) -> Tensor:
    """Log-probabilities of the labels in nats: (B, classes) float32."""
    return F.log_softmax(class_logits(model, batch).float(), dim=-1)


@torch.inference_mode()
def sentence_vectors(
    model: TextClassifier, tokens: Sequence[Sequence[int]], precision: str = "float32"
) -> np.ndarray:
    """What the head would read of each message: (N, C) float32, computed in ``precision``."""
    model.eval()
    device = next(model.parameters()).device
    found = np.zeros((len(tokens), model.trunk.emb_dim), dtype=np.float32)
    with autocast(precision, device):
        for cpu_batch in by_length(tokens, 64):
            batch = cpu_batch.to(device)
            x = model.below(batch.ids, batch.lengths, 0)
            found[batch.rows] = model.vectors(x, batch.lengths, 0).float().cpu().numpy()
    return found


# --- which layers learn -------------------------------------------------------------------------


def _last_blocks(count: int) -> Callable[[Trunk], list[nn.Module]]:
    def modules(trunk: Trunk) -> list[nn.Module]:
        return [*list(trunk.trf_blocks)[-count:], trunk.final_norm, trunk.out_head]

    return modules


TRAINABLE: dict[str, Callable[[Trunk], list[nn.Module]]] = {
    "last_layer": lambda trunk: [trunk.out_head],
    "last_block": _last_blocks(1),  # what the lecture trains
    "last_two_blocks": _last_blocks(2),
    "last_four_blocks": _last_blocks(4),
    "all": lambda trunk: [trunk],
}


def freeze_all_but(trunk: Trunk, layers: str) -> None:
    """Marks which weights learn; the rest keep their values.

    Raises:
        TuneshotError: ``layers`` is not a key of ``TRAINABLE``.
    """
    if layers not in TRAINABLE:
        raise unknown_choice("layers", layers, TRAINABLE)
    trunk.requires_grad_(False)
    for module in TRAINABLE[layers](trunk):
        module.requires_grad_(True)


def frozen_depth(trunk: Trunk) -> int:
    """How many blocks from below on no gradient has to pass, embeddings included."""
    blocks = list(trunk.trf_blocks)
    above = {id(w) for part in (*blocks, trunk.final_norm, trunk.out_head) for w in
             part.parameters()}  # fmt: skip
    if any(w.requires_grad for w in trunk.parameters() if id(w) not in above):
        return 0
    learns = [any(w.requires_grad for w in block.parameters()) for block in blocks]
    return trunk.depth_below([*learns, True].index(True))


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """How many weights learn, and how many there are."""
    sizes = [(weight.numel(), weight.requires_grad) for weight in model.parameters()]
    return sum(n for n, learns in sizes if learns), sum(n for n, _ in sizes)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What ``adapt`` was asked for; see there."""

    name: str
    rank: int
    total_steps: int
    seed: int


@dataclass(frozen=True, slots=True)
class Adapted:
    """The adapter a model has.

    Attributes:
        chosen: what it was made from.
        tuner: peft's object that put it in; ``None`` where no layer was wrapped.
    """

    chosen: Chosen
    tuner: Any
