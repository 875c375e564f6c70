"""The sizes of a GPT: gpt2-mini and the four published ones."""

from dataclasses import dataclass

from clfcore.config import Checked


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
        sizes = ("vocab_size", "context_length", "emb_dim", "n_heads", "n_layers")
        found = [
            f"{name} must be a positive integer, not {getattr(self, name)!r}"
            for name in sizes
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1
        ]
        if not found and self.emb_dim % self.n_heads:
            found.append(f"emb_dim {self.emb_dim} is not divisible by n_heads {self.n_heads}")
        if not 0 <= self.drop_rate < 1:
            found.append(f"drop_rate must be in [0, 1), not {self.drop_rate!r}")
        return found


MINI = "gpt2-mini"

# One row per model of the lecture, and the small one this project bundles.
GPT_PRESETS: dict[str, GPTConfig] = {
    MINI: GPTConfig(context_length=256, emb_dim=256, n_heads=4, n_layers=4),
    "gpt2": GPTConfig(emb_dim=768, n_heads=12, n_layers=12),
    "gpt2-medium": GPTConfig(emb_dim=1024, n_heads=16, n_layers=24),
    "gpt2-large": GPTConfig(emb_dim=1280, n_heads=20, n_layers=36),
    "gpt2-xl": GPTConfig(emb_dim=1600, n_heads=25, n_layers=48),
}
