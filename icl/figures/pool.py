"""Figures of the pool: where its messages lie, and the graph of vote-k around a message."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from icl.figures.look import (
    ACCENT,
    SOLID,
    TEXT,
    Drawing,
    add_lines,
    add_points,
    described,
    hover_text,
    label_styles,
    new_figure,
)
from icl.figures.maps import QUERY, PoolMap

if TYPE_CHECKING:
    import networkx as nx


EXAMPLE_LINE = {"color": ACCENT, "width": 1.2, "dash": "dot"}  # from a message to its examples


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
        return hover_text(labels[pool.labels[row]] + note, pool.texts[row])

    for label, style in label_styles(labels).items():
        own = [row for row in rows.tolist() if pool.labels[row] == label]
        points, marker = plane.points[own], {**style, "size": 7, "opacity": 0.55}
        add_points(figure, points, marker, labels[label], [hover(row) for row in own])
    if picks:
        add_points(
            figure,
            plane.points[list(picks)],
            _diamond(12),
            "picks",
            [hover(row, f", pick {place}") for place, row in enumerate(picks, start=1)],
        )
    if demonstrations:
        points = plane.points[list(demonstrations)]
        cosines = pool.vectors[list(demonstrations)] @ vector  # (k, d) (d,) -> (k,)
        places = range(1, len(points) + 1)
        notes = [
            hover(row, f", example {place}, similarity {cosine:.2f}")
            for row, place, cosine in zip(demonstrations, places, cosines, strict=True)
        ]
        add_lines(figure, [(query[0], point) for point in points], EXAMPLE_LINE)
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
        return hover_text(f"{word}, {at['votes']} votes" if node in picks else word, at["text"])

    arrows = {"symbol": "arrow", "angleref": "previous", "size": [0, 8, 0] * len(votes),
              "color": TEXT, "opacity": 0.8, "standoff": 17}  # fmt: skip
    add_lines(
        figure,
        [(points[voter], points[pick]) for voter, pick in votes],
        {"color": "rgba(136,136,136,.5)", "width": 1.2},
        marker=arrows,
        mode="lines+markers",
    )
    add_lines(figure, [(points[QUERY], points[pick]) for pick in picks], EXAMPLE_LINE)
    for label, style in label_styles(labels).items():
        own = [node for node, at in graph.nodes.items() if at["label"] == label and node != QUERY]
        marker = {**style, "size": [15 if node in picks else 9 for node in own], **SOLID}
        add_points(
            figure, [points[node] for node in own], marker, labels[label], [*map(hover, own)]
        )
    add_points(
        figure, [points[node] for node in picks], _diamond(26), "picks", [*map(hover, picks)]
    )
    if shown:
        places = [points[node] for node in shown]
        _add_rings(figure, places, shown.values(), 32, [*map(hover, shown)])
    _add_query(figure, [points[QUERY]], graph.nodes[QUERY]["text"])
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return described(
        figure,
        f"Vote-k's graph around your message: the {len(picks)} picks nearest to it, {len(shown)} "
        f"of them in the prompt, and {len(graph) - len(picks) - 1} messages that voted for them; "
        f"each of the {len(votes)} arrows is a vote.",
    )


def _add_rings(
    figure: go.Figure, points: ArrayLike, places: Iterable[int], size: int, hovers: list[str]
) -> None:
    """The examples in the prompt, each with its number on a badge.

    The badges point all around, like the hours of a clock: up to eight can be read even where
    their points coincide.
    """
    add_points(
        figure,
        points,
        {"symbol": "circle-open", "color": ACCENT, "size": size, "line": {"width": 2.5}},
        "examples",
        hovers,
    )
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
    add_points(
        figure,
        point,
        {"symbol": "star", "color": ACCENT, "size": 20},
        "your message",
        [hover_text("your message", text)],
    )


def _diamond(size: int) -> dict[str, Any]:
    return {"symbol": "diamond-open", "color": TEXT, "size": size, "line": {"width": 1.5}}
