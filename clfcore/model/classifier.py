"""A language model as a classifier: a trunk, a head, and the position the head reads.

In a causal model only the last token has seen the whole message, so that is where the lecture
puts the head. The other positions are there to be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clfcore.model.batching import by_length
from clfcore.model.gpt import GPTModel
from clfcore.model.heads import last_linear
from clfcore.model.huggingface import HuggingFaceTrunk
from clfcore.model.precision import autocast
from clfcore.model.spec import AdapterSpec, Reading

Trunk = GPTModel | HuggingFaceTrunk


@dataclass(frozen=True, slots=True)
class AppliedAdapter:
    """The adapter of a model.

    Attributes:
        spec: what it was made from.
        tuner: peft's object that applied it; ``None`` where no layer was wrapped.
    """

    spec: AdapterSpec
    tuner: Any


class TrunkModel(nn.Module):
    """A trunk, what its vectors are for, and the adapter it may carry."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk
        self.adapter: AppliedAdapter | None = None  # see clfcore/model/adapters.py

    def below(self, ids: Tensor, lengths: Tensor, depth: int) -> Tensor:
        """The residual stream after the first ``depth`` blocks: (B, T) -> (B, T, C)."""
        return self.trunk.lower(ids, depth)


class TextClassifier(TrunkModel):
    """A trunk and a head. (B, T) token ids -> (B, classes) logits.

    The forward pass is cut in two, ``below`` and ``above`` a number of blocks, because what lies
    below the first trained block need be computed only once.
    """

    def __init__(self, trunk: Trunk, reading: Reading) -> None:
        super().__init__(trunk)
        self.reading = reading

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Logits of the labels.

        Args:
            ids: (B, T) int64, padded on the right.
            lengths: (B,) int64 count of real tokens.
        """
        return self.above(self.below(ids, lengths, 0), lengths, 0)

    def below(self, ids: Tensor, lengths: Tensor, depth: int) -> Tensor:
        """The residual stream after the first ``depth`` blocks: (B, T) -> (B, T, C).

        A soft prompt stands in front of the message there, and makes T larger.
        """
        front = self.trunk.virtual_tokens
        seen = None if self.reading.causal else _real(front + ids.shape[1], front + lengths)
        return self.trunk.lower(ids, depth, seen)

    def above(self, x: Tensor, lengths: Tensor, depth: int) -> Tensor:
        """The other blocks, the final norm and the head: (B, T, C) -> (B, classes)."""
        return self.trunk.out_head(self.vectors(x, lengths, depth))

    def vectors(self, x: Tensor, lengths: Tensor, depth: int) -> Tensor:
        """The vector that the head reads: (B, T, C) -> (B, C)."""
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


@torch.inference_mode()
def class_logits(
    model: TextClassifier, tokens: Sequence[Sequence[int]], batch_size: int = 64
) -> Tensor:
    """Logits of the labels: (N, classes) float32, in the order of ``tokens``."""
    model.eval()
    classes = last_linear(model.trunk.out_head).out_features
    logits = torch.zeros(len(tokens), classes, dtype=torch.float32)  # (N, classes)
    for batch in by_length(tokens, batch_size):
        logits[batch.rows] = model(batch.ids, batch.lengths)
    return logits


@torch.inference_mode()
def sentence_vectors(
    model: TextClassifier, tokens: Sequence[Sequence[int]], precision: str = "float32"
) -> np.ndarray:
    """The vectors that the head would read: (N, C) float32, computed in ``precision``."""
    model.eval()
    device = next(model.parameters()).device
    vectors = np.zeros((len(tokens), model.trunk.emb_dim), dtype=np.float32)
    with autocast(precision, device):
        for cpu_batch in by_length(tokens, 64):
            batch = cpu_batch.to(device)
            x = model.below(batch.ids, batch.lengths, 0)
            vectors[batch.rows] = model.vectors(x, batch.lengths, 0).float().cpu().numpy()
    return vectors
