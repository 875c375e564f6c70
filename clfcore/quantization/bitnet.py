"""Three levels, or two: BitNet's weights.

One scale for the whole matrix, the mean of its absolute values (absmean). It is no largest value:
an outlier becomes 1 like any other large weight, and most of its size is lost.

Models trained so lose little (``learning.py``). What was trained otherwise and rounded afterwards
loses more; see docs/labs/quantization.md.
"""

from typing import TYPE_CHECKING

from clfcore.quantization.quantized import Quantized
from clfcore.quantization.uniform import storable

if TYPE_CHECKING:
    from torch import Tensor


def ternary(weights: "Tensor") -> Quantized:
    """Codes −1, 0, 1: 1.58 = log2(3) bits (BitNet b1.58, Ma et al. 2024, eq. 1 – 3).

    Weights that are ternary already keep their scale, and so stay what they are.

    Args:
        weights: (rows, columns) float32.
    """
    magnitudes = weights.abs()  # (rows, columns)
    largest = magnitudes.max()
    is_ternary = bool(((magnitudes == 0) | (magnitudes == largest)).all())
    scale = storable(largest if is_ternary else magnitudes.mean())  # γ, ()
    codes = (weights / scale).round().clamp(-1, 1)  # (rows, columns)
    return Quantized(codes.char(), {"scale": scale.half().reshape(1)})


def from_ternary(quantized: Quantized) -> "Tensor":
    """−γ, 0, γ: (rows, columns) float32."""
    return quantized.codes.float() * quantized.scales["scale"].float()


def binary(weights: "Tensor") -> Quantized:
    """Code 1 for weights above the mean, else 0: one bit (BitNet, Wang et al. 2023, eq. 1 – 3, 12).

    Args:
        weights: (rows, columns) float32.
    """
    scale = storable(weights.abs().mean())  # β, ()
    codes = weights > weights.mean()  # (rows, columns)
    return Quantized(codes.byte(), {"scale": scale.half().reshape(1)})


def from_binary(quantized: Quantized) -> "Tensor":
    """−β for code 0, β for code 1: (rows, columns) float32."""
    return (2 * quantized.codes.float() - 1) * quantized.scales["scale"].float()
