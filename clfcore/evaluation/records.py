"""Records: one JSON object a line, each on the disk before the next is begun, and told apart.

A process may be killed in the middle of a line, so half a line at the end of a file is nothing.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clfcore.errors import TuneshotError
from clfcore.json_text import shortened_repr, to_json
from clfcore.weights.untrusted.files import check_file_of

Record = dict[str, Any]
MOST_BYTES = 1_000_000_000  # of a file of records or answers; those of the longest grid have 20 MB


def identity(record: Record, *fields: str) -> str:
    """What tells one evaluation from another: all that decides its figures.

    That is ``config``, every setting; ``inputs``, what these were applied to: hashes of messages,
    of a prompt's format and of models' files, addresses of servers; and some more ``fields``.
    Records from before inputs were written down are no new evaluation's.
    """
    return to_json(
        [record["config"], record.get("inputs"), *(record[name] for name in fields)], sort_keys=True
    )


def other_inputs(
    records: Iterable[Record], asked: Sequence[Record], *fields: str
) -> tuple[int, list[str]]:
    """How many records have the settings of what is asked and other inputs; and which of these.

    Settings that an older record does not have are not compared.

    Args:
        records: what there is.
        asked: as records begin.
        fields: see ``identity``.
    """
    count, names = 0, dict[str, None]()
    for record in records:
        old = record.get("inputs") or {}
        differing = {
            name: None
            for new in asked
            if all(record[name] == new[name] for name in fields)
            and all(record["config"].get(n, value) == value for n, value in new["config"].items())
            for name, value in new["inputs"].items()
            if old.get(name) != value
        }
        count += bool(differing)
        names |= differing
    return count, list(names)


def open_lines(path: Path) -> list[Any]:
    """The lines so far; the file is there afterwards, and ends with a whole line.

    Raises:
        TuneshotError: the file cannot be used, or a line is not JSON.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _check(path)
        with path.open("a+b") as file:
            file.seek(0)
            file.truncate(_whole(file.read()))
    except OSError as error:
        raise _cannot_use(path, error) from error
    return read_lines(path)


def read_lines(path: Path) -> list[Any]:
    """The JSON value of every whole line.

    Raises:
        TuneshotError: the file cannot be read, or a line is not JSON.
    """
    try:
        _check(path)
        raw = path.read_bytes()
    except OSError as error:
        raise _cannot_use(path, error) from error
    records = []
    for number, line in enumerate(raw[: _whole(raw)].splitlines(), start=1):
        try:
            records.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise not_a_record(path, number) from error
    return records


def append_lines(path: Path, records: Sequence[Record]) -> list[Record]:
    """Adds lines that are on the disk when this returns; returns them as they will be read.

    Raises:
        TuneshotError: the file cannot be written; it is as it was before.
    """
    lines = [to_json(record) + "\n" for record in records]
    raw, written = "".join(lines).encode(), 0
    try:
        with path.open("ab", buffering=0) as file:
            try:
                while written < len(raw):
                    written += file.write(raw[written:])
                os.fsync(file.fileno())
            except OSError:  # half a line would run into the next one that is added
                file.truncate(file.tell() - written)
                raise
    except OSError as error:
        raise _cannot_use(path, error) from error
    return [json.loads(line) for line in lines]


def not_a_record(path: Path, number: int) -> TuneshotError:
    """The complaint about line ``number``, from 1."""
    return TuneshotError(
        f"line {number} of {path} is not a record; remove that line, or choose another --out"
    )


@contextmanager
def of_records(out: Path) -> Iterator[None]:
    """Inside it, records or answers that are not as they were written are one line.

    A folder that a run continues in may be somebody else's.

    Args:
        out: their folder, for the error message.

    Raises:
        TuneshotError: whatever follows from what they hold.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise TuneshotError(
            f"the records or answers in {out} are damaged, or were changed "
            f"({type(error).__name__}: {shortened_repr(str(error))}); choose another --out"
        ) from error


def _check(path: Path) -> None:
    """Refuses what is there and no file of its folder's: a pipe would wait, a link write elsewhere.

    Raises:
        TuneshotError: it is none, or too large.
    """
    if not os.path.lexists(path):
        return
    if (size := check_file_of(path.parent, path.name).stat().st_size) > MOST_BYTES:
        raise TuneshotError(
            f"{path} has {size:,} bytes; such a file has {MOST_BYTES:,} at most; choose another "
            "--out"
        )


def _whole(raw: bytes) -> int:
    """Bytes up to the end of the last line that has one."""
    return raw.rfind(b"\n") + 1


def _cannot_use(path: Path, error: OSError) -> TuneshotError:
    return TuneshotError(
        f"cannot use {path} ({error.strerror or error}); choose another place with --out"
    )
