"""Results on a console of any encoding, into a pipe that closes, onto a disk that is full."""

import errno
import io
import json
import os
import sys
from contextlib import suppress

import pytest

from clfcore.cli import clf
from clfcore.cli.terminal import (
    MOST_LABELS_LISTED,
    ProgressBars,
    new_app,
    print_evaluation,
    print_json,
    print_note,
    read_messages,
    run_app,
    with_examples,
)
from clfcore.errors import TuneshotError
from clfcore.evaluation.evaluate import evaluate
from clfcore.types import MAX_CHARACTERS, Example, Prediction
from icl.cli import icl, tuneshot


@pytest.fixture
def run(monkeypatch, capfd):
    """Runs a command line on ``stdout``; returns exit status and stderr."""

    def call(main, words, stdout, stderr=None):
        monkeypatch.setattr(sys, "argv", words.split())
        monkeypatch.setattr(sys, "stdout", stdout)
        if stderr is not None:
            monkeypatch.setattr(sys, "stderr", stderr)
        with pytest.raises(SystemExit) as ended:
            main()
        if sys.stdout is not None:
            sys.stdout.flush()
        return ended.value.code or 0, capfd.readouterr().err

    return call


def main_of(command):
    """A program of one command."""
    app = new_app("A program.", version=False)
    app.command()(with_examples("")(command))
    return lambda: run_app(app)


COMMANDS = {
    "clf --help": clf.main,
    "icl classify --help": icl.main,
    "icl tasks": icl.main,
    "icl selectors": icl.main,
    "tuneshot compare --list": tuneshot.main,
    "tuneshot compare --help": tuneshot.main,
}


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("words", COMMANDS)
def test_a_console_that_is_not_utf_8_shows_what_it_can(words, encoding, run):
    written, whole = io.BytesIO(), io.BytesIO()
    stdout = io.TextIOWrapper(written, encoding=encoding, errors="strict")
    assert run(COMMANDS[words], words, stdout) == (0, "")
    assert run(COMMANDS[words], words, io.TextIOWrapper(whole, encoding="utf-8")) == (0, "")
    shown, meant = written.getvalue().decode(encoding).split(), whole.getvalue().decode().split()
    words_only = [word for word in meant if word.isascii() and word.isalnum()]
    assert words_only == [word for word in shown if word.isalnum()]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_errors_and_bars_are_shown_there_too(encoding, run):
    def work() -> None:
        with ProgressBars() as bars:
            bars("☕", 1, 1, "0.9 ☕")
        raise TuneshotError("no table at ☕.csv")

    written = io.BytesIO()
    stderr = io.TextIOWrapper(written, encoding=encoding, errors="strict")
    status, _ = run(main_of(work), "work", io.StringIO(), stderr)
    sys.stderr.flush()
    assert status == 1
    assert "error: no table at ?.csv" in written.getvalue().decode(encoding)


def test_json_is_json_there_too(run):
    def work() -> None:
        print_json({"text": "☕ é"})

    written = io.BytesIO()
    assert run(main_of(work), "work", io.TextIOWrapper(written, encoding="ascii")) == (0, "")
    assert json.loads(written.getvalue()) == {"text": "☕ é"}


@pytest.mark.parametrize("words", ["icl tasks", "icl --help"])
def test_a_reader_who_has_seen_enough_ends_it_without_a_word(words, run):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stdout:
        assert run(icl.main, words, stdout) == (141, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("words", ["icl tasks", "icl --help"])
def test_a_full_disk_is_one_line(words, run):
    with open("/dev/full", "w") as stdout:
        status, err = run(icl.main, words, stdout)
    assert (status, err) == (1, "error: No space left on device; free some, and start again\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_where_nothing_can_be_said_the_work_is_done_all_the_same(run):
    def work() -> None:
        with ProgressBars() as bars:
            bars("stage", 1, 1)
        print_note("a note")
        sys.stderr.write("a line\n" * 10_000)
        print_json({"done": True})

    written = io.BytesIO()
    with suppress(OSError), open("/dev/full", "w") as stderr:  # closing it fails, too
        stdout = io.TextIOWrapper(written, encoding="utf-8")
        assert run(main_of(work), "work", stdout, stderr) == (0, "")
    assert json.loads(written.getvalue()) == {"done": True}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_more_space_is_one_line_that_names_the_place_if_it_is_known(number, run, tmp_path):
    def work(place: str = "") -> None:
        raise OSError(number, os.strerror(number), *([place] if place else []))

    says = f"{os.strerror(number)}; free some, and start again\n"
    with (tmp_path / "out").open("w") as stdout:
        assert run(main_of(work), "work", stdout) == (1, f"error: {says}")
    told = run(main_of(work), "work --place a/b.tsv", io.StringIO())
    assert told == (1, f"error: cannot use a/b.tsv: {says}")


def test_closed_streams_are_no_mistake(run, monkeypatch, tmp_path):
    assert run(icl.main, "icl tasks", None) == (0, "")
    monkeypatch.setattr(sys, "stdin", None)
    status, err = run(clf.main, "clf classify", io.StringIO())
    assert status == 2
    assert "give at least one TEXT" in err


def test_control_c_is_one_line(run):
    def work() -> None:
        raise KeyboardInterrupt

    assert run(main_of(work), "work", io.StringIO()) == (130, "interrupted\n")


def test_an_error_is_one_line_whatever_it_names(run):
    def work() -> None:
        raise TuneshotError("no table at a\nb\x1b[31m.csv")

    expected = "error: no table at a\\nb\\x1b[31m.csv\n"
    assert run(main_of(work), "work", io.StringIO()) == (1, expected)


def test_a_path_that_may_not_be_looked_at_is_one_line(run):
    def work() -> None:
        raise PermissionError(13, "Permission denied", "private/x.tsv")

    expected = "error: cannot use private/x.tsv: Permission denied; check the path\n"
    assert run(main_of(work), "work", io.StringIO()) == (1, expected)


def test_a_name_that_is_too_long_is_one_line(run):
    status, err = run(clf.main, f"clf evaluate --data {'x' * 300}.tsv", io.StringIO())
    assert status == 1
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("count", [2, MOST_LABELS_LISTED, MOST_LABELS_LISTED + 1, 500])
def test_of_many_labels_the_table_has_the_figures_that_are_about_all(count, capfd):
    class First:
        labels = tuple(f"label {number}" for number in range(count))

        def predict(self, texts):
            shares = dict.fromkeys(self.labels, 1 / count)
            return [Prediction(self.labels[0], shares, 1.0) for _ in texts]

    print_evaluation(evaluate(First(), [Example(name, name) for name in First.labels]), "test")
    said = capfd.readouterr().out
    assert ("label 1 found" in said) is (count <= MOST_LABELS_LISTED)
    assert "balanced accuracy" in said
    left_out = f"figures of each of the {count} labels: evaluate --json"
    assert (left_out in said) is (count > MOST_LABELS_LISTED)


def test_a_message_has_a_greatest_length_wherever_it_is_from(tmp_path):
    longest, file = "x" * MAX_CHARACTERS, tmp_path / "messages.txt"
    assert read_messages([longest], None, None) == [longest]
    file.write_text(f"hi\n{longest}x\n")
    for texts, path in (([f"{longest}x"], None), (["hi", "x" * 10**6], None), (None, file)):
        with pytest.raises(TuneshotError, match=r"message [12] has 1.* a message has at most 100,"):
            read_messages(texts, path, None)
