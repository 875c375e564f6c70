"""Figures and tables in plain words, for terminals, Markdown files and reports."""

from collections.abc import Iterable, Mapping
from typing import Any


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
