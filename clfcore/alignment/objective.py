"""What is learned in the loop: to find the better of two answers likelier than the reference does.

The reference is the same model with its adapter off.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clfcore.alignment.dpo import dpo_losses
from clfcore.alignment.settings import AlignConfig
from clfcore.model.adapters import adapter_off
from clfcore.model.batching import pad, split_by_tokens
from clfcore.model.precision import autocast, resolve
from clfcore.training.instruction.model import LanguageModel
from clfcore.training.instruction.pairs import Pair, target_places
from clfcore.training.loop import Validation


@dataclass(frozen=True, slots=True)
class Choice:
    """The two answers to a question in tokens, each with the question before it."""

    better: Pair
    worse: Pair

    @property
    def length(self) -> int:
        """Tokens of both, padded to the same length."""
        return 2 * max(len(self.better.read), len(self.worse.read))


class PreferredAnswers:
    """The objective: the DPO loss of each pair, in nats.

    A pair is answered right, it *is preferred*, where the mean log-probability a token is higher
    for the better answer. The reference's log-probabilities are computed once.

    Args:
        model: with an adapter, on ``device``.
        train: pairs to learn from.
        held_out: pairs that are only measured.
        config: the settings.
        device: where the model is.
    """

    def __init__(
        self,
        model: LanguageModel,
        train: Sequence[Choice],
        held_out: Sequence[Choice],
        config: AlignConfig,
        device: torch.device,
    ) -> None:
        self.model, self.train, self.held_out, self.device = model, train, held_out, device
        self.beta, self.precision = config.beta, resolve(config.precision, device)
        self.rows: Sequence[int] = range(len(train))
        self.lengths: Sequence[int] = [choice.length for choice in train]
        with adapter_off(model):
            self.reference = self.log_probabilities(train)  # (N, 2)
            self.held_out_reference = self.log_probabilities(held_out)  # (M, 2)

    def passes(self, rows: list[int]) -> list[list[int]]:
        return list(split_by_tokens(rows, self.lengths))

    def weight(self, rows: list[int]) -> Tensor:
        return torch.tensor(float(len(rows)), device=self.device)

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, int]:
        model.eval()  # dropout would make it another model than the reference
        chosen = [self.train[row] for row in rows]
        policy = self._read(model, _answers(chosen))[0].view(-1, 2)  # (B, 2)
        losses, _ = dpo_losses(policy, self.reference[rows], self.beta)  # (B,)
        return losses.sum(), sum(preferred(policy.detach(), chosen))

    @torch.no_grad()
    def validate(self) -> Validation:
        """Of the held-out pairs: loss, share preferred, and two more figures in nats.

        ``margin`` is the mean of the margins between rewards. ``kl`` is the mean over the tokens of
        the better answers of KL(π ‖ π_ref): how far the model has moved.
        """
        policy, kl, tokens = torch.zeros_like(self.held_out_reference), 0.0, 0  # (M, 2)
        for part in self._parts(self.held_out):
            chosen = [self.held_out[row] for row in part]
            sums, logits, rows = self._read(self.model, _answers(chosen))
            policy[part] = sums.view(-1, 2)
            p = logits[rows % 2 == 0].log_softmax(dim=-1)  # (P, V), of the better answers
            with adapter_off(self.model):
                _, own, _ = self._read(self.model, [choice.better for choice in chosen])
            q = own.log_softmax(dim=-1)  # (P, V)
            kl += float((p.exp() * (p - q)).sum())
            tokens += len(p)
        losses, margins = dpo_losses(policy, self.held_out_reference, self.beta)  # (M,) each
        share = sum(preferred(policy, self.held_out)) / len(self.held_out)
        return Validation(
            float(losses.mean()), share, {"margin": float(margins.mean()), "kl": kl / tokens}
        )

    @torch.no_grad()
    def log_probabilities(self, choices: Sequence[Choice]) -> Tensor:
        """Of the better and the worse answers, log π as the model is now: (N, 2) nats."""
        self.model.eval()
        log_p = torch.zeros(len(choices), 2, device=self.device)
        for part in self._parts(choices):
            sums, _, _ = self._read(self.model, _answers([choices[row] for row in part]))
            log_p[part] = sums.view(-1, 2)
        return log_p

    def _read(self, model: nn.Module, answers: Sequence[Pair]) -> tuple[Tensor, Tensor, Tensor]:
        """Of A answers, log π in nats (A,); of their P tokens, logits (P, V) and answer (P,)."""
        batch = pad([answer.read for answer in answers], range(len(answers)))
        rows, columns, targets = target_places(answers, self.device)  # (P,) each
        with autocast(self.precision, self.device):
            logits = model(batch.ids.to(self.device), rows, columns)  # (P, V)
        by_token = -F.cross_entropy(logits, targets, reduction="none")  # (P,)
        sums = torch.zeros(len(answers), device=self.device).index_add(0, rows, by_token)  # (A,)
        return sums, logits, rows

    @staticmethod
    def _parts(choices: Sequence[Choice]) -> list[list[int]]:
        lengths = [choice.length for choice in choices]
        return list(split_by_tokens(sorted(range(len(choices)), key=lengths.__getitem__), lengths))


def _answers(choices: Sequence[Choice]) -> list[Pair]:
    """Better and worse, one after the other."""
    return [answer for choice in choices for answer in (choice.better, choice.worse)]


def preferred(log_p: Tensor, choices: Sequence[Choice]) -> list[bool]:
    """Whether each better answer has the higher mean log-probability a token.

    Args:
        log_p: (N, 2) of the better and the worse answers, in nats.
        choices: N of them.
    """
    counts = torch.tensor([[len(c.better.target), len(c.worse.target)] for c in choices])  # (N, 2)
    means = log_p.cpu() / counts  # (N, 2)
    return (means[:, 0] > means[:, 1]).tolist()
