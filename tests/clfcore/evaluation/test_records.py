"""Lines of records on a disk that fills up."""

import errno
import json
import os
from contextlib import suppress
from pathlib import Path

import pytest

from clfcore.errors import TuneshotError
from clfcore.evaluation.records import append_lines, open_lines, read_lines
from clfcore.evaluation.runner import run_cells, write_table
from clfcore.experiments.table import EXPERIMENTS
from icl.grid.table import FEW_SHOT_GRID
from tests.support.disks import full_disk

ROOT = Path(__file__).parents[3]


def test_a_line_that_did_not_fit_is_taken_back_so_the_next_one_does_not_run_into_it(tmp_path):
    path = tmp_path / "records.jsonl"
    append_lines(path, [{"n": 1}])
    with full_disk(tmp_path, errno.ENOSPC), pytest.raises(TuneshotError, match="No space left"):
        append_lines(path, [{"n": 2, "text": "long" * 100}])
    append_lines(path, [{"n": 3}])
    assert read_lines(path) == [{"n": 1}, {"n": 3}]


def test_a_line_that_is_nested_without_end_is_one_line(tmp_path):
    (tmp_path / "records.jsonl").write_text("[" * 100_000 + "\n")
    with pytest.raises(TuneshotError, match=r"line 1 of .*records\.jsonl is not a record"):
        read_lines(tmp_path / "records.jsonl")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: os.mkfifo(path), "is a pipe, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device, not a file"),
        (lambda path: path.mkdir(), "is a folder, not a file"),
        (lambda path: path.symlink_to(path.name), "cannot be read"),
        (lambda path: (path.touch(), os.truncate(path, 10**12)), "1,000,000,000 at most"),
    ],
)
def test_what_is_no_file_of_records_is_one_line_and_waits_for_nobody(tmp_path, make, words):
    make(tmp_path / "records.jsonl")
    for use in (read_lines, open_lines):
        with pytest.raises(TuneshotError, match=words):
            use(tmp_path / "records.jsonl")


def test_nothing_is_written_through_a_link_out_of_the_folder(tmp_path):
    elsewhere = tmp_path / "diary"
    elsewhere.write_text("whole line\nhalf a line")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "records.jsonl").symlink_to(elsewhere)
    with pytest.raises(TuneshotError, match="outside of its folder"):
        open_lines(tmp_path / "out" / "records.jsonl")
    assert elsewhere.read_text() == "whole line\nhalf a line"


PLACES = (
    ("config",), ("config", "selector"), ("config", "limit"), ("config", "k"), ("config", "seed"),
    ("test",), ("test", "accuracy"), ("test", "accuracy", "hits"), ("test", "labels"), ("seconds",),
    ("inputs",), ("shown",), ("key",), ("published",), ("test", "recall", "spam", "value"),
)  # fmt: skip


@pytest.mark.parametrize("source", ["grid", "experiments_imbalance"])
@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_records_of_others_give_a_table_or_one_line(tmp_path, source, place):
    form = {"grid": FEW_SHOT_GRID}.get(source, EXPERIMENTS)
    lines = (ROOT / "docs" / "records" / f"{source}.jsonl").read_text().splitlines()[:3]
    for value in (None, "x", -1, 10**30, [], [[1]], {}, {"a": {}}, True, float("nan")):
        record = json.loads(lines[0])
        inner = record
        for name in place[:-1]:
            inner = inner.get(name, {})
        inner[place[-1]] = value
        (tmp_path / "records.jsonl").write_text("\n".join([*lines[1:], json.dumps(record), ""]))
        with suppress(TuneshotError):
            write_table(tmp_path, form)
            run_cells([], tmp_path, print, form)
