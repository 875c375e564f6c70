"""Which number format the matrix products use."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from clfcore.errors import unknown_choice

if TYPE_CHECKING:  # settings choose from PRECISIONS, and a wrong choice is refused without torch
    import torch

# bfloat16 has float32's range and eight bits of precision. Weights and sums stay in float32.
PRECISIONS = ("auto", "float32", "bfloat16")
_NATIVE = ("avx512_bf16", "amx_bf16", "bf16")  # of x86, of x86, of ARM


def resolve(precision: str, device: "torch.device") -> str:
    """``auto`` becomes bfloat16 where the hardware multiplies it natively, else float32.

    Raises:
        TuneshotError: not one of ``PRECISIONS``.
    """
    if precision not in PRECISIONS:
        raise unknown_choice("precision", precision, PRECISIONS)
    if precision != "auto":
        return precision
    import torch

    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    # What the processor says of itself: oneDNN also calls "supported" what it emulates.
    cpu = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return "bfloat16" if any(cpu.get(name) for name in _NATIVE) else "float32"


def autocast(precision: str, device: "torch.device") -> AbstractContextManager[object]:
    """Matrix products in a resolved ``precision``."""
    import torch

    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
