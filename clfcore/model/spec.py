"""What a classifier is, its weights aside: the size of its GPT, how it reads, its adapter.

These records travel with a checkpoint. Nothing here imports torch, so that a checkpoint can be
described, and a wrong setting refused, at once.
"""

from dataclasses import dataclass
from threading import RLock

from clfcore.config import Checked
from clfcore.errors import unknown_choice
from clfcore.json_text import shortened_repr

# While transformers makes a model, it takes the functions of ``torch.nn.init`` away from all
# threads, and changes the type that tensors have where none is given: weights that another one
# makes meanwhile would stay what the memory held, or be bfloat16.
MAKING = RLock()

END_OF_TEXT = 50256  # GPT-2's only special token
MOST_LAYERS = 1000  # the deepest published models have fewer than 200


@dataclass(frozen=True, slots=True)
class GPTConfig(Checked):
    """The shape of a GPT-2 (Radford et al. 2019, table 2), named as in the lecture."""

    vocab_size: int = 50257
    context_length: int = 1024
    emb_dim: int = 768
    n_heads: int = 12
    n_layers: int = 12
    drop_rate: float = 0.0
    qkv_bias: bool = True

    def problems(self) -> list[str]:
        given = self.to_dict()
        problems = [
            f"{name} must be a positive integer, not {shortened_repr(given[name])}"
            for name in ("vocab_size", "context_length", "emb_dim", "n_heads", "n_layers")
            if type(given[name]) is not int or given[name] < 1
        ]
        if not problems and self.emb_dim % self.n_heads:
            problems.append(f"emb_dim {self.emb_dim} is not divisible by n_heads {self.n_heads}")
        if not problems and self.n_layers > MOST_LAYERS:
            problems.append(f"n_layers must be at most {MOST_LAYERS:,}, not {self.n_layers:,}")
        rate = given["drop_rate"]
        if type(rate) not in (int, float) or not 0 <= rate < 1:
            problems.append(f"drop_rate must be in [0, 1), not {shortened_repr(rate)}")
        if type(given["qkv_bias"]) is not bool:
            problems.append(
                f"qkv_bias must be true or false, not {shortened_repr(given['qkv_bias'])}"
            )
        return problems


MINI = "gpt2-mini"

# One row per model of the lecture, and the small one this project bundles.
GPT_PRESETS: dict[str, GPTConfig] = {
    MINI: GPTConfig(context_length=256, emb_dim=256, n_heads=4, n_layers=4),
    "gpt2": GPTConfig(emb_dim=768, n_heads=12, n_layers=12),
    "gpt2-medium": GPTConfig(emb_dim=1024, n_heads=16, n_layers=24),
    "gpt2-large": GPTConfig(emb_dim=1280, n_heads=20, n_layers=36),
    "gpt2-xl": GPTConfig(emb_dim=1600, n_heads=25, n_layers=48),
}


# --- how a message is read ----------------------------------------------------------------------

# Which position the head reads. "last_column" is the book's: the last column of a padded batch,
# so padding is part of the message; the others never look at padding.
POSITIONS = ("last_token", "last_column", "first", "mean")


@dataclass(frozen=True, slots=True)
class Reading(Checked):
    """How a message becomes one vector.

    Attributes:
        position: one of ``POSITIONS``.
        pad_to: messages are padded or cut to this many tokens, and the padding is read (position
            ``last_column`` only).
        causal: keep GPT's mask; without it every token sees the whole message.
    """

    position: str = "last_token"
    pad_to: int | None = None
    causal: bool = True

    def problems(self) -> list[str]:
        problems = []
        if self.position not in POSITIONS:
            problems.append(str(unknown_choice("position", self.position, POSITIONS)))
        if (self.pad_to is None) == (self.position == "last_column"):
            problems.append("pad_to belongs to the position last_column, and it needs one")
        given = self.to_dict()
        if self.pad_to is not None and (type(given["pad_to"]) is not int or self.pad_to < 1):
            problems.append(f"pad_to must be a positive integer, not {shortened_repr(self.pad_to)}")
        if type(given["causal"]) is not bool:
            problems.append(f"causal must be true or false, not {shortened_repr(self.causal)}")
        return problems

    def limit(self, context_length: int) -> int:
        """Most tokens of a message: where padding is read, messages are cut there, as in the book.

        Args:
            context_length: most tokens that the model takes.
        """
        return min(context_length, self.pad_to or context_length)

    def tokens(self, ids: list[int], context_length: int) -> list[int]:
        """``ids`` as they are read: cut to ``limit``, padded where padding is read."""
        kept = ids[: self.limit(context_length)]
        return kept + [END_OF_TEXT] * ((self.pad_to or 0) - len(kept))


@dataclass(frozen=True, slots=True)
class AdapterSpec:
    """The arguments of ``adapt``, from which the same adapter can be made again; see there."""

    name: str
    rank: int
    total_steps: int
    seed: int


VIRTUAL_TOKENS = 20  # of a soft prompt: from here on longer ones gain little (Lester et al. 2021)
