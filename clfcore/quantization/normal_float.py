"""NF4 with double quantization: 16 levels where normally distributed weights are (QLoRA).

Dettmers et al. 2023, "QLoRA: Efficient Finetuning of Quantized LLMs", section 3. Trained weights
are near a normal distribution, so levels lie close together around zero and far apart outside.

The matrix is read row after row as blocks of 64 weights, each with its own largest absolute value.
One 32-bit scale for 64 weights would cost half a bit a weight. So the scales are quantized
themselves, in blocks of 256, to 8 bits: 0.127 bits a weight. Codes and scales are those of
bitsandbytes.
"""

from functools import cache
from typing import TYPE_CHECKING

from clfcore.quantization.quantized import Quantized

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 64  # weights
SCALES_BLOCK = 256  # scales
# Appendix E. Eight quantiles of the normal distribution below zero, zero, seven above, as parts of
# the outermost; the quantiles end at 0.9677083, the mean of 1 − 1/30 and 1 − 1/32.
LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0,
)  # fmt: skip


def nf4(weights: "Tensor") -> Quantized:
    """Codes 0 to 15, the nearest level of each block's.

    Args:
        weights: (rows, columns) float32.
    """
    codes, largest = _nearest(weights, _nf4_levels(), BLOCK)  # (rows · columns,), (blocks,)
    mean = largest.mean()
    scale, scale_of_scale = _nearest(largest - mean, _dynamic_levels(), SCALES_BLOCK)
    return Quantized(
        codes.reshape(weights.shape),
        {"scale": scale, "scale_of_scale": scale_of_scale, "scale_mean": mean.reshape(1)},
    )


def from_nf4(quantized: Quantized) -> "Tensor":
    """Levels times their block's scale: (rows, columns) float32."""
    scale, scale_of_scale, mean = (
        quantized.scales[name] for name in ("scale", "scale_of_scale", "scale_mean")
    )
    largest = _scaled(scale, _dynamic_levels(), scale_of_scale, SCALES_BLOCK) + mean  # (blocks,)
    codes = quantized.codes
    return _scaled(codes.flatten(), _nf4_levels(), largest, BLOCK).reshape(codes.shape)


def blocks_of(count: int, size: int) -> int:
    """How many blocks ``count`` numbers are; the last may be shorter."""
    return -(-count // size)


def _nearest(numbers: "Tensor", levels: "Tensor", size: int) -> "tuple[Tensor, Tensor]":
    """The nearest level of each number in its block, and the largest absolute one of each block.

    Returns:
        (count,) uint8 and (blocks,) float32.
    """
    import torch

    count = numbers.numel()
    padding = blocks_of(count, size) * size - count
    blocks = torch.nn.functional.pad(numbers.flatten(), (0, padding)).view(-1, size)
    largest = blocks.abs().amax(dim=1)  # (blocks,)
    parts = blocks * (1 / largest.clamp(min=1e-38))[:, None]  # (blocks, size), in [−1, 1]
    between = (levels[:-1] + levels[1:]) / 2  # where the nearest level changes
    return torch.bucketize(parts, between).byte().flatten()[:count], largest


def _scaled(codes: "Tensor", levels: "Tensor", largest: "Tensor", size: int) -> "Tensor":
    """(count,) float32."""
    return levels[codes.int()] * largest.repeat_interleave(size)[: codes.numel()]


@cache
def _nf4_levels() -> "Tensor":
    import torch

    return torch.tensor(LEVELS)


@cache
def _dynamic_levels() -> "Tensor":
    """256 levels for scales: of each power of ten down to 10⁻⁶ half as many as of the one above.

    Dettmers 2016, "8-Bit Approximations for Parallelism in Deep Learning", section 2.2.
    """
    import torch

    levels = [0.0, 1.0]
    for i in range(7):
        edges = torch.linspace(0.1, 1, 2**i + 1)
        middles = (10 ** (i - 6) * (edges[:-1] + edges[1:]) / 2).tolist()
        levels += [*middles, *(-level for level in middles)]
    return torch.tensor(sorted(levels))  # (256,)
