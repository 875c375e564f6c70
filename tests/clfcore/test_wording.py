"""What a stranger wrote, on a terminal and in a log."""

import io
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clfcore.cli.terminal import (
    ProgressBars,
    new_app,
    print_exact,
    print_note,
    print_table,
    run_app,
    stderr,
    stdout,
    with_examples,
)
from clfcore.errors import DataNote, TuneshotError
from clfcore.wording import make_logs_printable, printable

# Colour, title and both introducers of escape sequences; bell, backspace; right to left.
NASTY = "red\x1b[31m\x1b]0;title\x07 \x9b2J\x08\r\u202egpj.exe\u2066\u200f\x7f\0\ud800"


def steers(text: str) -> set[str]:
    """The characters of a text that a terminal would obey."""
    return {c for c in text if not c.isprintable() and c != "\n"}


@given(st.text(st.characters(), max_size=50))
def test_whatever_is_printable_steers_nothing_and_is_not_changed_again(text):
    shown = printable(text)
    assert not steers(shown) | ({"\n"} & set(shown))
    assert printable(shown) == shown
    shown.encode()
    assert not text.isprintable() or shown == text


@pytest.mark.parametrize(
    "say",
    [
        lambda: stdout.print(f"checkpoint: {NASTY}"),
        lambda: stderr.print(f"failed: {NASTY}", soft_wrap=True),
        lambda: print_note(NASTY),
        lambda: print_exact(NASTY),
        lambda: print_table(NASTY, rows=[[NASTY]], title=NASTY),
    ],
    ids=["a path", "a failure", "a note", "a prompt", "a table"],
)
def test_a_text_that_goes_to_a_terminal_steers_nothing(say, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "dumb")  # so that Rich adds no colours of its own
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, Terminal())
    say()
    said = sys.stdout.getvalue() + sys.stderr.getvalue()
    assert "red" in said
    assert steers(said) == set()


def test_a_prompt_goes_into_a_file_as_it_is(capfd):
    print_exact("red\x1b[31m")
    assert capfd.readouterr().out == "red\x1b[31m"


def test_a_bar_shows_a_label_as_it_is_written(capfd):
    with ProgressBars() as bars:
        bars(f"[/red] {NASTY}", 1, 1, f"[bold]{NASTY}")
    said = capfd.readouterr().err
    assert "[/red] red\\x1b" in said
    assert "\x1b[31m" not in said


@pytest.mark.parametrize("kind", ["error", "note", "warning", "bug", "log"])
def test_what_a_command_says_of_a_stranger_s_file_steers_nothing(kind, monkeypatch, capfd):
    app = new_app("A program.", version=False)

    @app.command()
    @with_examples("")
    def work() -> None:
        import warnings

        match kind:
            case "error":
                raise TuneshotError(NASTY)
            case "note":
                warnings.warn(DataNote(NASTY), stacklevel=1)
            case "warning":
                warnings.warn(NASTY, stacklevel=1)
            case "bug":
                raise ValueError(NASTY)
            case "log":
                logging.getLogger("a library").warning("of %s", NASTY)

    monkeypatch.setattr(sys, "argv", ["work"])
    with pytest.raises(SystemExit):
        run_app(app)
    said = capfd.readouterr().err
    assert kind == "log" or "red" in said
    assert steers(said) == set()


@pytest.fixture
def logged():
    """What a log holds."""
    usual, written = logging.getLogRecordFactory(), io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    logger = logging.getLogger("a library")
    logger.addHandler(handler)
    make_logs_printable()
    make_logs_printable()
    yield logger, written
    logger.removeHandler(handler)
    logging.setLogRecordFactory(usual)


def test_a_log_line_is_one_line_whatever_it_is_about(logged):
    logger, written = logged
    logger.warning("a\nb %s\n2026-01-01 a line that never was", NASTY)
    logger.warning("100 %")
    logger.warning("%d of", "no number")
    lines = written.getvalue().splitlines()
    assert len(lines) == 3
    assert steers(written.getvalue()) == set()
    assert lines[1] == "a library 100 %"


def test_the_trace_of_a_bug_is_kept_and_what_it_quotes_steers_nothing(logged):
    logger, written = logged
    try:
        raise ValueError(NASTY)
    except ValueError:
        logger.exception("of %s", NASTY)
    assert "Traceback" in written.getvalue()
    assert "test_wording.py" in written.getvalue()
    assert steers(written.getvalue()) == set()
