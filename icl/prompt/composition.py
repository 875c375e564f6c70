"""Composing functions: how many values one layer of attention can keep apart, at most.

Peng, Narayanan & Papadimitriou 2024 (arXiv 2402.08164, theorem 1): a function g on n values needs
n log n bits to be told; a layer passes on H (d + 1) p of them. What does not fit is guessed, so
f(g(x)) is wrong for some x. The bound is of one layer, whatever it has learned: a model may fail
long before.
"""

import math
from dataclasses import dataclass

from clfcore.config import DEFAULT_LM
from clfcore.model.spec import GPT_PRESETS


@dataclass(frozen=True, slots=True)
class Layer:
    """The sizes of one layer of attention.

    Attributes:
        heads: H.
        width: d, of the embedding.
        precision: p, bits of a number.
    """

    heads: int
    width: int
    precision: int = 16

    @property
    def bits(self) -> int:
        """What it passes on to the position that answers: H (d + 1) p."""
        return self.heads * (self.width + 1) * self.precision

    @property
    def largest_domain(self) -> int:
        """The most values n with n log n <= H (d + 1) p: from n + 1 on, it must fail somewhere."""
        low, high = 1, self.bits + 2  # n log n > n from 3 on
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if bits_of(middle) <= self.bits else (low, middle)
        return low

    def least_error(self, domain: int) -> float:
        """The share of all functions and questions that it answers wrongly, at least.

        R / (3 n log n), where R = n log n - H (d + 1) p bits are missing.
        """
        needed = bits_of(domain)
        return max(0.0, needed - self.bits) / (3 * needed) if needed else 0.0


def bits_of(domain: int) -> float:
    """What tells a function from ``domain`` values to as many: n log₂ n bits."""
    return domain * math.log2(domain)


# Heads and width of each layer.
LAYERS: dict[str, Layer] = {
    **{name: Layer(cfg.n_heads, cfg.emb_dim) for name, cfg in GPT_PRESETS.items()},
    DEFAULT_LM: Layer(9, 576),
    "GPT-3 175B": Layer(96, 12288),  # Brown et al. 2020, table 2.1
}
