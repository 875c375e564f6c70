"""What a GGUF file says that it holds, before a library believes it.

The format: magic and version; how many tensors and how many entries; the entries (name, type,
value); name, sizes, type and place of each tensor; padding; the tensors. A number that lies would
be read for minutes (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from clfcore.errors import TuneshotError
from clfcore.json_text import shortened_repr
from clfcore.model.spec import MOST_LAYERS
from clfcore.weights.untrusted.files import check_file, check_memory
from clfcore.weights.untrusted.tensors import is_finite_at

_MOST_HEADER = 200_000_000  # bytes
_MOST_ENTRIES = 10_000
_MOST_TENSORS = 100_000
_MOST_VALUES = 3_000_000  # of lists; the largest vocabulary has a quarter of a million tokens
_STRING, _ARRAY = 8, 9
_FLOATS = {0: "F32", 1: "F16", 28: "F64", 30: "BF16"}  # types of tensors
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
            12: "d"}  # fmt: skip


def check_gguf(path: Path) -> int:
    """Refuses a file whose numbers contradict each other, or its size.

    Returns:
        How many weights it holds.

    Raises:
        TuneshotError: it is none, or damaged.
    """
    size = check_file(path)
    try:
        with path.open("rb") as file:
            weights = _Header(file, size).check(path)
    except (OSError, ValueError, struct.error) as error:
        raise TuneshotError(
            f"cannot load the language model {str(path)!r}: it is no GGUF file, or damaged "
            f"({error}); fetch it again"
        ) from error
    check_memory(path, 2 * weights)
    return weights


@dataclass(slots=True)
class _Header:
    """A reader of numbers and texts, which never reads more than is there.

    Attributes:
        file: at its beginning.
        size: of the file, in bytes.
        values: how many values of lists were read.
    """

    file: BinaryIO
    size: int
    values: int = 0

    def check(self, path: Path) -> int:
        """Reads all but the weights, of which those that are floats are looked at.

        Returns:
            How many weights there are.

        Raises:
            ValueError, struct.error: something contradicts something else.
        """
        if self.file.read(4) != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        version, tensors, entries = self._numbers("IQQ")
        if version not in (2, 3):
            raise ValueError(f"its version is {version}")
        if not 0 < tensors <= _MOST_TENSORS or entries > _MOST_ENTRIES:
            raise ValueError(f"it names {tensors:,} tensors and {entries:,} entries")
        about = dict(self._entry() for _ in range(entries))
        if not isinstance(about.get("general.architecture"), str):
            raise ValueError("it does not say which architecture it has")
        alignment = about.get("general.alignment", 32)
        if type(alignment) is not int or not 1 <= alignment <= 2**20:
            raise ValueError(f"its alignment is {shortened_repr(alignment)}")
        places = {name: place for name, *place in self._tensors(tensors)}
        if len(places) != tensors:
            raise ValueError("a tensor is named twice")
        begin = -(-self.file.tell() // alignment) * alignment
        end = 0
        for name, (_, _, first, length) in sorted(places.items(), key=lambda each: each[1][2]):
            if first < end or begin + first + length > self.size:
                raise ValueError(f"{shortened_repr(name)} is not inside the file")
            end = first + length
        blocks = {name.split(".")[1] for name in places if name.startswith("blk.")}
        for name, value in about.items():
            if name.endswith(".block_count") and (value != len(blocks) or value > MOST_LAYERS):
                raise ValueError(f"it has {len(blocks):,} blocks, not {shortened_repr(value)}")
        for name, (count, kind, first, _) in places.items():
            if kind in _FLOATS and not is_finite_at(path, _FLOATS[kind], begin + first, count):
                raise ValueError(f"{shortened_repr(name)} has weights that are not finite numbers")
        return sum(count for count, *_ in places.values())

    def _tensors(self, count: int) -> Iterator[tuple[str, int, int, int, int]]:
        """Name, number of weights, type, first byte and length of each tensor."""
        from gguf import GGML_QUANT_SIZES

        sizes = {int(kind): pair for kind, pair in GGML_QUANT_SIZES.items()}
        for _ in range(count):
            name = self._text()
            (dimensions,) = self._numbers("I")
            if not 1 <= dimensions <= 4:
                raise ValueError(f"{shortened_repr(name)} has {dimensions} dimensions")
            shape = self._numbers("Q" * dimensions)
            kind, first = self._numbers("IQ")
            if kind not in sizes:
                raise ValueError(f"{shortened_repr(name)} has the unknown type {kind}")
            weights, (block, length) = math.prod(shape), sizes[kind]
            if not weights or shape[0] % block:
                raise ValueError(f"{shortened_repr(name)} has the shape {shape}")
            yield name, weights, kind, first, weights // block * length

    def _entry(self) -> tuple[str, Any]:
        name = self._text()
        (kind,) = self._numbers("I")
        return name, self._value(kind, nested=0)

    def _value(self, kind: int, nested: int) -> Any:  # noqa: ANN401
        """A value; of a list only that it is there."""
        if kind in _NUMBERS:
            (number,) = self._numbers(_NUMBERS[kind])
            return number
        if kind == _STRING:
            return self._text()
        if kind != _ARRAY or nested > 1:
            raise ValueError(f"an entry has the unknown type {kind}")
        inner, count = self._numbers("IQ")
        self.values += count
        if self.values > _MOST_VALUES:
            raise ValueError(f"a list has {count:,} values")
        if inner in _NUMBERS:
            self._bytes(count * struct.calcsize(f"<{_NUMBERS[inner]}"))
        else:
            for _ in range(count):
                self._value(inner, nested + 1)
        return ()

    def _text(self) -> str:
        (length,) = self._numbers("Q")
        return self._bytes(length).decode("utf-8", "replace")

    def _numbers(self, form: str) -> tuple[int, ...]:
        return struct.unpack(f"<{form}", self._bytes(struct.calcsize(f"<{form}")))

    def _bytes(self, length: int) -> bytes:
        if self.file.tell() + length > min(self.size, _MOST_HEADER):
            raise ValueError("it is truncated")
        return self.file.read(length)
