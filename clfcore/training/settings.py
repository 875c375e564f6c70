"""Every choice of a training run, in one frozen dataclass; and good choices for each base."""

from collections import ChainMap
from dataclasses import dataclass
from typing import Any

from clfcore.config import (
    FINITE,
    POSITIVE,
    SHARE,
    SHARE_ABOVE_0,
    SHARE_BELOW_1,
    Checked,
    at_least,
    setting,
)
from clfcore.data.balance import BALANCERS
from clfcore.errors import TuneshotError
from clfcore.model.adapters import ADAPTERS, UNSUITED
from clfcore.model.heads import HEADS
from clfcore.model.precision import PRECISIONS
from clfcore.model.spec import MINI, POSITIONS
from clfcore.model.trainable import TRAINABLE

WEIGHTS = ("pretrained", "distilled", "random")
PADDINGS = ("dynamic", "longest", "full_context", "none")
SCHEDULES = ("one_cycle", "linear", "cosine", "constant")
KEPT_WEIGHTS = ("best", "last")
NOTHING = "none"  # of ``layers``: the trunk only makes vectors, the feature-based approach
FULL_PRECISION = "none"  # of ``qat``
QAT = (FULL_PRECISION, "ternary", "binary")  # keys of ``SCHEMES`` that are made to be trained
LAYERS = ChainMap[str, Any]({NOTHING: None}, ADAPTERS, TRAINABLE)  # in the reverse of this order
# What the lecture's slides call three of them.
LECTURE_NAMES = {"feature_based": NOTHING, "finetuning_1": "last_block", "finetuning_2": "all"}

# The headings of ``clf train --help``.
MODEL, LOOP, RUN = "What learns", "How it learns", "The run"


@dataclass(frozen=True, slots=True)
class LoopConfig(Checked):
    """How the training loop learns, whatever it is that is learned."""

    epochs: int = setting(5, "Passes over the training part.", LOOP, bound=at_least(1))
    batch_size: int = setting(8, "Messages in one pass.", LOOP, bound=at_least(1))
    accumulate: int = setting(1, "Passes a step.", LOOP, bound=at_least(1))
    least_steps: int = setting(
        1,
        "Few messages are shown in more epochs, until there are so many steps (Mosbach et al. "
        "2021).",
        LOOP,
        bound=at_least(1),
    )
    learning_rate: float = setting(5e-5, "Peak learning rate.", LOOP, bound=FINITE)
    embedding_learning_rate: float = setting(
        5e-5,
        "Peak learning rate of the token embedding, which knows more than it can learn here.",
        LOOP,
        bound=FINITE,
    )
    schedule: str = setting(
        "constant",
        "How the learning rate moves: one_cycle (Smith & Topin 2017), or a warm-up followed by a "
        "line to zero, by half a cosine to zero, or by a constant.",
        LOOP,
        choices=SCHEDULES,
    )
    warmup: float = setting(
        0.0,
        "Share of the steps on the way up; one_cycle has its own.",
        LOOP,
        bound=SHARE_BELOW_1,
    )
    weight_decay: float = setting(
        0.1, "Of matrices only (AdamW, Loshchilov & Hutter 2019).", LOOP, bound=at_least(0)
    )
    grad_clip: float = setting(1.0, "Largest gradient norm.", LOOP, bound=POSITIVE)
    validate_every: int = setting(
        0, "Steps between two validations; 0: once an epoch.", LOOP, bound=at_least(0)
    )
    keep: str = setting(
        "last",
        "Which weights are kept: those with the smallest validation loss, or the last.",
        LOOP,
        choices=KEPT_WEIGHTS,
    )
    patience: int = setting(
        0, "Stop after so many validations without a gain; 0: never.", LOOP, bound=at_least(0)
    )
    precision: str = setting("auto", "How precise matrix products are.", LOOP, choices=PRECISIONS)
    seed: int = setting(0, "The seed of everything else that is random.", RUN, bound=at_least(0))


@dataclass(frozen=True, slots=True)
class TrainConfig(LoopConfig):
    """How to fine-tune. The defaults are the lecture's, but for the position that is read."""

    weights: str = setting(
        "pretrained",
        "What learning starts from: what the base has learned before; of gpt2-mini also distilled, "
        "made anew of the training messages, which takes minutes; or random numbers.",
        MODEL,
        choices=WEIGHTS,
    )
    layers: str = setting(
        "last_block",
        "Which weights learn: those of these layers, an adapter, or none. With none the trunk only "
        "makes vectors, and scikit-learn fits a head to them. The lecture's names are allowed, "
        f"too: {', '.join(f'{slide} ({ours})' for slide, ours in LECTURE_NAMES.items())}.",
        MODEL,
        choices=LAYERS,
    )
    head: str = setting(
        "logistic", "The head with layers none; all others have a linear one.", MODEL, choices=HEADS
    )
    fit_head_first: bool = setting(
        False,
        "Start from a head that is fitted to the trunk's vectors of the training messages, not "
        "from an undecided one (LP-FT, Kumar et al. 2022). Worth it with few messages of each "
        "label.",
        MODEL,
        option="--fit-head-first/--no-fit-head-first",
    )
    rank: int = setting(16, "The rank of a low-rank adapter.", MODEL, bound=at_least(1))
    qat: str = setting(
        FULL_PRECISION,
        "Quantization-aware training of a GPT-2: the matrices of its blocks learn as weights of "
        "three or two values, activations have 8 bits, and the checkpoint stores them so (BitNet, "
        "Ma et al. 2024).",
        MODEL,
        choices=QAT,
    )
    position: str = setting(
        "last_token", "Which position the head reads.", MODEL, choices=POSITIONS
    )
    causal: bool = setting(
        True, "Keep GPT's causal mask.", MODEL, option="--causal-mask/--no-causal-mask"
    )
    padding: str = setting(
        "dynamic",
        "How wide a batch is: its longest message, the longest training message, the whole "
        "context, or no padding at all (messages of equal length only).",
        LOOP,
        choices=PADDINGS,
    )
    balance: str = setting(
        "undersample",
        "What is done about rare labels, in the training part only; those that invent points need "
        "layers none.",
        LOOP,
        choices=BALANCERS,
    )
    balance_ratio: float = setting(
        1.0, "Rare labels are brought to this share of the commonest.", LOOP, bound=SHARE_ABOVE_0
    )
    practice: int = setting(
        0,
        "Texts that are made of the training messages; it learns to answer them as logistic "
        "regression on sentence vectors does, and half of each message's target is that "
        "regression's too (Hinton et al. 2015).",
        LOOP,
        bound=at_least(0),
    )
    label_smoothing: float = setting(
        0.0, "Share of the target spread over all labels.", LOOP, bound=SHARE_BELOW_1
    )
    mix: float = setting(
        1.0,
        "Share of the fine-tuned weights in the result, the rest is the trunk as it was before "
        "(WiSE-FT, Wortsman et al. 2022).",
        LOOP,
        bound=SHARE_ABOVE_0,
    )
    threshold: float = setting(
        0.5, "Of two labels, probability from which the second is answered.", LOOP, bound=SHARE
    )
    flag_at_most: float = setting(
        1.0,
        "Choose the threshold: the smallest with which at most this share of the first label's "
        "messages in the validation part is answered with the second. 1: take --threshold.",
        LOOP,
        bound=SHARE,
    )
    split_seed: int = setting(
        0, "Which messages are for training, validation and test.", RUN, bound=at_least(0)
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", LECTURE_NAMES.get(self.layers, self.layers))
        if self.layers in UNSUITED:
            raise TuneshotError(UNSUITED[self.layers])
        LoopConfig.__post_init__(self)

    def contradictions(self) -> list[str]:
        with_texts = ", ".join(name for name, b in BALANCERS.items() if b.kind != "points")
        rules = (
            (
                self.qat == FULL_PRECISION or (self.layers == "all" and self.mix == 1),
                f"qat {self.qat} rounds the weights while they learn, all of them; it goes with "
                "layers all and mix 1",
            ),
            (
                self.position != "last_column" or self.padding in ("longest", "full_context"),
                "the last column of a batch is only the same for a message in every batch with "
                "padding longest or full_context; choose one of them, or position last_token",
            ),
            (
                not self.practice or self.layers != NOTHING,
                "practice texts are for layers that learn; choose some, or practice 0",
            ),
            (
                self.mix == 1 or self.layers in TRAINABLE,
                f"mix needs weights to mix, and layers {self.layers} leaves them alone",
            ),
            (
                self.layers == NOTHING or BALANCERS[self.balance].kind != "points",
                f"{self.balance} invents points, which have no text; use it with layers none (the "
                f"feature-based approach), or choose from {with_texts}",
            ),
        )
        return [sentence for holds, sentence in rules if not holds]


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


def settings_for(base: str, **choices: Any) -> TrainConfig:  # noqa: ANN401
    """The settings that suit ``base``, but for the user's ``choices``.

    Raises:
        TuneshotError: a choice that is not allowed.
    """
    usual = SETTINGS.get(base, {})
    layers = str(choices.get("layers", usual.get("layers")))
    rounded = choices.get("qat", FULL_PRECISION) != FULL_PRECISION
    if rounded or LECTURE_NAMES.get(layers, layers) not in TRAINABLE:
        usual = {name: value for name, value in usual.items() if name != "mix"}
    return TrainConfig(**{**usual, **choices})
