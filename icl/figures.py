"""The pictures of the page: Plotly figures that look alike, and a sentence that says each of them.

They have no background of their own and stand on a light page or a dark one. Labels differ by
colour and by the shape of their marker. Plotly reads some HTML in every text, so whatever comes
from a message or a label passes ``plain`` first.
"""

import html
import json
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from icl.maps import QUERY, PoolMap

if TYPE_CHECKING:
    import networkx as nx

# On white and on near-black the first two and the accent have a contrast of 3.7 and more, and the
# three differ with every kind of colour blindness. With the symbols there are 42 pairs.
COLORS = ("#0091A5", "#D55E00", "#C9A000", "#7E17E6", "#5F734B", "#E377C2", "#95A3E6")
SYMBOLS = ("circle", "triangle-up", "square", "cross", "pentagon", "x")
ACCENT = "#A35BD6"  # your message, and what belongs to it
TEXT = "#888"
GRID = "rgba(136,136,136,.25)"
CLEAR = "rgba(0,0,0,0)"

HOVER_CHARACTERS = 80
STRONGEST = 12  # words

_THREAD = {"color": ACCENT, "width": 1.2, "dash": "dot"}  # between your message and its examples
_SOLID = {"opacity": 1, "line": {"width": 0}}  # Plotly's bubbles are transparent, with a white rim


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


# --- the pool -----------------------------------------------------------------------------------


def pool_map(
    plane: PoolMap,
    labels: Mapping[str, str],
    text: str,
    vector: np.ndarray,
    demonstrations: Sequence[int],
    picks: Sequence[int] = (),
) -> Drawing:
    """The pool's messages by label, with the query, its demonstrations and a selector's picks.

    Args:
        plane: the map.
        labels: each label, in the task's order, and the word the page has for it.
        text: the query.
        vector: (d,) float32, its vector, of length 1.
        demonstrations: rows of the pool in prompt order.
        picks: rows chosen before any query came, in the order of choice.
    """
    pool = plane.pool
    rows = plane.rows([*demonstrations, *picks])
    query = plane.place(vector[None])  # (1, d) -> (1, 2)
    figure = new_figure(height=480)

    def hover(row: int, note: str = "") -> str:
        return _hover(labels[pool.labels[row]] + note, pool.texts[row])

    for label, style in _styles(labels).items():
        own = [row for row in rows.tolist() if pool.labels[row] == label]
        points, marker = plane.points[own], {**style, "size": 7, "opacity": 0.55}
        _add_points(figure, points, marker, labels[label], [hover(row) for row in own])
    if picks:
        notes = [hover(row, f", pick {place}") for place, row in enumerate(picks, start=1)]
        _add_points(figure, plane.points[list(picks)], _diamond(12), "picks", notes)
    if demonstrations:
        points = plane.points[list(demonstrations)]
        cosines = pool.vectors[list(demonstrations)] @ vector  # (k, d) (d,) -> (k,)
        places = range(1, len(points) + 1)
        notes = [
            hover(row, f", example {place}, similarity {cosine:.2f}")
            for row, place, cosine in zip(demonstrations, places, cosines, strict=True)
        ]
        _add_lines(figure, [(query[0], point) for point in points], _THREAD)
        _add_rings(figure, points, places, 17, notes)
    _add_query(figure, query, text)
    first, second = (f"{100 * share:.0f} %" for share in plane.share)
    figure.update_xaxes(title_text=f"direction 1: {first} of the variance", showticklabels=False)
    figure.update_yaxes(title_text=f"direction 2: {second}", showticklabels=False)
    counts = [f"{pool.labels.count(label)} {word}" for label, word in labels.items()]
    return described(
        figure,
        f"A map of {len(rows)} of the pool's {len(pool)} messages ({', '.join(counts)}), with a "
        f"star for your message, {len(demonstrations)} numbered rings for its examples in prompt "
        f"order{f' and {len(picks)} diamonds for the picks' if picks else ''}; it shows "
        f"{100 * plane.share.sum():.0f} % of the variance, so what looks close may still differ.",
    )


def vote_graph(graph: "nx.DiGraph", labels: Mapping[str, str]) -> Drawing:
    """Vote-k's picks near the query, and who voted for them.

    Args:
        graph: of ``neighbourhood``.
        labels: as for ``pool_map``.
    """
    points = {node: (at["x"], at["y"]) for node, at in graph.nodes.items()}
    picks = {node: at for node, at in graph.nodes.items() if at["role"] == "pick"}
    shown = {node: at["shown"] for node, at in picks.items() if at["shown"]}
    votes = [(voter, pick) for voter, pick in graph.edges if voter != QUERY]
    figure = new_figure(height=520)

    def hover(node: int) -> str:
        at = graph.nodes[node]
        word = labels[at["label"]]
        return _hover(f"{word}, {at['votes']} votes" if node in picks else word, at["text"])

    arrows = {"symbol": "arrow", "angleref": "previous", "size": [0, 8, 0] * len(votes),
              "color": TEXT, "opacity": 0.8, "standoff": 17}  # fmt: skip
    lines = [(points[voter], points[pick]) for voter, pick in votes]
    _add_lines(
        figure,
        lines,
        {"color": "rgba(136,136,136,.5)", "width": 1.2},
        marker=arrows,
        mode="lines+markers",
    )
    _add_lines(figure, [(points[QUERY], points[pick]) for pick in picks], _THREAD)
    for label, style in _styles(labels).items():
        own = [node for node, at in graph.nodes.items() if at["label"] == label and node != QUERY]
        marker = {**style, "size": [15 if node in picks else 9 for node in own], **_SOLID}
        notes = [hover(node) for node in own]
        _add_points(figure, [points[node] for node in own], marker, labels[label], notes)
    notes = [hover(node) for node in picks]
    _add_points(figure, [points[node] for node in picks], _diamond(26), "picks", notes)
    if shown:
        notes = [hover(node) for node in shown]
        _add_rings(figure, [points[node] for node in shown], list(shown.values()), 32, notes)
    _add_query(figure, [points[QUERY]], graph.nodes[QUERY]["text"])
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return described(
        figure,
        f"Vote-k's graph around your message: the {len(picks)} picks nearest to it, {len(shown)} "
        f"of them in the prompt, and {len(graph) - len(picks) - 1} messages that voted for them; "
        f"each of the {len(votes)} arrows is a vote.",
    )


# --- what changes the answer --------------------------------------------------------------------


def sweep_lines(
    label: str, by_k: Sequence[tuple[int, float]], by_order: Sequence[float], k: int
) -> Drawing:
    """The probability of a label by the number of examples, and by their order alone.

    Args:
        label: as the page says it.
        by_k: (k, probability), k ascending.
        by_order: the probability in each order of the same k examples.
        k: of ``by_order``.
    """
    figure = make_subplots(
        rows=1, cols=2, shared_yaxes=True, column_widths=[0.7, 0.3], horizontal_spacing=0.05
    )
    _style(figure, height=340)
    numbers, by_number = [number for number, _ in by_k], [p for _, p in by_k]
    figure.add_scatter(
        x=numbers,
        y=by_number,
        mode="lines+markers",
        line={"color": ACCENT, "width": 3},
        marker={"size": [16 if n == k else 9 for n in numbers], **_SOLID},
        hovertemplate="k = %{x}: %{y:.1%}<extra></extra>",
        row=1,
        col=1,
    )
    figure.add_scatter(
        x=list(range(1, len(by_order) + 1)),
        y=list(by_order),
        mode="markers",
        marker={"color": ACCENT, "size": 10, "symbol": "circle-open", "line": {"width": 2}},
        hovertemplate="order %{x}: %{y:.1%}<extra></extra>",
        row=1,
        col=2,
    )
    figure.update_layout(showlegend=False)
    figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%")
    figure.update_yaxes(title_text=f"probability of {plain(label)}", col=1)
    figure.update_xaxes(title_text="k, examples shown", type="category", col=1)
    figure.update_xaxes(
        title_text=f"{len(by_order)} orders<br>k = {k}", showticklabels=False, showgrid=False, col=2
    )
    description = f"The probability of {label} by the number of examples: " + ", ".join(
        f"{p:.0%} with {number}" for number, p in by_k
    )
    if by_order:
        description += (
            f"; from {min(by_order):.0%} to {max(by_order):.0%} over {len(by_order)} orders of the "
            f"same {k}"
        )
    return described(figure, description + ".")


def word_effects(words: Sequence[tuple[str, float]], label: str, unit: str) -> Drawing:
    """The words that moved the answer most, as bars; to the right: towards the label.

    Args:
        words: each word of the message and its effect, in any order.
        label: as the page says it.
        unit: what an effect is measured in.
    """
    strongest = sorted(words, key=lambda word: -abs(word[1]))[:STRONGEST]
    effects = [effect for _, effect in strongest]
    figure = new_figure(height=110 + 27 * len(strongest))
    figure.add_bar(
        x=effects,
        y=list(range(len(strongest))),  # not the words: one may be there twice
        orientation="h",
        marker={"color": [ACCENT if effect > 0 else TEXT for effect in effects]},
        text=[f"{effect:+.2f}" for effect in effects],
        textposition="outside",
        hoverinfo="skip",
    )
    low, high = min([0, *effects]), max([0, *effects])
    room = 0.35 * (high - low)  # for the numbers at the ends
    figure.update_xaxes(
        range=[low - room, high + room],
        title_text=f"← away · towards {plain(label)} →<br>{plain(unit)}",
        zeroline=True,
        zerolinecolor=TEXT,
    )
    figure.update_yaxes(
        tickvals=list(range(len(strongest))),
        ticktext=[plain(_cut(word, 24)) for word, _ in strongest],
        autorange="reversed",
        showgrid=False,
    )
    said = [f"{_cut(word, 24)} {effect:+.2f}" for word, effect in strongest]
    which = "The word" if len(said) == 1 else f"The {len(said)} words"
    return described(
        figure,
        f"{which} that moved the answer most, in {unit}, above zero towards "
        f"{label}: {', '.join(said)}.",
    )


# --- training and batches -----------------------------------------------------------------------


def loss_curve(
    steps: Sequence[int],
    train_losses: Sequence[float | None],
    validation_losses: Sequence[float | None],
    total: int,
) -> Drawing:
    """The loss of both parts while a model learns.

    Args:
        steps: that were taken.
        train_losses: in nats, one a step; ``None``: not measured; not finite: a gap.
        validation_losses: likewise.
        total: steps that there will be.
    """
    figure = new_figure(height=320)
    sentences = []
    for name, losses, color, symbol, dash in (
        ("training", train_losses, COLORS[0], "circle", "solid"),
        ("validation", validation_losses, COLORS[1], "square", "dash"),
    ):
        known = {
            step: loss if math.isfinite(loss) else None
            for step, loss in zip(steps, losses, strict=True)
            if loss is not None
        }
        figure.add_scatter(
            x=list(known),
            y=list(known.values()),
            mode="lines+markers",
            line={"color": color, "width": 3, "dash": dash},
            marker={"symbol": symbol, "size": 9},
            name=name,
            hovertemplate="step %{x}: %{y:.3f} nats",
        )
        if measured := [loss for loss in known.values() if loss is not None]:
            sentences.append(f"the {name} loss went from {measured[0]:.3f} to {measured[-1]:.3f}")
    figure.update_xaxes(title_text="steps", range=[-total / 50, total * 1.02])
    figure.update_yaxes(title_text="loss (nats)", rangemode="tozero")
    return described(
        figure,
        f"In {max(steps)} steps {' and '.join(sentences)} nats."
        if sentences
        else "A loss curve without a point yet.",
    )


def confusion(matrix: Sequence[Sequence[int]], labels: Sequence[str], title: str) -> Drawing:
    """How often messages of each label (rows) got each answer (columns).

    Args:
        matrix: (C, C) counts.
        labels: C words, as the page says them.
        title: whose answers these are.
    """
    counts = np.asarray(matrix)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)  # (C, C) (C, 1) -> (C, C); a row of zeros stays so
    words = [plain(label) for label in labels]
    places = list(range(len(words)))
    figure = new_figure(height=160 + 70 * len(words))
    figure.add_heatmap(
        z=shares.tolist(),
        text=[
            [f"{count}<br>{share:.1%}" for count, share in zip(*row, strict=True)]
            for row in zip(counts.tolist(), shares.tolist(), strict=True)
        ],
        texttemplate="%{text}",
        textfont={"size": 18},
        colorscale=[[0, "#E6F4F6"], [1, "#00606E"]],  # opaque: the text's colour is chosen for it
        zmin=0,
        zmax=1,
        xgap=3,
        ygap=3,
        showscale=False,
        hoverinfo="skip",
    )
    figure.update_layout(title={"text": plain(title), "x": 0, "xref": "paper"})
    figure.update_layout(margin={"t": 60})
    figure.update_xaxes(title_text="answer", tickvals=places, ticktext=words, showgrid=False)
    figure.update_yaxes(
        title_text="label", tickvals=places, ticktext=words, showgrid=False, autorange="reversed"
    )
    rows = [
        f"of {total} {label}, "
        + ", ".join(f"{n} as {word}" for n, word in zip(row, labels, strict=True))
        for (total,), label, row in zip(totals.tolist(), labels, counts.tolist(), strict=True)
    ]
    return described(figure, f"{title}: {'; '.join(rows)}.")


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


def _add_rings(
    figure: go.Figure, points: ArrayLike, places: Iterable[int], size: int, hovers: list[str]
) -> None:
    """The examples in the prompt, each with its number on a badge.

    The badges point all around, like the hours of a clock: up to eight can be read even where
    their points coincide.
    """
    marker = {"symbol": "circle-open", "color": ACCENT, "size": size, "line": {"width": 2.5}}
    _add_points(figure, points, marker, "examples", hovers)
    at = np.asarray(points)
    angles = np.arctan2(*(at - at.mean(axis=0)).T[::-1])  # (n, 2) -> (n,)
    hours = angles[angles.argmin()] + 2 * np.pi * np.argsort(np.argsort(angles)) / len(at)
    for (x, y), hour, place in zip(at.tolist(), hours, places, strict=True):
        figure.add_annotation(
            x=round(x, 3),
            y=round(y, 3),
            text=f"<b>{place}</b>",
            ax=36 * np.cos(hour),
            ay=-36 * np.sin(hour),
            font={"color": "#FFF", "size": 14},
            bgcolor=ACCENT,
            borderpad=3,
            arrowcolor=ACCENT,
            arrowhead=0,
            standoff=size / 2,
        )


def _add_query(figure: go.Figure, point: ArrayLike, text: str) -> None:
    marker = {"symbol": "star", "color": ACCENT, "size": 20}
    _add_points(figure, point, marker, "your message", [_hover("your message", text)])


def _diamond(size: int) -> dict[str, Any]:
    return {"symbol": "diamond-open", "color": TEXT, "size": size, "line": {"width": 1.5}}


def _at(points: ArrayLike) -> dict[str, list[float | None]]:
    """Coordinates for JSON: short, and without a number where there is none."""
    x, y = np.reshape(points, (-1, 2)).T.astype(float)
    return {
        axis: [None if math.isnan(value) else round(value, 3) for value in values.tolist()]
        for axis, values in (("x", x), ("y", y))
    }
