"""Every choice of a comparison of remedies, in one frozen dataclass; and what suits a base."""

from dataclasses import dataclass
from typing import Any

from clfcore.config import FINITE, Checked, at_least, setting
from clfcore.data.columns import MESSAGES
from clfcore.model.precision import PRECISIONS
from clfcore.model.spec import MINI
from clfcore.training.settings import LOOP


@dataclass(frozen=True, slots=True)
class ForgettingConfig(Checked):
    """What is learned, and how often it is measured; the same for all remedies."""

    messages: int = setting(
        192, "Messages of the new task to learn from.", MESSAGES, bound=at_least(2)
    )
    test: int = setting(
        100, "Messages of the new task that its accuracy is measured on.", MESSAGES,
        bound=at_least(2),
    )  # fmt: skip
    measured: int = setting(
        40,
        "Texts in each set that perplexity is measured on; messages of the old task.",
        MESSAGES,
        bound=at_least(1),
    )
    questions: int = setting(
        30, "Questions of the other task, asked with four examples.", MESSAGES, bound=at_least(2)
    )
    epochs: int = setting(1, "Passes over the messages.", LOOP, bound=at_least(1))
    batch_size: int = setting(8, "Messages in a step.", LOOP, bound=at_least(1))
    learning_rate: float = setting(
        1e-4, "Learning rate; a remedy may take a multiple of it.", LOOP, bound=FINITE
    )
    every: int = setting(4, "Steps between two measurements.", LOOP, bound=at_least(1))
    rank: int = setting(16, "The rank of LoRA.", LOOP, bound=at_least(1))
    precision: str = setting("auto", "How precise matrix products are.", LOOP, choices=PRECISIONS)


# What suits a base better than the settings of a language model.
SETTINGS: dict[str, dict[str, Any]] = {
    MINI: {
        "messages": 120,
        "test": 60,
        "measured": 200,
        "epochs": 2,
        "learning_rate": 1e-3,
        "every": 5,
    },
}


def forgetting_settings(base: str, **choices: Any) -> ForgettingConfig:  # noqa: ANN401
    """The settings that suit ``base``, but for the user's ``choices``.

    Raises:
        TuneshotError: a choice that is not allowed.
    """
    return ForgettingConfig(**{**SETTINGS.get(base, {}), **choices})
