"""Several codes in a byte, as the digits of one number.

Of a scheme with L levels, codes 0 to L − 1 are digits in base L, and a byte holds as many as fit
below 256: two of 15 or 16 levels (4 bits each), five of 3 (3⁵ = 243: 1.6 bits each, where two whole
bits would make four), eight of 2.
"""

from typing import TYPE_CHECKING

from clfcore.errors import TuneshotError

if TYPE_CHECKING:  # a file's header is looked at without torch
    from torch import Tensor


def codes_in_a_byte(levels: int) -> int:
    """The largest k with ``levels`` ** k <= 256."""
    k = 1
    while levels ** (k + 1) <= 256:
        k += 1
    return k


def pack(codes: "Tensor", levels: int) -> "Tensor":
    """Codes side by side; the last byte is filled up with zeros.

    Args:
        codes: whole numbers from 0 to ``levels`` − 1, of any shape.
        levels: 2 to 256.

    Returns:
        (bytes,) uint8; the first code of a byte is its highest digit.
    """
    import torch

    k = codes_in_a_byte(levels)
    digits = torch.nn.functional.pad(codes.flatten(), (0, -codes.numel() % k)).view(-1, k)
    packed = digits[:, 0].byte()  # (bytes,)
    for i in range(1, k):
        packed = packed * levels + digits[:, i].byte()
    return packed


def unpack(packed: "Tensor", levels: int, count: int) -> "Tensor":
    """What ``pack`` packed.

    Args:
        packed: (bytes,) uint8, as many as ``count`` codes need.
        levels: as they were packed with.
        count: how many codes.

    Returns:
        (count,) uint8.

    Raises:
        TuneshotError: a byte that holds no such codes, or codes behind the last.
    """
    import torch

    k = codes_in_a_byte(levels)
    if packed.numel() and int(packed.max()) >= levels**k:
        raise TuneshotError(f"a byte is {int(packed.max())}, and {levels**k - 1} is the largest")
    powers = levels ** torch.arange(k - 1, -1, -1)  # (k,)
    digits = (torch.arange(256)[:, None] // powers % levels).byte()  # (256, k)
    codes = digits[packed.int()].flatten()  # (bytes · k,)
    if codes[count:].any():
        raise TuneshotError("there are more codes than weights")
    return codes[:count]
