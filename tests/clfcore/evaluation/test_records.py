"""Lines of records on a disk that fills up."""

import errno

import pytest

from clfcore.errors import TuneshotError
from clfcore.evaluation.records import append_lines, read_lines
from tests.support.disks import full_disk


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
