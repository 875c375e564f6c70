"""What a language model learns in the loop: the tokens that come after each prompt."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clfcore.data.balance import balanced_rows
from clfcore.model.batching import Batch, by_length, pad, split_by_tokens
from clfcore.model.precision import autocast, resolve
from clfcore.model.trainable import frozen_depth
from clfcore.training.frozen import ActivationCache, offloaded_below
from clfcore.training.instruction.model import LanguageModel
from clfcore.training.instruction.settings import InstructionConfig

_VALIDATION_BATCH_SIZE = 16


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt, and what is to be written after it, in the language model's tokens.

    Attributes:
        prompt, target: at least one token each.
        weight: how much it counts, above 0.
    """

    prompt: tuple[int, ...]
    target: tuple[int, ...]
    weight: float = 1.0

    @property
    def read(self) -> tuple[int, ...]:
        """All that the model reads: nothing comes after the target's last token."""
        return (*self.prompt, *self.target[:-1])


class TargetTokens:
    """The objective: -log P(target | prompt) in nats, summed over the target's tokens only.

    A pair is answered right if each of them is the likeliest where it stands.

    Args:
        model: on ``device``; which of its weights learn is decided already.
        train: pairs to learn from; rare targets are repeated.
        val: pairs to validate on.
        config: the settings.
        device: where the model is.
    """

    def __init__(
        self,
        model: LanguageModel,
        train: Sequence[Pair],
        val: Sequence[Pair],
        config: InstructionConfig,
        device: torch.device,
    ) -> None:
        self.model, self.train, self.val, self.device = model, train, val, device
        self.precision = resolve(config.precision, device)
        self.rows: Sequence[int] = balanced_targets(train, config)
        self.tokens, self.val_tokens = ([pair.read for pair in part] for part in (train, val))
        self.lengths: Sequence[int] = [len(ids) for ids in self.tokens]
        self.weights = torch.tensor([pair.weight for pair in train], device=device)  # (N,)

        self.depth = frozen_depth(model.trunk)
        self.cache = self.val_cache = None
        if self.depth and ActivationCache.fits_in_memory(model, [*self.tokens, *self.val_tokens]):
            with offloaded_below(model.trunk, self.depth):
                self.cache, self.val_cache = (
                    ActivationCache(model, tokens, self.depth, self.precision)
                    for tokens in (self.tokens, self.val_tokens)
                )

    def passes(self, rows: list[int]) -> list[list[int]]:
        return list(split_by_tokens(rows, self.lengths))

    def weight(self, rows: list[int]) -> Tensor:
        return self.weights[rows].sum()

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, int]:
        losses, right = self._losses(model, self.train, pad(self.tokens, rows), self.cache)
        return (losses * self.weights[rows]).sum(), int(right.sum())

    @torch.no_grad()
    def validate(self) -> tuple[float, float]:
        loss, hits, total = 0.0, 0.0, 0.0
        for batch in by_length(self.val_tokens, _VALIDATION_BATCH_SIZE):
            losses, right = self._losses(self.model, self.val, batch, self.val_cache)
            weights = torch.tensor([self.val[row].weight for row in batch.rows]).to(self.device)
            loss += float((losses * weights).sum())
            hits += float((right * weights).sum())
            total += float(weights.sum())
        return loss / total, hits / total

    def _losses(
        self, model: nn.Module, pairs: Sequence[Pair], batch: Batch, cache: ActivationCache | None
    ) -> tuple[Tensor, Tensor]:
        """(B,) nats, and (B,) bool whether the target would be written."""
        chosen = [pairs[row] for row in batch.rows]
        rows, columns, targets = target_places(chosen, self.device)  # (P,) each
        with autocast(self.precision, self.device):
            if cache is None:
                logits = model(batch.ids.to(self.device), rows, columns)  # (P, V)
            else:
                x, _ = cache.batch(batch.rows)
                logits = self.model.above(x, self.depth, rows, columns)
        by_token = F.cross_entropy(logits, targets, reduction="none")  # (P,)
        losses = torch.zeros(len(chosen), device=self.device).index_add(0, rows, by_token)
        wrong = torch.zeros(len(chosen), device=self.device)
        wrong = wrong.index_add(0, rows, (logits.argmax(dim=-1) != targets).float())
        return losses, wrong == 0


def balanced_targets(pairs: Sequence[Pair], config: InstructionConfig) -> list[int]:
    """Rows of an epoch: all pairs, those with rare targets again; see ``balance_ratio``.

    Raises:
        TuneshotError: all pairs have one target.
    """
    numbers: dict[tuple[int, ...], int] = {}
    targets = [numbers.setdefault(pair.target, len(numbers)) for pair in pairs]
    return balanced_rows(targets, "oversample", config.seed, config.balance_ratio)


def target_places(pairs: Sequence[Pair], device: torch.device) -> Tensor:
    """Of each of P tokens of the targets: its pair, the column that says it, itself: (3, P)."""
    places = [
        (row, len(pair.prompt) - 1 + i, token)
        for row, pair in enumerate(pairs)
        for i, token in enumerate(pair.target)
    ]
    return torch.tensor(places, device=device).T
