"""Every choice of instruction tuning, in one frozen dataclass; and good ones for what learns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clfcore.config import SHARE_ABOVE_0, at_least, setting
from clfcore.model.adapters import ADAPTERS
from clfcore.model.trainable import TRAINABLE
from clfcore.training.settings import LOOP, MODEL, LoopConfig

ABOUT = "tuning.json"  # what a tuned model says of itself, in its folder
TUNED = "a tuned language model"

OBJECTIVES = {
    "label_words": "the words of the label, as they stand in the prompt's examples",
}
# The vocabulary head is not new and stays as it is, so ``last_layer`` would train nothing; and a
# soft prompt could not be part of a folder that every program opens.
LAYERS: Mapping[str, Any] = {
    **{name: parts for name, parts in TRAINABLE.items() if name != "last_layer"},
    **{name: adapter for name, adapter in ADAPTERS.items() if adapter.merges},
}


@dataclass(frozen=True, slots=True)
class InstructionConfig(LoopConfig):
    """How a language model is tuned to write answers."""

    objective: str = setting(
        "label_words", "What it learns to write.", MODEL, choices=tuple(OBJECTIVES)
    )
    layers: str = setting(
        "last_four_blocks",
        "Which weights learn: those of these layers, or an adapter, which is merged in the end.",
        MODEL,
        choices=LAYERS,
    )
    rank: int = setting(16, "The rank of a low-rank adapter.", MODEL, bound=at_least(1))
    balance_ratio: float = setting(
        0.5,
        "Rare answers are shown again until there are as many of them as this share of the "
        "commonest.",
        LOOP,
        bound=SHARE_ABOVE_0,
    )


# What suits the layers that learn; the rest of the run is as in ``USUAL``.
USUAL: dict[str, Any] = {
    "epochs": 3,
    "least_steps": 100,
    "schedule": "cosine",
    "warmup": 0.1,
    "weight_decay": 0.0,
    "keep": "best",
    "learning_rate": 1e-3,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "last_block": {"learning_rate": 3e-4},
    "last_two_blocks": {"learning_rate": 3e-4},
    "last_four_blocks": {"learning_rate": 2e-4},
    "all": {"learning_rate": 5e-5, "embedding_learning_rate": 5e-5},
    "lora": {"learning_rate": 5e-4},
    "qlora": {"learning_rate": 5e-4},
}


def instruction_settings(**choices: Any) -> InstructionConfig:  # noqa: ANN401
    """The settings that suit the layers, but for the user's ``choices``.

    Raises:
        TuneshotError: a choice that is not allowed.
    """
    layers = choices.get("layers", InstructionConfig().layers)
    return InstructionConfig(**{**USUAL, **SETTINGS.get(layers, {}), **choices})
