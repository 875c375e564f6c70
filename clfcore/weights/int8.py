"""Weights in about a quarter of their size: matrix rows as int8 and a scale each."""

import torch

from clfcore.weights.pretrained import State

_SCALE = ":scale"


def to_int8(state: State) -> State:
    """Each matrix row as int8 and one float16 scale; everything else as float16."""
    small: State = {}
    for name, tensor in state.items():
        if tensor.dim() != 2:
            small[name] = tensor.half()
            continue
        # Rounded to its stored value before dividing, so that no row overflows int8.
        scale = (tensor.abs().amax(dim=1).clamp(min=1e-6) / 127).half().float()  # (rows,)
        scale = scale.clamp(min=6e-8)
        rows = torch.round(tensor / scale[:, None]).clamp(-127, 127)
        small[name] = rows.to(torch.int8)
        small[name + _SCALE] = scale.half()
    return small


def from_int8(small: State) -> State:
    """The weights of ``to_int8`` as float32."""
    return {
        name: tensor.float() * small[name + _SCALE].float()[:, None]
        if name + _SCALE in small
        else tensor.float()
        for name, tensor in small.items()
        if not name.endswith(_SCALE)
    }
