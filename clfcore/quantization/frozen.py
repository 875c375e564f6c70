"""Linear layers whose weights lie in memory as NF4 codes and do not learn: QLoRA's trunk.

Dettmers et al. 2023, section 3, eq. 5. Half a byte and its share of the scales for each weight. One
layer's floats are made when they are needed, in the forward pass and once more in the backward
pass, and are gone after it; nothing of them is kept in between.
"""

import ctypes
import sys
import threading
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clfcore.quantization.normal_float import LEVELS, from_packed, nf4
from clfcore.quantization.packing import pack
from clfcore.types import ignore

_M_MMAP_THRESHOLD = -3  # of mallopt


class _Scratch(threading.local):
    """Memory for the floats of one layer, the same for all layers of a thread.

    It is faster than new memory for each, which the system would have to clear every time.
    """

    def __init__(self) -> None:
        self._of: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def of(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """(bytes,) int32 and (bytes, 2) float32, with anything in them."""
        count, device = len(codes), codes.device
        if device not in self._of or len(self._of[device][0]) < count:
            with torch.inference_mode(False):  # else it could not be written to in training
                self._of[device] = (
                    torch.empty(count, dtype=torch.int32, device=device),
                    torch.empty(count, 2, device=device),
                )
        indices, levels = self._of[device]
        return indices[:count], levels[:count]


_SCRATCH = _Scratch()


class _FrozenProduct(torch.autograd.Function):
    """x Wᵀ, with a gradient for x only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: "NF4Linear") -> Tensor:  # noqa: ANN401
        ctx.layer = layer
        return F.linear(x, layer.in_scratch())  # (…, in) -> (…, out)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        weight = ctx.layer.in_scratch().to(gradient.dtype)  # (out, in)
        return gradient @ weight, None  # (…, out) -> (…, in)


class NF4Linear(nn.Linear):
    """A linear layer with frozen NF4 weights; a bias stays as it is.

    Its codes are in no ``state_dict``: they are made anew of the trunk's own weights.

    Args:
        linear: whose weights are quantized.
    """

    def __init__(self, linear: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        quantized = nf4(linear.weight.detach().float())
        self.scales = tuple(quantized.scales)
        for name, tensor in {
            **quantized.scales,
            "codes": pack(quantized.codes, len(LEVELS)),
        }.items():
            self.register_buffer(name, tensor, persistent=False)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The weights as floats, made anew each time: (out, in) float32."""
        return self._floats()

    def in_scratch(self) -> Tensor:
        """The same for a moment: until this thread computes with another layer."""
        return self._floats(_SCRATCH.of(self.get_buffer("codes")))

    def _floats(self, memory: tuple[Tensor, Tensor] | None = None) -> Tensor:
        scales = {name: self.get_buffer(name) for name in self.scales}
        shape = (self.out_features, self.in_features)
        return from_packed(self.get_buffer("codes"), scales, shape, memory)

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        product = _FrozenProduct.apply(x, self)
        return product if self.bias is None else product + self.bias.to(product.dtype)

    def as_floats(self) -> nn.Linear:
        """An ordinary layer with the weights that are left."""
        linear = nn.Linear(self.in_features, self.out_features, bias=False, device="meta")
        linear.weight = nn.Parameter(self.weight, requires_grad=False)
        linear.bias = self.bias
        return linear


def freeze_in_nf4(blocks: nn.Module) -> None:
    """Replaces each linear layer inside ``blocks``, one after the other."""
    _return_what_is_freed()
    for parent in list(blocks.modules()):
        for name in [n for n, child in parent.named_children() if type(child) is nn.Linear]:
            linear: Any = parent.get_submodule(name)
            setattr(parent, name, NF4Linear(linear))
            del linear


def thaw(blocks: nn.Module) -> None:
    """Replaces each ``NF4Linear`` inside ``blocks`` by an ordinary layer."""
    for parent in list(blocks.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NF4Linear):
                setattr(parent, name, child.as_floats())


def _return_what_is_freed() -> None:
    """Makes the C library (glibc) map every piece of memory above 256 KB by itself.

    Otherwise it keeps what was freed between pieces that stay, as activations do until the backward
    pass: on SmolLM2 a quarter of all memory. It costs time.
    """
    if sys.platform == "linux":
        getattr(ctypes.CDLL(None), "mallopt", ignore)(_M_MMAP_THRESHOLD, 1 << 18)
