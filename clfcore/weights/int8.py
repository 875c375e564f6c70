"""Weights in about a quarter of their size: matrix rows as int8 and a scale each."""

from collections.abc import Mapping

import torch

from clfcore.errors import TuneshotError
from clfcore.json_text import shortened_repr
from clfcore.weights.pretrained import State
from clfcore.weights.untrusted.tensors import Stored

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


def check_int8(place: object, stored: Mapping[str, Stored]) -> None:
    """Refuses what ``to_int8`` does not write: without a weight, by types and shapes.

    Raises:
        TuneshotError: naming the first tensor that is another.
    """
    for name, tensor in stored.items():
        rows = stored.get(name.removesuffix(_SCALE))
        if name.endswith(_SCALE):
            fits = rows is not None and len(rows.shape) == 2 and tensor.shape == rows.shape[:1]
            fits &= tensor.dtype == "F16"
        elif len(tensor.shape) == 2:
            fits = tensor.dtype == "I8" and name + _SCALE in stored
        else:
            fits = tensor.dtype == "F16"
        if not fits:
            raise TuneshotError(
                f"{place}: {shortened_repr(name)} is {tensor.dtype} of shape {tensor.shape}, and "
                "not as int8 rows with their scales are stored; copy the folder again"
            )
