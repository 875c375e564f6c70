"""Every choice of a training run, in one frozen dataclass; and good choices for each base."""

from collections import ChainMap
from dataclasses import dataclass
from typing import Any

from clfcore.config import Checked
from clfcore.data.balance import BALANCERS
from clfcore.model.adapters import ADAPTERS
from clfcore.model.heads import HEADS
from clfcore.model.precision import PRECISIONS
from clfcore.model.spec import MINI, POSITIONS
from clfcore.model.trainable import TRAINABLE

WEIGHTS = ("pretrained", "random")
PADDINGS = ("dynamic", "longest", "full_context", "none")
SCHEDULES = ("one_cycle", "linear", "cosine", "constant")
KEEP = ("best", "last")
NOTHING = "none"  # of ``layers``: the trunk only makes vectors, the feature-based approach
LAYERS = ChainMap[str, Any]({NOTHING: None}, ADAPTERS, TRAINABLE)  # in the reverse of this order


@dataclass(frozen=True, slots=True)
class TrainConfig(Checked):
    """How to fine-tune. The defaults are the lecture's, but for the position that is read.

    Attributes:
        weights: start from the base's ``pretrained`` weights, or from ``random`` ones.
        layers: which weights learn: a key of ``TRAINABLE``, an adapter of ``ADAPTERS``, or
            ``none``: the trunk only makes vectors, and scikit-learn fits a head to them.
        head: a key of ``HEADS``, for ``layers="none"``; all others have a linear head.
        rank: of a low-rank adapter.
        position: which position the head reads, see ``POSITIONS``.
        causal: keep GPT's causal mask.
        padding: how wide a batch is: its longest message, the longest training message, the whole
            context, or no padding at all (messages of equal length only).
        balance: a key of ``BALANCERS``, applied to the training rows only.
        balance_ratio: what a rare label is brought to, as a share of the commonest one.
        epochs: passes over the balanced training rows.
        batch_size: messages in one pass.
        accumulate: passes a step.
        learning_rate: the schedule's peak.
        embedding_learning_rate: likewise for ``tok_emb``, which knows more than it can learn here.
        schedule: ``one_cycle`` (Smith & Topin 2017), or a warm-up followed by a line to zero, by
            half a cosine to zero, or by a constant.
        warmup: share of the steps spent on the way up; ``one_cycle`` has its own.
        weight_decay: on matrices only (AdamW, Loshchilov & Hutter 2019).
        label_smoothing: share of the target spread over all labels.
        grad_clip: largest gradient norm.
        validate_every: steps between two looks at the validation part; 0: once an epoch.
        keep: the weights of the smallest validation loss, or the last ones.
        patience: stop after this many looks without a smaller validation loss; 0: never.
        mix: share of the fine-tuned weights in the result, the rest is the trunk as it was before
            (WiSE-FT, Wortsman et al. 2022); 1: all fine-tuned.
        threshold: of two labels, the probability of the second from which it is answered.
        flag_at_most: a share of the first label's messages that may be answered with the second;
            the smallest threshold that keeps to it on the validation part is then chosen. 1: the
            threshold is ``threshold``.
        precision: one of ``PRECISIONS``.
        split_seed: which messages are for training, validation and test.
        seed: of everything else that is random.
    """

    weights: str = "pretrained"
    layers: str = "last_block"
    head: str = "logistic"
    rank: int = 16
    position: str = "last_token"
    causal: bool = True
    padding: str = "dynamic"
    balance: str = "undersample"
    balance_ratio: float = 1.0
    epochs: int = 5
    batch_size: int = 8
    accumulate: int = 1
    learning_rate: float = 5e-5
    embedding_learning_rate: float = 5e-5
    schedule: str = "constant"
    warmup: float = 0.0
    weight_decay: float = 0.1
    label_smoothing: float = 0.0
    grad_clip: float = 1.0
    validate_every: int = 0
    keep: str = "last"
    patience: int = 0
    mix: float = 1.0
    threshold: float = 0.5
    flag_at_most: float = 1.0
    precision: str = "auto"
    split_seed: int = 0
    seed: int = 0

    def problems(self) -> list[str]:
        least = {"rank": 1, "epochs": 1, "batch_size": 1, "accumulate": 1, "validate_every": 0,
                 "patience": 0, "split_seed": 0, "seed": 0}  # fmt: skip
        found = [
            f"{name} must be at least {minimum}, not {getattr(self, name)!r}"
            for name, minimum in least.items()
            if getattr(self, name) < minimum
        ]
        found += [
            f"{name} must be positive, not {getattr(self, name)!r}"
            for name in ("learning_rate", "embedding_learning_rate", "grad_clip")
            if not getattr(self, name) > 0
        ]
        found += [
            f"{name} must be in [0, 1), not {getattr(self, name)!r}"
            for name in ("label_smoothing", "warmup")
            if not 0 <= getattr(self, name) < 1
        ]
        found += [
            f"{name} must be in (0, 1], not {getattr(self, name)!r}"
            for name in ("balance_ratio", "mix")
            if not 0 < getattr(self, name) <= 1
        ]
        found += [
            f"{name} must be in [0, 1], not {getattr(self, name)!r}"
            for name in ("threshold", "flag_at_most")
            if not 0 <= getattr(self, name) <= 1
        ]
        if not self.weight_decay >= 0:
            found.append(f"weight_decay must not be negative, not {self.weight_decay!r}")
        for name, table in CHOICES.items():
            if getattr(self, name) not in table:
                found.append(
                    f"unknown {name} {getattr(self, name)!r}; choose from {', '.join(table)}"
                )
        return found or self._contradictions()

    def _contradictions(self) -> list[str]:
        """Choices that are fine alone but not together."""
        found = []
        if self.position == "last_column" and self.padding in ("dynamic", "none"):
            found.append(
                "the last column of a batch is only the same for a message in every batch with "
                "padding longest or full_context; choose one of them, or position last_token"
            )
        if self.mix < 1 and self.layers not in TRAINABLE:
            found.append(f"mix needs weights to mix, and layers {self.layers} leaves them alone")
        if self.layers != NOTHING and BALANCERS[self.balance].kind == "points":
            choose = ", ".join(name for name, b in BALANCERS.items() if b.kind != "points")
            found.append(
                f"{self.balance} invents points, which have no text; use it with layers none (the "
                f"feature-based approach), or choose from {choose}"
            )
        return found


CHOICES: dict[str, Any] = {
    "weights": WEIGHTS,
    "layers": LAYERS,
    "head": HEADS,
    "position": POSITIONS,
    "padding": PADDINGS,
    "balance": BALANCERS,
    "schedule": SCHEDULES,
    "keep": KEEP,
    "precision": PRECISIONS,
}

# What suits a base better than the lecture's settings. See docs/gpt2-mini.md.
SETTINGS: dict[str, dict[str, Any]] = {
    MINI: {
        "layers": "all",
        "balance": "oversample",
        "balance_ratio": 0.5,
        "epochs": 4,
        "batch_size": 32,
        "learning_rate": 6e-4,
        "embedding_learning_rate": 2e-4,
        "schedule": "one_cycle",
        "weight_decay": 0.05,
        "label_smoothing": 0.02,
        "mix": 0.6,
    },
}


def settings_for(base: str, **chosen: Any) -> TrainConfig:  # noqa: ANN401
    """The settings that suit ``base``, with some of them ``chosen`` by the user.

    Raises:
        TuneshotError: a choice that is not allowed.
    """
    usual = SETTINGS.get(base, {})
    if chosen.get("layers", usual.get("layers")) not in TRAINABLE:
        usual = {name: value for name, value in usual.items() if name != "mix"}
    return TrainConfig(**{**usual, **chosen})
