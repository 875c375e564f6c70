"""Evenly spaced levels: symmetric quantization as in the lecture, and the asymmetric one.

The slide multiplies by s = (2^(b−1) − 1) / a, rounds, and divides by s again; a is the largest
absolute weight. It calls b a number of bytes, but it is one of *bits*: 8 bits give s = 127 / a.

A weight changes by half a step at most, and the step is 1 / s. It is what we store, as 16 bits, and
it is rounded to these before anything is divided by it.

``a`` is that of each row. One outlier then spoils its row, and not the whole matrix.
"""

from typing import TYPE_CHECKING

from clfcore.errors import TuneshotError
from clfcore.quantization.quantized import Quantized

if TYPE_CHECKING:
    from torch import Tensor

_LEAST_STEP = 6e-8  # the least that 16 bits hold above zero


def symmetric(weights: "Tensor", bits: int = 8, rows: bool = True) -> Quantized:
    """Codes from −(2^(b−1) − 1) to 2^(b−1) − 1; zero stays zero.

    Args:
        weights: (rows, columns) float32.
        bits: b, from 2 to 8.
        rows: a step for each row; else one for all.

    Raises:
        TuneshotError: another number of bits.
    """
    largest = 2 ** (_checked(bits, 2) - 1) - 1  # 127 for 8 bits
    magnitudes = weights.abs()
    a = magnitudes.amax(dim=1, keepdim=True) if rows else magnitudes.amax().reshape(1, 1)
    step = storable(a.clamp(min=1e-6) / largest)  # (rows, 1) or (1, 1)
    codes = (weights / step).round().clamp(-largest, largest)  # (rows, columns)
    return Quantized(codes.char(), {"scale": step.half().flatten()})


def from_symmetric(quantized: Quantized) -> "Tensor":
    """Codes times the step: (rows, columns) float32."""
    return quantized.codes.float() * quantized.scales["scale"].float()[:, None]


def asymmetric(weights: "Tensor", bits: int = 8) -> Quantized:
    """Codes from 0 to 2^b − 1, from the least weight of a row to its largest.

    No code is wasted where weights lie on one side of zero. One code is zero itself, the zero
    point, so that zero stays zero (Jacob et al. 2018, eq. 1).

    Args:
        weights: (rows, columns) float32.
        bits: b, from 1 to 8.

    Raises:
        TuneshotError: another number of bits.
    """
    highest = 2 ** _checked(bits, 1) - 1  # 255 for 8 bits
    low = weights.amin(dim=1, keepdim=True).clamp(max=0)  # (rows, 1)
    high = weights.amax(dim=1, keepdim=True).clamp(min=0)  # (rows, 1)
    step = storable((high - low) / highest)  # (rows, 1)
    zero = (-low / step).round().clamp(0, highest)  # (rows, 1)
    codes = ((weights / step).round() + zero).clamp(0, highest)  # (rows, columns)
    scales = {"scale": step.half().flatten(), "zero": zero.byte().flatten()}
    return Quantized(codes.byte(), scales)


def from_asymmetric(quantized: Quantized) -> "Tensor":
    """Codes minus the zero point, times the step: (rows, columns) float32."""
    scale, zero = (quantized.scales[name].float()[:, None] for name in ("scale", "zero"))
    return (quantized.codes.float() - zero) * scale


def round_activations(x: "Tensor", bits: int = 8) -> "Tensor":
    """Activations as a quantized layer sees them: each token's vector on a grid of its own.

    The slide's three lines as they stand there. BitNet quantizes activations so (Ma et al. 2024,
    section 2), in 8 bits; they are made anew for each message, so nothing is stored.

    Args:
        x: (…, C) float.
        bits: from 2 to 8.

    Returns:
        The same shape.

    Raises:
        TuneshotError: another number of bits.
    """
    largest = 2 ** (_checked(bits, 2) - 1) - 1
    s = largest / x.abs().amax(dim=-1, keepdim=True).clamp(min=1e-5)  # (…, 1)
    return (x * s).round() / s  # (…, C)


def storable(scale: "Tensor") -> "Tensor":
    """A scale, rounded to the 16 bits in which it is stored; never 0, as it divides.

    Raises:
        TuneshotError: it is too large for 16 bits.
    """
    rounded = scale.half().float().clamp(min=_LEAST_STEP)
    if rounded.isinf().any():
        raise TuneshotError(
            f"a scale of {scale.max():.3g} does not fit into 16 bits; the weights are damaged, "
            "or larger than those of any model"
        )
    return rounded


def _checked(bits: int, least: int) -> int:
    if not least <= bits <= 8:
        raise TuneshotError(
            f"bits must be {least} to 8, not {bits}; of 1 bit, see the scheme binary"
        )
    return bits
