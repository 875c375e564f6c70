"""Every choice of a pretraining run and of sampling, as frozen dataclasses; good ones by base."""

from dataclasses import dataclass
from typing import Any

from clfcore.config import SHARE_BELOW_1, Checked, at_least, setting
from clfcore.data.columns import MESSAGES
from clfcore.model.spec import MINI
from clfcore.training.settings import LOOP, MODEL, LoopConfig

ABOUT = "pretraining.json"  # what a pretrained model says of itself, in its folder
PRETRAINED = "a pretrained language model"

STARTS = ("pretrained", "random")
DOCUMENTS = {
    "row": "a row of a table, a line of a text",
    "paragraph": "what stands between empty lines",
    "file": "a whole file",
}
WRITING = "How it writes"  # a heading of --help
LONGEST_USUAL_BLOCK = 256  # tokens; attention, and the memory it takes, grow with their square


@dataclass(frozen=True, slots=True)
class PretrainingConfig(LoopConfig):
    """How a language model learns to predict the next token."""

    weights: str = setting(
        "pretrained",
        "What learning starts from: what the base has learned before, or random numbers.",
        MODEL,
        choices=STARTS,
    )
    block: int = setting(
        0,
        "Tokens that are read together; 0: as many as the base reads, at most "
        f"{LONGEST_USUAL_BLOCK}.",
        LOOP,
        bound=at_least(0),
    )
    batch_size: int = setting(8, "Blocks in one pass.", LOOP, bound=at_least(1))
    document: str = setting(
        "row",
        "What one document is, after which the end-of-text token stands: a row of a table or line "
        "of a text, what stands between empty lines, or a whole file.",
        MESSAGES,
        choices=DOCUMENTS,
    )
    held_out: float = setting(
        0.1,
        "Share of the documents that perplexity is measured on. Labelled messages are split as clf "
        "train splits them, and their test part is not read at all.",
        MESSAGES,
        bound=SHARE_BELOW_1,
    )
    split_seed: int = setting(0, "The seed of the split.", MESSAGES, bound=at_least(0))

    def contradictions(self) -> list[str]:
        return [] if self.held_out else ["held_out must be in (0, 1), not 0"]


# What suits the start; the rest of the run is as in ``_USUAL``.
_USUAL: dict[str, Any] = {
    "epochs": 10,
    "schedule": "cosine",
    "warmup": 0.1,
    "keep": "best",
    "learning_rate": 1e-3,
    "embedding_learning_rate": 1e-3,
}
_LEARNED: dict[str, Any] = {"learning_rate": 5e-5, "embedding_learning_rate": 5e-5, "epochs": 3}


def pretraining_settings(base: str, **choices: Any) -> PretrainingConfig:  # noqa: ANN401
    """The settings that suit ``base``, but for the user's ``choices``.

    gpt2-mini has never predicted a token and learns as one of random weights does; what has
    learned to write before is changed carefully.

    Raises:
        TuneshotError: a choice that is not allowed.
    """
    new = base == MINI or choices.get("weights") == "random"
    return PretrainingConfig(**{**_USUAL, **({} if new else _LEARNED), **choices})


@dataclass(frozen=True, slots=True)
class SampleConfig(Checked):
    """How text is drawn from a language model."""

    tokens: int = setting(100, "Tokens to write, at most.", WRITING, bound=at_least(1))
    temperature: float = setting(
        1.0,
        "What logits are divided by: below 1 likely tokens become likelier, at 0 the likeliest is "
        "taken.",
        WRITING,
        bound=at_least(0),
    )
    top_k: int = setting(
        50,
        "How many of the likeliest tokens are drawn from (Fan et al. 2018); 0: all.",
        WRITING,
        bound=at_least(0),
    )
    seed: int = setting(0, "The same seed writes the same text.", WRITING, bound=at_least(0))
