"""Learning weights that will be rounded: quantization-aware training (BitNet).

Rounding has a slope of zero nearly everywhere, so nothing could be learned through it. The
straight-through estimator takes the slope of the identity instead (Bengio et al. 2013, section 4).
The layer keeps weights in full precision and learns those; what it computes with is rounded anew in
each pass. So a weight that many small steps have moved across an edge gets another code.

Activations are rounded as well, to 8 bits for each token (Ma et al. 2024, section 2).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clfcore.quantization.schemes import SCHEMES, requantized
from clfcore.quantization.uniform import round_activations

ACTIVATION_BITS = 8


class _StraightThrough(torch.autograd.Function):
    """Forward: the rounded values; backward: as if nothing had been rounded."""

    @staticmethod
    def forward(ctx: Any, exact: Tensor, rounded: Tensor) -> Tensor:  # noqa: ANN401
        return rounded.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        return gradient, None


def straight_through(exact: Tensor, rounded: Tensor) -> Tensor:
    """``rounded``, whose gradient with respect to ``exact`` is the identity; same shape."""
    return _StraightThrough.apply(exact, rounded.detach())


class RoundedLinear(nn.Linear):
    """A linear layer that computes with rounded activations, and with rounded weights.

    Args:
        linear: whose weights it takes over, under the same names.
        bits: of the activations.
        scheme: key of ``SCHEMES``: weights are rounded in each pass, so that they can learn;
            ``None``: they are what rounding has left already.
    """

    def __init__(self, linear: nn.Linear, bits: int, scheme: str | None = None) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.bits, self.scheme = bits, scheme

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        weight: Tensor = self.weight
        if self.scheme is not None:
            weight = straight_through(weight, requantized(weight, SCHEMES[self.scheme]))
        x = straight_through(x, round_activations(x, self.bits))  # (…, in)
        return F.linear(x, weight, self.bias)

    @torch.no_grad()
    def settle(self) -> None:
        """Replaces the weights by what it computes with; ends learning."""
        if self.scheme is not None:
            self.weight.copy_(requantized(self.weight, SCHEMES[self.scheme]))
            self.scheme = None


def round_linears(blocks: nn.Module, bits: int, scheme: str | None = None) -> None:
    """Replaces each linear layer inside ``blocks``; arguments as for ``RoundedLinear``."""
    for parent in list(blocks.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, RoundedLinear(child, bits, scheme))


def settle(blocks: nn.Module) -> None:
    """``RoundedLinear.settle`` of each of them."""
    for layer in blocks.modules():
        if isinstance(layer, RoundedLinear):
            layer.settle()
