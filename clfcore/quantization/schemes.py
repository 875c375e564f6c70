"""Every way of quantizing a weight matrix: one literal table.

A scheme turns a matrix into codes, which are few, and scales (``quantize``), and back into floats
near the old ones (``dequantize``). Its maths is a few lines in ``uniform.py``, ``normal_float.py``
or ``bitnet.py``; ``packing.py`` puts several codes into a byte.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from clfcore.errors import TuneshotError
from clfcore.quantization.bitnet import binary, from_binary, from_ternary, ternary
from clfcore.quantization.normal_float import BLOCK, SCALES_BLOCK, blocks_of, from_nf4, nf4
from clfcore.quantization.quantized import Quantized
from clfcore.quantization.uniform import asymmetric, from_asymmetric, from_symmetric, symmetric

if TYPE_CHECKING:
    from torch import Tensor

# Name of a scale -> its type, as safetensors calls it, and its length.
Scales = Mapping[str, tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Scheme:
    """A row of the table.

    Attributes:
        title: what it is, for people.
        lowest: the least code.
        highest: the largest one.
        quantize: (rows, columns) float32 of finite numbers -> codes and scales.
        dequantize: the way back, (rows, columns) float32.
        scales: rows, columns -> what ``Quantized.scales`` holds of such a matrix.
    """

    title: str
    lowest: int
    highest: int
    quantize: "Callable[[Tensor], Quantized]"
    dequantize: "Callable[[Quantized], Tensor]"
    scales: Callable[[int, int], Scales]

    @property
    def levels(self) -> int:
        """How many codes there are."""
        return self.highest - self.lowest + 1


def _a_row(rows: int, columns: int) -> Scales:
    return {"scale": ("F16", rows)}


def _a_row_with_zero(rows: int, columns: int) -> Scales:
    return {"scale": ("F16", rows), "zero": ("U8", rows)}


def _one(rows: int, columns: int) -> Scales:
    return {"scale": ("F16", 1)}


def _double(rows: int, columns: int) -> Scales:
    blocks = blocks_of(rows * columns, BLOCK)
    return {
        "scale": ("U8", blocks),
        "scale_of_scale": ("F32", blocks_of(blocks, SCALES_BLOCK)),
        "scale_mean": ("F32", 1),
    }


SCHEMES: dict[str, Scheme] = {
    "int8": Scheme(
        "symmetric, 8 bits, a scale a row", -127, 127, symmetric, from_symmetric, _a_row
    ),
    "int4": Scheme(
        "symmetric, 4 bits, a scale a row",
        -7, 7, partial(symmetric, bits=4), from_symmetric, _a_row,
    ),
    "uint4": Scheme(
        "asymmetric, 4 bits, a scale and a zero point a row",
        0, 15, partial(asymmetric, bits=4), from_asymmetric, _a_row_with_zero,
    ),
    "nf4": Scheme(
        "4-bit NormalFloat, blocks of 64, double quantization (QLoRA)",
        0, 15, nf4, from_nf4, _double,
    ),
    "ternary": Scheme(
        "−1, 0, 1 times the mean magnitude (BitNet b1.58)", -1, 1, ternary, from_ternary, _one
    ),
    "binary": Scheme("−1, 1 times the mean magnitude (BitNet)", 0, 1, binary, from_binary, _one),
}  # fmt: skip


# What is quantized -> how the names of its matrices begin. The head never is: it is small.
SCOPES: dict[str, tuple[str, ...]] = {
    "blocks": ("trf_blocks.",),
    "all": ("trf_blocks.", "tok_emb.", "pos_emb."),
}


def quantize(weights: "Tensor", scheme: Scheme) -> Quantized:
    """``weights`` in codes.

    Args:
        weights: (rows, columns) of any floating-point type.
        scheme: of the table.

    Raises:
        TuneshotError: they are no matrix, empty, or not all finite numbers.
    """
    if weights.dim() != 2 or not weights.numel() or not weights.is_floating_point():
        raise TuneshotError(
            f"only a matrix of floats can be quantized, not {weights.dtype} of shape "
            f"{tuple(weights.shape)}"
        )
    if not weights.isfinite().all():
        raise TuneshotError("weights that are not finite numbers cannot be quantized; train again")
    return scheme.quantize(weights.detach().float())


def requantized(weights: "Tensor", scheme: Scheme) -> "Tensor":
    """What is left of ``weights`` after quantizing them and back: (rows, columns) float32.

    Raises:
        TuneshotError: as ``quantize``.
    """
    return scheme.dequantize(quantize(weights, scheme))
