"""JSON Lines, JSON arrays and Parquet: rows whose cells have types."""

import json
import re
from collections.abc import Collection, Mapping
from textwrap import shorten
from typing import Any

from clfcore.data.columns import ColumnNames, find_columns
from clfcore.data.forms.content import MOST_UNPACKED, check_unpacked
from clfcore.data.forms.sheet import Sheet, check_cells
from clfcore.errors import TuneshotError, missing_extra_explained

_LEAST_PACKED = 20  # times as large as a Parquet file its columns may be; usual ones are five times


def read_json(text: str, place: str) -> Sheet:
    """One object a line, or an array of objects.

    Raises:
        TuneshotError: something else.
    """
    rows = _array(text, place) if text.lstrip().startswith("[") else _lines(text, place)
    for number, row in rows:
        if not isinstance(row, dict):
            raise TuneshotError(f"{place}, line {number} is not an object; write one object a line")
    header = list(dict.fromkeys(name for _, row in rows for name in row))
    check_cells(len(rows) * len(header), len(header), len(text), place)
    return Sheet(header, [(number, [row.get(name) for name in header]) for number, row in rows])


def begins_with_object(text: str) -> bool:
    """Whether the first line is a JSON object, as of JSON Lines, whatever the file is called."""
    line = re.match(r"\s*({.*?})\s*(\r|\n|$)", text)
    try:
        return line is not None and isinstance(json.loads(line[1]), dict)
    except (ValueError, RecursionError):
        return False


def _lines(text: str, place: str) -> list[tuple[int, Any]]:
    rows = []
    for number, line in enumerate(re.split(r"\r?\n|\r", text), start=1):
        if not line.strip():
            continue
        try:
            rows.append((number, json.loads(line)))
        except (ValueError, RecursionError) as error:
            raise TuneshotError(
                f"{place}, line {number} is not JSON ({error}); write one object a line"
            ) from error
    return rows


def _array(text: str, place: str) -> list[tuple[int, Any]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TuneshotError(f"{place} is not JSON ({error}); write one object a line") from error
    if not all(isinstance(row, Mapping) for row in rows):
        raise TuneshotError(f"{place}, line 1 is not an object; write one object a line")
    return list(enumerate(rows, start=1))


def _packed_bytes(file: Any, columns: Collection[str]) -> int:  # noqa: ANN401
    """How many bytes some columns of a Parquet file have when they are unpacked, as it says."""
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    return sum(c.total_uncompressed_size for c in chunks if c.path_in_schema in columns)


def _characters(column: Any) -> int:  # noqa: ANN401
    """How many bytes the texts of a column have, each as often as it stands there."""
    from pyarrow import compute

    lengths = (
        compute.binary_length(chunk.dictionary).take(chunk.indices) for chunk in column.chunks
    )
    return sum(compute.sum(each).as_py() or 0 for each in lengths)


@missing_extra_explained("a Parquet file")
def read_parquet(
    raw: bytes, place: str, wanted: ColumnNames, optional: Collection[str] = ()
) -> Sheet:
    """The wanted columns of a Parquet file; None in all others.

    Raises:
        TuneshotError: it is damaged, or has no such columns.
    """
    import pyarrow as pa  # half a second; `--help` should not wait
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(pa.BufferReader(raw)) as file:
            names = file.schema_arrow.names
            check_cells(file.metadata.num_rows * len(names), len(names), len(raw), place)
            needed = find_columns(names, wanted, place, optional).values()
            read = [names[column] for column in needed]
            most = max(MOST_UNPACKED, _LEAST_PACKED * len(raw))
            check_unpacked(_packed_bytes(file, read), most, place)
            texts = [
                name for name in read if pa.types.is_string(file.schema_arrow.field(name).type)
            ]
        # As it is stored: a text that stands there a million times, once.
        with parquet.ParquetFile(pa.BufferReader(raw), read_dictionary=texts) as file:
            table = file.read(columns=read)
        check_unpacked(sum(_characters(table.column(name)) for name in texts), most, place)
    except (OSError, pa.ArrowException) as error:
        raise TuneshotError(
            f"cannot read {place} as Parquet ({shorten(str(error), 200)}); write it again, or as "
            ".jsonl"
        ) from error
    columns = [
        table.column(name).to_pylist() if column in needed else [None] * table.num_rows
        for column, name in enumerate(names)
    ]
    return Sheet(names, list(enumerate(zip(*columns, strict=True), start=1)))
