"""What all figures share: colours and symbols, the layout, a description, points and lines.

Figures have no background and stand on a light page or a dark one. Labels differ by
colour and by the shape of their marker. Plotly reads some HTML in every text, so whatever comes
from a message or a label passes ``escaped`` first.
"""

import html
import math
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from clfcore.json_text import to_json
from clfcore.types import without_lone_surrogates

# On white and on near-black the first two and the accent have a contrast of 3.7 and more, and the
# three differ with every kind of colour blindness. With the symbols there are 42 pairs.
COLORS = ("#0091A5", "#D55E00", "#C9A000", "#7E17E6", "#5F734B", "#E377C2", "#95A3E6")
SYMBOLS = ("circle", "triangle-up", "square", "cross", "pentagon", "x")
ACCENT = "#A35BD6"  # your message, and what belongs to it
TEXT = "#888"
GRID = "rgba(136,136,136,.25)"
CLEAR = "rgba(0,0,0,0)"
SOLID = {"opacity": 1, "line": {"width": 0}}  # Plotly's bubbles are transparent, with a white rim

MAX_HOVER_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure, and one sentence that describes it for people who cannot see it."""

    figure: go.Figure
    description: str


def drawing_json(drawing: Drawing) -> str:
    """The content of a Plotly element: the figure without a mode bar, as wide as its container."""
    content = drawing.figure.to_plotly_json()
    content["config"] = {"displayModeBar": False, "responsive": True}
    return to_json(content, ensure_ascii=False, separators=(",", ":"))


def escaped(text: str) -> str:
    """``text`` on one line, for Plotly to show as it is: no tag or entity in it is interpreted."""
    return html.escape(" ".join(without_lone_surrogates(text).split()), quote=False)


# --- the shared look ----------------------------------------------------------------------------


def new_figure(height: int, columns: int = 1, **subplots: Any) -> go.Figure:  # noqa: ANN401
    """An empty figure with the page's look.

    Args:
        height: in pixels.
        columns: of subplots in one row.
        subplots: further arguments of ``make_subplots``.
    """
    figure = go.Figure() if columns == 1 else make_subplots(cols=columns, **subplots)
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
    return figure


def described(figure: go.Figure, description: str) -> Drawing:
    """The figure with its description, which is written into the figure as well."""
    figure.update_layout(meta={"description": description})
    return Drawing(figure, description)


def label_styles(labels: Iterable[str]) -> dict[str, dict[str, str]]:
    """A colour and a symbol for each label."""
    return {
        label: {"color": COLORS[n % len(COLORS)], "symbol": SYMBOLS[n % len(SYMBOLS)]}
        for n, label in enumerate(labels)
    }


def hover_text(head: str, text: str) -> str:
    """HTML for a mouse over a message: a bold heading, then the message in a few short lines."""
    lines = textwrap.wrap(shorten(text, MAX_HOVER_CHARACTERS), 42)
    return "<br>".join([f"<b>{escaped(head)}</b>", *map(escaped, lines)])


def shorten(text: str, characters: int) -> str:
    """``text`` on one line; if it is longer than ``characters``, its beginning and ``…``."""
    line = " ".join(text.split())
    return line if len(line) <= characters else line[: characters - 1] + "…"


# --- the parts of a figure ----------------------------------------------------------------------


def add_points(
    figure: go.Figure, points: ArrayLike, marker: Mapping[str, Any], name: str, hovers: list[str]
) -> None:
    """Markers at (n, 2) ``points``, with the text of each for a mouse over it."""
    figure.add_scatter(
        **_at(points), mode="markers", marker=marker, name=escaped(name),
        hovertext=hovers, hoverinfo="text",
    )  # fmt: skip


def name_cells(
    figure: go.Figure, title: str, across: tuple[str, list[str]], down: tuple[str, list[str]]
) -> None:
    """Names a heat map's cells: a title for each axis, a word for each column and row.

    The first row is on top.
    """
    for update, (name, words) in ((figure.update_xaxes, across), (figure.update_yaxes, down)):
        update(
            title_text=name,
            tickvals=list(range(len(words))),
            ticktext=[escaped(word) for word in words],
            showgrid=False,
        )
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(title={"text": escaped(title), "x": 0, "xref": "paper"}, margin={"t": 60})


def add_lines(
    figure: go.Figure,
    lines: ArrayLike,
    line: Mapping[str, Any],
    **more: Any,  # noqa: ANN401
) -> None:
    """(n, 2, 2) lines in one trace: a point without coordinates after each separates them."""
    ends = np.reshape(lines, (-1, 2, 2)).astype(float)
    points = np.concatenate([ends, np.full((len(ends), 1, 2), np.nan)], axis=1)
    look = {"mode": "lines", "line": line, "hoverinfo": "skip", "showlegend": False, **more}
    figure.add_scatter(**_at(points), **look)


def _at(points: ArrayLike) -> dict[str, list[float | None]]:
    """(n, 2) points as short coordinates for JSON; ``None`` where there is no number."""
    x, y = np.reshape(points, (-1, 2)).T.astype(float)
    return {
        axis: [None if math.isnan(value) else round(value, 3) for value in values.tolist()]
        for axis, values in (("x", x), ("y", y))
    }
