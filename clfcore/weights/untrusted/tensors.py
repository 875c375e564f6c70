"""What a safetensors file says that it holds: names, types and shapes, before a weight is read.

The format: eight bytes, how long the header is; the header, JSON with type, shape and place of each
tensor; the tensors, one after the other (https://huggingface.co/docs/safetensors).
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clfcore.errors import TuneshotError
from clfcore.json_text import from_json, shortened_repr
from clfcore.weights.untrusted.files import check_file

if TYPE_CHECKING:  # a wrong header is refused without torch
    from torch import Tensor

Shape = tuple[int, ...]

MOST_HEADER = 16_000_000  # bytes; 100,000 tensors have 10 million
MOST_TENSORS = 100_000
_MOST_DIMENSIONS = 8
_AT_A_TIME = 4_000_000  # numbers
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4,
          "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1}  # fmt: skip
FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor in a file.

    Attributes:
        dtype: as safetensors calls it.
        shape: its sizes.
        place: first byte, and the one after the last, counted from the end of the header.
    """

    dtype: str
    shape: Shape
    place: tuple[int, int]


def read_header(path: Path) -> dict[str, Stored]:
    """The tensors of a safetensors file, by name. No weight is read.

    Raises:
        TuneshotError: there is no such file, it is truncated, or its header contradicts itself.
    """
    size = check_file(path)
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, MOST_HEADER):
                raise ValueError(f"it has {size:,} bytes, and a header of {length:,}")
            record = from_json(file.read(length))
        tensors = _tensors(record)
        _check_places(tensors, size - 8 - length)
    except (OSError, ValueError) as error:
        raise TuneshotError(
            f"{path} is truncated or damaged ({error}); copy the file again"
        ) from error
    return tensors


def read_numbers(path: Path, tensors: Mapping[str, Stored], name: str) -> tuple[int, ...]:
    """A few whole numbers of 64 bits, without torch.

    Args:
        path: of the file.
        tensors: its header.
        name: of the tensor that has them.
    """
    with path.open("rb") as file:
        file.seek(_begin(path, tensors) + tensors[name].place[0])
        return struct.unpack(f"<{(count := math.prod(tensors[name].shape))}q", file.read(8 * count))


def _begin(path: Path, tensors: Mapping[str, Stored]) -> int:
    """The byte where the tensors of a file begin, which end where it ends."""
    return path.stat().st_size - max((each.place[1] for each in tensors.values()), default=0)


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """The tensors of a safetensors file whose header was read before.

    Raises:
        TuneshotError: the library does not read what ``read_header`` does: other values in the
            header's ``__metadata__``, a byte order mark, half a surrogate pair in a name.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise TuneshotError(
            f"{path} is truncated or damaged ({error}); copy the file again"
        ) from error


def _tensors(record: Any) -> dict[str, Stored]:  # noqa: ANN401
    if not isinstance(record, dict):
        raise ValueError("its header is no JSON object")
    tensors = {name: value for name, value in record.items() if name != "__metadata__"}
    if len(tensors) > MOST_TENSORS:
        raise ValueError(f"its header names {len(tensors):,} tensors")
    return {name: _stored(name, value) for name, value in tensors.items()}


def _stored(name: str, value: Any) -> Stored:  # noqa: ANN401
    def wrong() -> ValueError:
        return ValueError(f"its header has {shortened_repr(value)} for {shortened_repr(name)}")

    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise wrong()
    dtype, shape, place = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BYTES:
        raise wrong()
    if not _counts(shape) or len(shape) > _MOST_DIMENSIONS:
        raise wrong()
    if not _counts(place) or len(place) != 2:
        raise wrong()
    if place[1] - place[0] != math.prod(shape) * _BYTES[dtype]:
        raise wrong()
    return Stored(dtype, tuple(shape), (place[0], place[1]))


def _counts(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)


def _check_places(tensors: Mapping[str, Stored], size: int) -> None:
    """The tensors lie one after the other, from the first byte to the last."""
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda each: each[1].place):
        if tensor.place[0] != end:
            raise ValueError(f"{shortened_repr(name)} begins at byte {tensor.place[0]}, not {end}")
        end = tensor.place[1]
    if end != size:
        raise ValueError(f"its tensors have {end:,} bytes, and {size:,} are there")


def check_shapes(place: object, stored: Mapping[str, Shape], needed: Mapping[str, Shape]) -> None:
    """Compares names and shapes with those that a model needs, before any weight is used.

    Raises:
        TuneshotError: naming the first tensor that is missing, unexpected or misshapen.
    """
    for name, shape in needed.items():
        if name not in stored:
            what = (
                "the classification head" if name.startswith("out_head") else f"the tensor {name}"
            )
            raise TuneshotError(f"{place}: {what} is missing; copy the folder again")
        if stored[name] != shape:
            raise TuneshotError(
                f"{place}: {name} has shape {stored[name]}, this model needs {shape}; copy the "
                "folder again"
            )
    for name in stored:
        if name not in needed:
            raise TuneshotError(
                f"{place}: unexpected tensor {shortened_repr(name)}; copy the folder again"
            )


def check_floats(place: object, stored: Mapping[str, Stored]) -> None:
    """Refuses weights that are no floating-point numbers.

    Raises:
        TuneshotError: naming the first tensor that has others.
    """
    for name, tensor in stored.items():
        if tensor.dtype not in FLOATS:
            raise TuneshotError(
                f"{place}: {shortened_repr(name)} has the type {tensor.dtype}; weights are "
                f"{', '.join(FLOATS)}; store it again"
            )


def check_finite(place: object, tensors: "Mapping[str, Tensor]") -> None:
    """Refuses weights that are not all finite numbers: one pass, a tenth of a second a gigabyte.

    Raises:
        TuneshotError: naming the first tensor that has others.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.numel():
            numbers = tensor.detach() if tensor.element_size() > 1 else tensor.detach().float()
            # NaN is both the least and the greatest of what it stands among.
            least, greatest = numbers.aminmax()  # which torch has not for eight bits
            if not (math.isfinite(least) and math.isfinite(greatest)):
                raise TuneshotError(
                    f"{place}: {shortened_repr(name)} has weights that are not finite numbers; "
                    "copy the file again, or train it again"
                )


def check_finite_file(path: Path) -> None:
    """As ``check_finite``, of a safetensors file, before anybody waits for torch to be imported.

    Raises:
        TuneshotError: naming the first tensor that has others.
    """
    tensors = read_header(path)
    begin = _begin(path, tensors)
    for name, tensor in tensors.items():
        if tensor.dtype in FLOATS and not is_finite_at(
            path, tensor.dtype, begin + tensor.place[0], math.prod(tensor.shape)
        ):
            raise TuneshotError(
                f"{path}: {shortened_repr(name)} has weights that are not finite numbers; copy the "
                "file again, or train it again"
            )


def is_finite_at(path: Path, dtype: str, first: int, count: int) -> bool:
    """Whether numbers in a file are finite; a few megabytes of them are looked at at a time.

    Args:
        path: of the file.
        dtype: one of ``FLOATS``.
        first: the byte where they begin.
        count: how many there are.
    """
    import numpy as np

    for start in range(0, count, _AT_A_TIME):
        numbers = np.fromfile(
            path,
            {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}[dtype],
            min(_AT_A_TIME, count - start),
            offset=first + start * _BYTES[dtype],
        )
        # All bits of the exponent are set in what is not finite.
        finite = numbers & 0x7F80 != 0x7F80 if dtype == "BF16" else np.isfinite(numbers)
        if not finite.all():
            return False
    return True
