"""Figures, tables and strangers' texts for people: in terminals, logs, Markdown and reports."""

import logging
import sys
import traceback
from collections.abc import Iterable, Mapping
from typing import Any


def printable(text: str, kept: str = "") -> str:
    """``text`` for a terminal or a log, where characters that steer it are made visible.

    These are control characters (escape sequences, NUL), those that turn the direction of writing,
    other invisible ones, and halves of surrogate pairs.

    Args:
        text: perhaps a stranger's.
        kept: what may stay, as a line end in our own text.
    """
    return "".join(c if c.isprintable() or c in kept else repr(c)[1:-1] for c in text)


def say(line: str) -> None:
    """One printable line on stderr, where there is no command to say it."""
    sys.stderr.write(f"{printable(line)}\n")


def printable_error(error: BaseException) -> str:
    """The trace of an error, as Python writes it; what it quotes steers nothing."""
    return printable("".join(traceback.format_exception(error)), kept="\n").rstrip("\n")


def make_logs_printable() -> None:
    """From now on whatever is logged in this process is printable, by any library too.

    A message is one line; the trace of an error keeps its own.
    """
    usual = logging.getLogRecordFactory()
    if getattr(usual, "makes_printable", False):
        return

    def make(*args: Any, **options: Any) -> logging.LogRecord:  # noqa: ANN401  logging's own
        record = usual(*args, **options)
        if record.name != "uvicorn.access":  # whose arguments are read one by one, and are quoted
            record.msg, record.args = printable(_message(record)), ()
        if record.exc_info and record.exc_info[1]:
            record.exc_text = printable_error(record.exc_info[1])
        return record

    make.makes_printable = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # a mistake of who logs it
        return f"{record.msg} {record.args}"


def duration(seconds: float) -> str:
    """``48 s``, ``25 min`` or ``3.4 h``; never less than 1 s."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def markdown_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table, without a line break at its end.

    White space in a cell becomes one space and a bar is escaped, as either would end the cell.
    """
    titles = list(header)
    lines = [titles, ["---"] * len(titles), *rows]
    cells = ((" ".join(text.split()).replace("|", "\\|") for text in line) for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def newest_plain(named: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """What to call each of some things that bear a name and a detail, the newest last.

    The newest of a name bears it alone, those before it with their detail: ``SMS, before (3f2a)``.
    """
    pairs = list(named)
    newest = dict(pairs)
    return {
        (name, detail): name if newest[name] == detail else f"{name}, before ({detail})"
        for name, detail in pairs
    }


def assignments(values: Mapping[str, Any], separator: str = ", ") -> str:
    """``causal=true, epochs=2``: settings as the command lines read them."""
    texts = {name: str(v).lower() if isinstance(v, bool) else str(v) for name, v in values.items()}
    return separator.join(f"{name}={text}" for name, text in texts.items())


def listed(names: Iterable[object], most: int = 8) -> str:
    """``a, b, c``; of more than ``most`` names the first, and how many there are."""
    texts = [" ".join(str(name).split()) for name in names]
    shown = ", ".join(text if len(text) <= 50 else f"{text[:49]}…" for text in texts[:most])
    return shown if len(texts) <= most else f"{shown}, … ({len(texts):,} in all)"
