"""The report's first figure: how good each method is with so many labels, and where lines cross."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import mean
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.colors import hex_to_rgb

from clfcore.evaluation.metrics import Metric
from icl.figures.look import ACCENT, TEXT, Drawing, described, escaped, new_figure
from icl.report.figures import DASHES, Style, scale_up, styles
from icl.report.findings import Findings, capital, count, listed

BANDS = 3  # with more lines, their bands cover each other: bars instead

Curve = Sequence[tuple[int, Mapping[str, float]]]  # (labels, quality), labels ascending


def crossover(findings: Findings) -> Drawing:
    """The metric of every method against the number of labelled messages, and where lines cross.

    A crossing is a diamond; its interval stands below, where it covers no line.
    """
    look, metric = styles(findings), findings.metric
    curves, flat, budgets = _lines(findings)
    marked = crossings(findings)
    figure = _frame(budgets, len(marked))

    for key, side in zip(flat, ("top left", "bottom left", "top right"), strict=False):
        _add_baseline(figure, findings, key, flat[key], side)
    banded = len(curves) <= BANDS and len(budgets) > 1
    for (key, curve), shift in zip(curves.items(), _apart(len(curves), budgets), strict=True):
        if banded:
            _add_band(figure, key, curve, look[key].color)
        _add_curve(figure, findings, key, curve, look[key], 1.0 if banded else shift, not banded)
    for place, crossing in enumerate(marked, start=1):
        height = mean(
            flat[key] if key in flat else _height(curves[key], crossing["budget"])
            for key in (crossing["of"], crossing["over"])
        )
        _add_crossing(figure, place, crossing, height, budgets, len(marked) > 1)
    values = [q[end] for curve in curves.values() for _, q in curve for end in ("low", "high")]
    values += flat.values()
    scale_up(figure, metric, values)

    most, least = f"{budgets[-1]:,}", f"{budgets[0]:,} to " * (len(budgets) > 1)
    ends = [f"{findings.name(key)} {_from_to(metric, curve)}" for key, curve in curves.items()]
    level = [f"{findings.name(key)} at {metric.show(value)}" for key, value in flat.items()]
    sentence = f"{capital(metric.name)} with {least}{most} labelled messages"
    sentence += f": {', '.join(ends)}" if ends else ""
    sentence += f"; dashed, {listed(level)}" if level else ""
    sentence += f"; {count(len(marked), 'crossing')} marked with a diamond" if marked else ""
    return described(figure, sentence + ".")


def _from_to(metric: Metric, curve: Curve) -> str:
    first, *_, last = [metric.show(q["value"]) for _, q in (curve[0], curve[-1])]
    return f"from {first} to {last}" if len(curve) > 1 else first


def _lines(findings: Findings) -> tuple[dict[str, Curve], dict[str, float], list[int]]:
    """The curves, the baselines' levels, and the budgets of either's figure."""
    curves: dict[str, Curve] = {
        key: [(p["budget"], q) for p in points if p["budget"] > 0 and (q := findings.quality(p))]
        for key, points in findings.learners.items()
    }
    curves = {key: curve for key, curve in curves.items() if curve}
    flat = {
        key: q["value"]
        for key, point in findings.last.items()
        if key not in findings.learners and (q := findings.quality(point))
    }
    budgets = sorted({budget for curve in curves.values() for budget, _ in curve})
    return curves, flat, budgets or findings.budgets or [1]


def _frame(budgets: Sequence[int], crossings: int) -> go.Figure:
    """Axes: the budgets across; up, the metric, and below it a row for each crossing."""
    strip = 26 * crossings + 12 if crossings else 0  # pixels
    area = 380 + strip
    figure = new_figure(height=area + 90)
    low, high = math.log10(budgets[0]), math.log10(budgets[-1])
    room = 0.04 * (high - low) or 0.3
    figure.update_xaxes(
        type="log",
        range=[low - room, high + room],
        tickvals=budgets,
        ticktext=[f"{budget:,}" for budget in budgets],
        title_text="labelled messages",
    )
    figure.update_yaxes(domain=[(strip + 14) / area if crossings else 0, 1])
    if crossings:
        places = range(1, crossings + 1)
        figure.update_xaxes(anchor="y2")
        figure.update_layout(
            yaxis2={
                "domain": [0, strip / area],
                "range": [crossings + 0.6, 0.4],
                "tickvals": list(places),
                "ticktext": [f"crossing {n}" if crossings > 1 else "crossing" for n in places],
                "showgrid": False,
                "zeroline": False,
                "automargin": True,
                "ticks": "",
                "anchor": "x",
            }
        )
    return figure


def _apart(lines: int, budgets: Sequence[int]) -> list[float]:
    """Factors that put the bars of one budget side by side."""
    width = 0.25 * math.log(min((b / a for a, b in pairwise(budgets)), default=3))
    middle = (lines - 1) / 2
    return [math.exp(width * (n - middle) / max(lines, 2)) for n in range(lines)]


def _add_curve(
    figure: go.Figure,
    findings: Findings,
    key: str,
    curve: Curve,
    style: Style,
    shift: float,
    bars: bool,
) -> None:
    values = [q["value"] for _, q in curve]
    figure.add_scatter(
        x=[budget * shift for budget, _ in curve],
        y=values,
        mode="lines+markers",
        name=escaped(findings.name(key)),
        legendgroup=key,
        line={"color": style.color, "width": 3, "dash": style.dash},
        marker={"symbol": style.symbol, "size": 11},
        error_y={
            "array": [q["high"] - q["value"] for _, q in curve],
            "arrayminus": [q["value"] - q["low"] for _, q in curve],
            "thickness": 1.5,
            "width": 4,
            "visible": bars,
        },
        hovertext=[
            f"<b>{escaped(findings.name(key))}</b><br>{count(budget, 'label')}: "
            f"{findings.metric.interval(q)}"
            for budget, q in curve
        ],
        hoverinfo="text",
    )


def _add_band(figure: go.Figure, key: str, curve: Curve, color: str) -> None:
    figure.add_scatter(  # along the upper ends and back along the lower ones
        x=[budget for budget, _ in (*curve, *reversed(curve))],
        y=[q["high"] for _, q in curve] + [q["low"] for _, q in reversed(curve)],
        mode="lines",
        fill="toself",
        fillcolor=f"rgba{(*hex_to_rgb(color), 0.16)}",
        line={"width": 0},
        legendgroup=key,
        showlegend=False,
        hoverinfo="skip",
    )


def _add_baseline(
    figure: go.Figure, findings: Findings, key: str, value: float, place: str
) -> None:
    """A dashed line through the whole figure, with its name on it; two names stand apart."""
    label = escaped(f"{findings.name(key)} {findings.metric.show(value)}")
    figure.add_scatter(
        x=[10**end for end in figure.layout.xaxis.range],
        y=[value, value],
        mode="lines+markers+text",
        line={"color": TEXT, "width": 1.8, "dash": DASHES["baseline"]},
        marker={"size": 8, "opacity": 0},  # keeps the words off the line
        text=[label, ""] if "right" in place else ["", label],
        textposition=place,
        textfont={"size": 13},
        cliponaxis=False,
        name=escaped(findings.name(key)),
        legendgroup=key,
        showlegend=False,
        hoverinfo="skip",
    )


def crossings(findings: Findings) -> list[Mapping[str, Any]]:
    """The summary's crossovers that the figure marks, in the order of their numbers.

    Those within the budgets, between lines that are drawn.
    """
    curves, flat, _ = _lines(findings)
    return [
        crossover
        for crossover in findings.summary["crossovers"]
        if crossover["budget"] is not None
        and {crossover["of"], crossover["over"]} <= curves.keys() | flat.keys()
    ]


def _height(curve: Curve, labels: float) -> float:
    """A line's height, as drawn: straight between two points on the logarithmic axis."""
    budgets, values = np.array([(budget, q["value"]) for budget, q in curve]).T
    return float(np.interp(math.log(labels), np.log(budgets), values))


def _add_crossing(
    figure: go.Figure,
    place: int,
    crossing: Mapping[str, Any],
    height: float,
    budgets: Sequence[int],
    several: bool,
) -> None:
    """A diamond where the lines cross, and one with the interval in the strip below."""
    labels = crossing["budget"]
    low = budgets[0] if crossing["low"] is None else crossing["low"]
    high = budgets[-1] if crossing["high"] is None else crossing["high"]
    look = {"symbol": "diamond-open", "color": ACCENT, "line": {"width": 3}}
    hover = {"hovertext": [escaped(crossing["sentence"])], "hoverinfo": "text", "showlegend": False}
    figure.add_scatter(
        x=[labels],
        y=[height],
        mode="markers+text",
        marker={**look, "size": 17},
        text=[str(place)] if several else [""],
        textposition="bottom center",
        **hover,
    )
    figure.add_scatter(
        x=[labels],
        y=[place],
        yaxis="y2",
        mode="markers",
        marker={**look, "size": 11},
        error_x={
            "array": [high - labels],
            "arrayminus": [labels - low],
            "color": ACCENT,
            "thickness": 2.5,
            "width": 5,
        },
        **hover,
    )
