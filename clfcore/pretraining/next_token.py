"""What a language model learns in the loop: each token of a text from those before it."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clfcore.model.batching import pad, split_by_tokens
from clfcore.model.precision import autocast, resolve
from clfcore.pretraining.documents import Blocks
from clfcore.pretraining.language_model import NextTokenModel
from clfcore.pretraining.settings import PretrainingConfig


class NextTokens:
    """The objective: -log P(token | those before it in its block) in nats, averaged over tokens.

    A block is answered right as far as each of its tokens was the likeliest one.

    Args:
        model: on ``device``.
        train: blocks to learn from.
        held_out: blocks to validate on.
        config: the settings.
        device: where the model is.
    """

    def __init__(
        self,
        model: NextTokenModel,
        train: Blocks,
        held_out: Blocks,
        config: PretrainingConfig,
        device: torch.device,
    ) -> None:
        self.model, self.train, self.held_out, self.device = model, train, held_out, device
        self.precision = resolve(config.precision, device)
        self.rows: Sequence[int] = range(len(train.read))
        self.lengths: Sequence[int] = list(map(len, train.read))

    def passes(self, rows: list[int]) -> list[list[int]]:
        return list(split_by_tokens(rows, self.lengths))

    def weight(self, rows: list[int]) -> Tensor:
        return torch.tensor(sum(self.lengths[row] for row in rows), device=self.device)

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, float]:
        losses, right = self._losses(model, self.train, rows)
        return losses.sum(), sum(
            int(hits) / self.lengths[row] for hits, row in zip(right, rows, strict=True)
        )

    @torch.no_grad()
    def validate(self) -> tuple[float, float]:
        loss, hits = 0.0, 0
        lengths = list(map(len, self.held_out.read))
        for rows in split_by_tokens(range(len(lengths)), lengths):
            losses, right = self._losses(self.model, self.held_out, rows)
            loss += float(losses.sum(dtype=torch.float64))
            hits += int(right.sum())
        return loss / self.held_out.tokens, hits / self.held_out.tokens

    def _losses(
        self, model: nn.Module, blocks: Blocks, rows: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Of B blocks of T tokens: (B,) nats, and (B,) int64 tokens that would be written."""
        read, following = pad(blocks.read, rows), pad(blocks.following, rows)  # type: ignore[arg-type]
        real = torch.arange(read.ids.shape[1]) < read.lengths[:, None]  # (B, T)
        targets = following.ids.where(real, -100).to(self.device)  # (B, T); -100: nothing is asked
        with autocast(self.precision, self.device):
            logits = model(read.ids.to(self.device))  # (B, T, V)
        by_token = F.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="none"
        ).view_as(targets)  # (B, T)
        return by_token.sum(dim=1), (logits.argmax(dim=-1) == targets).sum(dim=1)


def perplexity(loss: float) -> float:
    """exp(loss), of a loss in nats: one of so many equally likely tokens is as hard to guess."""
    return math.exp(loss) if loss < 700 else math.inf
