"""Every choice of an alignment, in one frozen dataclass."""

from dataclasses import dataclass

from clfcore.config import FINITE, Bound, at_least, setting
from clfcore.model.precision import PRECISIONS
from clfcore.training.settings import LOOP, MODEL, RUN, SCHEDULES, LoopConfig

# Of the loop's settings, those without a meaning here: an adapter learns, nothing is kept or
# stopped by the held-out pairs, and no pair is shown more often.
FIXED = ("embedding_learning_rate", "keep", "patience", "least_steps")


@dataclass(frozen=True, slots=True)
class AlignConfig(LoopConfig):
    """How a language model is aligned by direct preference optimisation with LoRA."""

    beta: float = setting(
        0.1,
        "How much a log-probability that moves away from the reference's counts (Rafailov et al. "
        "2023); with a larger one, the model needs to move less.",
        MODEL,
        bound=FINITE,
    )
    rank: int = setting(16, "The rank of the adapter (LoRA).", MODEL, bound=at_least(1))
    held_out: float = setting(
        0.35,
        "Share of the topics whose pairs are never learned from, rounded up.",
        RUN,
        bound=Bound("in (0, 1)", lambda number: 0 < number < 1),
    )

    epochs: int = setting(3, "Passes over the pairs.", LOOP, bound=at_least(1))
    batch_size: int = setting(8, "Pairs in one step's pass.", LOOP, bound=at_least(1))
    learning_rate: float = setting(5e-4, "Peak learning rate.", LOOP, bound=FINITE)
    schedule: str = setting(
        "cosine", "How the learning rate moves; see clf train.", LOOP, choices=SCHEDULES
    )
    warmup: float = setting(0.1, "Share of the steps on the way up.", LOOP, bound=at_least(0))
    weight_decay: float = setting(0.0, "Of matrices only.", LOOP, bound=at_least(0))
    precision: str = setting(
        "float32",
        "How precise matrix products are; differences of log-probabilities are small.",
        LOOP,
        choices=PRECISIONS,
    )

    def contradictions(self) -> list[str]:
        if (self.keep, self.patience) == ("last", 0):
            return []
        return ["held-out pairs only measure: keep must be last, and patience 0"]
