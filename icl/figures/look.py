"""How every picture looks: colours, symbols, light and dark, what a screen reader says."""

import html
import json
import math
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

# On white and on near-black the first two and the accent have a contrast of 3.7 and more, and the
# three differ with every kind of colour blindness. With the symbols there are 42 pairs.
COLORS = ("#0091A5", "#D55E00", "#C9A000", "#7E17E6", "#5F734B", "#E377C2", "#95A3E6")
SYMBOLS = ("circle", "triangle-up", "square", "cross", "pentagon", "x")
ACCENT = "#A35BD6"  # your message, and what belongs to it
TEXT = "#888"
GRID = "rgba(136,136,136,.25)"
CLEAR = "rgba(0,0,0,0)"

HOVER_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure, and one plain sentence that says what is seen, for those who do not see it."""

    figure: go.Figure
    description: str


def to_json(drawing: Drawing) -> str:
    """The content of a Plotly element: the figure, without a mode bar and as wide as its place."""
    content = drawing.figure.to_plotly_json()
    content["config"] = {"displayModeBar": False, "responsive": True}
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def plain(text: str) -> str:
    """``text`` on one line, for Plotly to show as it is: no tag or entity in it is interpreted."""
    valid = text.encode("utf-8", "replace").decode()  # half a surrogate pair is no JSON
    return html.escape(" ".join(valid.split()), quote=False)


# --- the shared look ----------------------------------------------------------------------------


def new_figure(height: int) -> go.Figure:
    """An empty figure with the page's look."""
    figure = go.Figure()
    _style(figure, height)
    return figure


def _style(figure: go.Figure, height: int) -> None:
    figure.update_layout(
        template="none",
        height=height,
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        font={"color": TEXT, "size": 15, "family": "Inter, system-ui, sans-serif"},
        margin={"l": 10, "r": 20, "t": 40, "b": 10},
        legend={
            "orientation": "h",
            "x": 0,
            "y": 1.01,
            "yanchor": "bottom",
            "itemsizing": "constant",
        },
        hoverlabel={"bgcolor": "#20242B", "font": {"color": "#FFF", "size": 14}, "align": "left"},
        hovermode="closest",
        dragmode=False,  # a drag scrolls the page
    )
    look = {"gridcolor": GRID, "zeroline": False, "automargin": True, "ticks": "",
            "title_font_size": 15, "title_standoff": 12}  # fmt: skip
    figure.update_xaxes(**look)
    figure.update_yaxes(**look)


def described(figure: go.Figure, description: str) -> Drawing:
    """The figure, with its sentence inside it as well."""
    figure.update_layout(meta={"description": description})
    return Drawing(figure, description)


def _styles(labels: Iterable[str]) -> dict[str, dict[str, str]]:
    """A colour and a symbol for each label."""
    return {
        label: {"color": COLORS[n % len(COLORS)], "symbol": SYMBOLS[n % len(SYMBOLS)]}
        for n, label in enumerate(labels)
    }


def _hover(head: str, text: str) -> str:
    """Two things about a message in a few short lines."""
    lines = textwrap.wrap(_cut(text, HOVER_CHARACTERS), 42)
    return "<br>".join([f"<b>{plain(head)}</b>", *map(plain, lines)])


def _cut(text: str, characters: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= characters else line[: characters - 1] + "…"


# --- the parts of a figure ----------------------------------------------------------------------


def _add_points(
    figure: go.Figure, points: ArrayLike, marker: Mapping[str, Any], name: str, hovers: list[str]
) -> None:
    figure.add_scatter(
        **_at(points), mode="markers", marker=marker, name=plain(name),
        hovertext=hovers, hoverinfo="text",
    )  # fmt: skip


def _add_lines(
    figure: go.Figure,
    lines: ArrayLike,
    line: Mapping[str, Any],
    **more: Any,  # noqa: ANN401
) -> None:
    """(n, 2, 2) lines in one trace: after each comes a point that is nowhere."""
    ends = np.reshape(lines, (-1, 2, 2)).astype(float)
    points = np.concatenate([ends, np.full((len(ends), 1, 2), np.nan)], axis=1)
    look = {"mode": "lines", "line": line, "hoverinfo": "skip", "showlegend": False, **more}
    figure.add_scatter(**_at(points), **look)


def _at(points: ArrayLike) -> dict[str, list[float | None]]:
    """Coordinates for JSON: short, and without a number where there is none."""
    x, y = np.reshape(points, (-1, 2)).T.astype(float)
    return {
        axis: [None if math.isnan(value) else round(value, 3) for value in values.tolist()]
        for axis, values in (("x", x), ("y", y))
    }
