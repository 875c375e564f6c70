"""A model's weights as its file holds them: matrices in codes where they are quantized.

    NAME           the codes of a matrix: int8 (rows, columns), or uint8, several codes a byte
    NAME:scale     what turns them into floats again; one tensor for each scale of the scheme
    NAME:shape     rows and columns, where several codes are in a byte

Everything else is there as floats. ``clfcore/quantization/schemes.py`` has the schemes.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clfcore.errors import TuneshotError
from clfcore.json_text import shortened_repr
from clfcore.quantization.packing import codes_in_a_byte, pack, unpack
from clfcore.quantization.quantized import Quantized
from clfcore.quantization.schemes import SCHEMES, SCOPES, Scheme, quantize
from clfcore.weights.meta import FLOAT32
from clfcore.weights.untrusted.tensors import FLOATS, Shape, Stored, read_numbers

if TYPE_CHECKING:  # a file's header is looked at without torch
    from torch import Tensor

    from clfcore.weights.pretrained import State

_SHAPE = "shape"


@dataclass(frozen=True, slots=True)
class Storage:
    """How a model is written.

    Attributes:
        scheme: key of ``SCHEMES``, or ``float32``.
        scope: key of ``SCOPES``, whose matrices have that scheme; ``None``: every matrix.
        rest: ``float32`` or ``int8``: how all others are written; with ``int8``, what is no matrix
            has 16 bits.
    """

    scheme: str = FLOAT32
    scope: str | None = None
    rest: str = FLOAT32

    def of(self, name: str) -> str:
        """The scheme of the matrix ``name``."""
        inside = self.scope is None or name.startswith(SCOPES[self.scope])
        return self.scheme if inside else self.rest


AS_FLOATS = Storage()
COMPACT = Storage("int8", rest="int8")


def to_stored(state: "State", storage: Storage) -> "State":
    """What is written of ``state``.

    Raises:
        TuneshotError: a matrix that cannot be quantized, see ``quantize``.
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in state.items():
        how = storage.of(name)
        if tensor.dim() != 2:
            stored[name] = tensor.half() if storage.rest == "int8" else tensor
        elif how == FLOAT32:
            stored[name] = tensor
        else:
            stored |= _in_codes(name, tensor, SCHEMES[how])
    return stored


def _in_codes(name: str, matrix: "Tensor", scheme: Scheme) -> "State":
    import torch

    quantized = quantize(matrix, scheme)
    scales = {f"{name}:{part}": scale for part, scale in quantized.scales.items()}
    if not _is_packed(scheme):
        return {name: quantized.codes, **scales}
    packed = pack((quantized.codes - scheme.lowest).byte(), scheme.levels)
    return {name: packed, f"{name}:{_SHAPE}": torch.tensor(matrix.shape), **scales}


def from_stored(place: object, stored: "Mapping[str, Tensor]", scheme: str) -> "State":
    """The weights that ``to_stored`` wrote: float32 matrices, all else as it is stored, as float32.

    Args:
        place: where they are from, for the error message.
        stored: checked by ``check_stored``, but for the codes themselves.
        scheme: of the file.

    Raises:
        TuneshotError: a code that the scheme does not have.
    """
    import torch

    state: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        if ":" in name:
            continue
        of = _scheme_of(tensor.dtype == torch.int8, tensor.dtype == torch.uint8, scheme)
        if of is None:
            state[name] = tensor.float()
            continue
        try:
            state[name] = of.dequantize(_quantized(stored, name, of))
        except TuneshotError as error:
            raise TuneshotError(
                f"{place}: {shortened_repr(name)}: {error}; copy the folder again"
            ) from error
    return state


def _quantized(stored: "Mapping[str, Tensor]", name: str, scheme: Scheme) -> Quantized:
    tensor, packed = stored[name], _is_packed(scheme)
    rows, columns = stored[f"{name}:{_SHAPE}"].tolist() if packed else tensor.shape
    scales = {part: stored[f"{name}:{part}"] for part in scheme.scales(rows, columns)}
    if packed:
        codes = unpack(tensor, scheme.levels, rows * columns).view(rows, columns)
        return Quantized(codes.char() + scheme.lowest, scales)
    if tensor.min() < scheme.lowest:
        raise TuneshotError(f"a code is {int(tensor.min())}, and {scheme.lowest} is the least")
    return Quantized(tensor, scales)


def check_stored(path: Path, stored: Mapping[str, Stored], scheme: str) -> dict[str, Shape]:
    """Refuses what ``to_stored`` does not write: without a weight, by names, types and lengths.

    Args:
        path: of the file.
        stored: its header.
        scheme: key of ``SCHEMES``.

    Returns:
        The shapes of the weights that are in it.

    Raises:
        TuneshotError: naming the first tensor that is another.
    """
    parts: dict[str, set[str]] = {}  # of each matrix, what lies beside its codes
    for name in stored:
        owner, _, part = name.partition(":")
        parts.setdefault(owner, set()).update({part} - {""})
    for name, tensor in stored.items():
        owner, _, part = name.partition(":")
        of = None
        if codes := stored.get(owner):
            of = _scheme_of(codes.dtype == "I8", codes.dtype == "U8", scheme)
        if not _fits(tensor, part, of, parts[owner]):
            raise TuneshotError(
                f"{path}: {shortened_repr(name)} is {tensor.dtype} of shape {tensor.shape}, and "
                f"not as codes of {scheme} with their scales are stored; copy the folder again"
            )
    wanted = "U8" if _is_packed(SCHEMES[scheme]) else "I8"
    if not any(tensor.dtype == wanted and ":" not in name for name, tensor in stored.items()):
        raise TuneshotError(f"{path}: nothing in it is stored as {scheme}; copy the folder again")
    return {name: _shape(path, stored, name, scheme) for name in stored if ":" not in name}


def _shape(path: Path, stored: Mapping[str, Stored], name: str, scheme: str) -> Shape:
    """The shape of one of a file's weights, after comparing its codes and scales with it."""
    codes = stored[name]
    of = _scheme_of(codes.dtype == "I8", codes.dtype == "U8", scheme)
    if of is None:
        return codes.shape
    packed, wrong = _is_packed(of), ""
    shape = read_numbers(path, stored, f"{name}:{_SHAPE}") if packed else codes.shape
    rows, columns = shape
    if min(rows, columns) < 1:
        wrong = f"a matrix has no shape {shape}"
    elif packed and codes.shape != (math.ceil(rows * columns / codes_in_a_byte(of.levels)),):
        wrong = f"{codes.shape[0]:,} bytes are no {rows:,} × {columns:,} codes"
    else:
        for part, (_, length) in of.scales(rows, columns).items():
            if (found := stored[f"{name}:{part}"].shape[0]) != length:
                wrong = f"its {part} has {found:,} numbers, not {length:,}"
    if wrong:
        raise TuneshotError(f"{path}: {shortened_repr(name)}: {wrong}; copy the folder again")
    return shape


def _fits(tensor: Stored, part: str, scheme: Scheme | None, parts: Collection[str]) -> bool:
    """Whether a tensor is what ``scheme`` has under that name; ``part`` is empty for the codes.

    ``parts`` are all that are there beside the codes.
    """
    if scheme is None:
        return not part and tensor.dtype in FLOATS
    packed, scales = _is_packed(scheme), scheme.scales(1, 1)
    if not part:
        whole = scales.keys() | ({_SHAPE} if packed else set())
        return len(tensor.shape) == 2 - packed and parts == whole
    if part == _SHAPE:
        return packed and (tensor.dtype, tensor.shape) == ("I64", (2,))
    return part in scales and tensor.dtype == scales[part][0] and len(tensor.shape) == 1


def memory_per_byte(scheme: str) -> int:
    """How many bytes of float32 weights a byte of such a file becomes at most."""
    return 1 if scheme == FLOAT32 else 4 * codes_in_a_byte(SCHEMES[scheme].levels)


def _is_packed(scheme: Scheme) -> bool:
    return codes_in_a_byte(scheme.levels) > 1


def _scheme_of(is_int8: bool, is_uint8: bool, scheme: str) -> Scheme | None:
    """The scheme of a tensor with codes, in a file of ``scheme``; ``None``: it has floats."""
    if is_int8:
        return SCHEMES["int8"]
    return SCHEMES[scheme] if is_uint8 and _is_packed(SCHEMES[scheme]) else None
