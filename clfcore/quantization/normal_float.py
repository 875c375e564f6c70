"""NF4 with double quantization: 16 levels where normally distributed weights are (QLoRA).

Dettmers et al. 2023, "QLoRA: Efficient Finetuning of Quantized LLMs", section 3. Trained weights
are near a normal distribution, so levels lie close together around zero and far apart outside.

The matrix is read row after row as blocks of 64 weights, each with its own largest absolute value.
One 32-bit scale for 64 weights would cost half a bit a weight. So the scales are quantized
themselves, in blocks of 256, to 8 bits: 0.127 bits a weight. Codes and scales are those of
bitsandbytes.
"""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from clfcore.quantization.quantized import Quantized

if TYPE_CHECKING:
    import torch
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
    codes = quantized.codes
    largest = _largest(quantized.scales)  # (blocks,)
    return _scaled(codes.flatten(), _nf4_levels(), largest, BLOCK).reshape(codes.shape)


def from_packed(
    packed: "Tensor",
    scales: "Mapping[str, Tensor]",
    shape: tuple[int, int],
    memory: "tuple[Tensor, Tensor] | None" = None,
) -> "Tensor":
    """``from_nf4`` of two codes in a byte, in fewer steps: a table has the levels of each byte.

    Args:
        packed: (bytes,) uint8, see ``packing.pack``.
        scales: those of ``nf4``.
        shape: rows and columns.
        memory: (bytes,) int32 and (bytes, 2) float32 to compute in; the second is what is returned.

    Returns:
        (rows, columns) float32, with the same bits.
    """
    import torch

    rows, columns = shape
    count, largest = rows * columns, _largest(scales)
    table = _levels_of_bytes(packed.device)
    if memory is None:
        levels = table.index_select(0, packed.int())  # (bytes, 2)
    else:
        levels = torch.index_select(table, 0, memory[0].copy_(packed), out=memory[1])
    flat = levels.flatten()
    if count % BLOCK:
        return (flat[:count] * largest.repeat_interleave(BLOCK)[:count]).view(shape)
    return flat.view(-1, BLOCK).mul_(largest[:, None]).view(shape)


def _largest(scales: "Mapping[str, Tensor]") -> "Tensor":
    """The largest absolute weight of each block: (blocks,) float32."""
    scale, scale_of_scale, mean = (
        scales[name] for name in ("scale", "scale_of_scale", "scale_mean")
    )
    return _scaled(scale, _dynamic_levels(), scale_of_scale, SCALES_BLOCK) + mean


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
    levels = levels.to(numbers.device)
    between = (levels[:-1] + levels[1:]) / 2  # where the nearest level changes
    return torch.bucketize(parts, between).byte().flatten()[:count], largest


def _scaled(codes: "Tensor", levels: "Tensor", largest: "Tensor", size: int) -> "Tensor":
    """(count,) float32."""
    return levels.to(codes.device)[codes.int()] * largest.repeat_interleave(size)[: codes.numel()]


@cache
def _nf4_levels() -> "Tensor":
    import torch

    return torch.tensor(LEVELS, device="cpu")


@cache
def _levels_of_bytes(device: "torch.device") -> "Tensor":
    """The levels of the two codes in each byte: (256, 2)."""
    import torch

    codes = torch.arange(256, device="cpu")
    levels = torch.stack([_nf4_levels()[codes // 16], _nf4_levels()[codes % 16]], dim=1)
    return levels.to(device)


@cache
def _dynamic_levels() -> "Tensor":
    """256 levels for scales: of each power of ten down to 10⁻⁶ half as many as of the one above.

    Dettmers 2016, "8-Bit Approximations for Parallelism in Deep Learning", section 2.2.
    """
    import torch

    levels = [0.0, 1.0]
    for i in range(7):
        edges = torch.linspace(0.1, 1, 2**i + 1, device="cpu")
        middles = (10 ** (i - 6) * (edges[:-1] + edges[1:]) / 2).tolist()
        levels += [*middles, *(-level for level in middles)]
    return torch.tensor(sorted(levels), device="cpu")  # (256,)
