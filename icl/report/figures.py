"""The report's figures but the first: quality by cost, and how far a probability can be trusted.

A method keeps its colour and its marker in all figures, and its line says its family: solid where
weights are trained, dashed where examples are shown, dotted for the rest.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import plotly.graph_objects as go

from clfcore.evaluation.metrics import METRICS, Metric
from icl.figures.look import ACCENT, COLORS, SYMBOLS, TEXT, Drawing, described, escaped, new_figure
from icl.report.findings import Findings, MethodPoint, capital, count, number

share = METRICS["accuracy"].show  # ``90.0 %``
DASHES = {"fine_tuned": "solid", "few_shot": "dash", "other": "dot", "baseline": "longdash"}


@dataclass(frozen=True, slots=True)
class Style:
    """How a method is drawn, in every figure."""

    color: str
    symbol: str
    dash: str


def styles(findings: Findings) -> dict[str, Style]:
    """Each method's style; baselines are grey, as nothing is learned."""
    look = {
        key: Style(COLORS[n % len(COLORS)], SYMBOLS[n % len(SYMBOLS)], DASHES[findings.family(key)])
        for n, key in enumerate(findings.learners)
    }
    baselines = [key for key in findings.points if key not in look]
    symbols = ("diamond", "star", "hexagon")
    return look | {
        key: Style(TEXT, symbols[n % len(symbols)], DASHES["baseline"])
        for n, key in enumerate(baselines)
    }


# --- quality by cost ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """Something that a better answer may cost.

    Attributes:
        name: in words, with its unit.
        of: a point's cost; ``None``: not known.
    """

    name: str
    of: Callable[[MethodPoint], float | None]


def costs(findings: Findings) -> list[Cost]:
    """What was measured, and differs."""
    points, memory = findings.summary["points"], findings.summary["memory_mb"]
    measured = [
        Cost("milliseconds for one message", lambda point: point["ms"]),
        Cost("seconds to learn", lambda point: point["learn_seconds"]),
        Cost("labelled messages", lambda point: point["labels_used"]),
        Cost("prompt tokens for 1,000 messages", lambda point: 1000 * point["prompt_tokens"]),
        *(
            Cost(f"dollars for 1,000 messages, {model}", partial(findings.dollars, model))
            for model in findings.spent
        ),
        Cost("dollars billed for 1,000 messages",
             lambda point: None if point["dollars"] is None else 1000 * point["dollars"]),
        Cost("memory (MB)", lambda point: memory.get(point["method"])),
    ]  # fmt: skip
    return [cost for cost in measured if len({cost.of(p) for p in points} - {None}) > 1]


def cost_figure(findings: Findings, cost: Cost) -> Drawing:
    """Quality against one cost; what nothing beats in both is ringed."""
    figure, look = new_figure(height=480), styles(findings)
    placed = {
        key: [
            (value, quality["value"], point)
            for point in points
            if (value := cost.of(point)) is not None and (quality := findings.quality(point))
        ]
        for key, points in findings.points.items()
    }
    everything = [each for points in placed.values() for each in points]
    positive = [value for value, *_ in everything if value > 0]
    zero = min(positive, default=1) / 4  # where 0 stands on an axis that has none
    budgets = findings.budgets
    # A marker grows with the labels.
    sizes = {b: round(8 + 9 * n / max(len(budgets) - 1, 1)) for n, b in enumerate(budgets)}

    for key, points in placed.items():
        if points:
            figure.add_scatter(
                x=[max(value, zero) for value, *_ in points],
                y=[quality for _, quality, _ in points],
                mode="lines+markers",
                name=escaped(findings.name(key)),
                legendgroup=key,
                line={"color": look[key].color, "width": 1.2, "dash": look[key].dash},
                marker={"symbol": look[key].symbol, "opacity": 1, "line": {"width": 0},
                        "size": [sizes.get(point["budget"], 13) for *_, point in points]},
                hovertext=[
                    f"<b>{escaped(findings.name(key))}, {count(point['labels_used'], 'label')}</b>"
                    f"<br>{escaped(findings.metric.name)} {findings.metric.show(quality)}"
                    f"<br>{escaped(cost.name)}: {number(value)}"
                    for value, quality, point in points
                ],
                hoverinfo="text",
            )  # fmt: skip
    costs_and_qualities = [(value, quality) for value, quality, _ in everything]
    best = [everything[row] for row in pareto(costs_and_qualities, findings.metric)]
    figure.add_scatter(
        x=[max(value, zero) for value, *_ in best],
        y=[quality for _, quality, _ in best],
        mode="lines+markers",
        name="beaten by none",
        line={"color": ACCENT, "width": 2, "dash": "dot", "shape": "hv"},
        marker={"symbol": "circle-open", "size": 24, "color": ACCENT, "line": {"width": 2.5}},
        hoverinfo="skip",
    )
    _scale(figure, positive, zero, with_zero=len(positive) < len(everything))
    figure.update_xaxes(title_text=escaped(cost.name))
    scale_up(figure, findings.metric, [quality for _, quality, _ in everything])
    names = [
        f"{findings.name(point['method'])} with {count(point['labels_used'], 'label')} "
        f"({number(value)}, {findings.metric.show(quality)})"
        for value, quality, point in best
    ]
    return described(
        figure,
        f"{capital(findings.metric.name)} against {cost.name}, {len(everything)} points; "
        f"beaten by none in both, and ringed: {', '.join(names)}.",
    )


def pareto(points: Sequence[tuple[float, float]], metric: Metric) -> list[int]:
    """Rows of (cost, quality) that no other equals in one and beats in the other, by cost."""
    better = (lambda q: -q) if metric.higher_is_better else (lambda q: q)
    best, front = math.inf, []
    for row in sorted(range(len(points)), key=lambda n: (points[n][0], better(points[n][1]))):
        if better(points[row][1]) < best:
            best = better(points[row][1])
            front.append(row)
    return front


def _scale(figure: go.Figure, positive: Sequence[float], zero: float, *, with_zero: bool) -> None:
    """A logarithmic axis with round ticks, and one for 0 where something costs nothing."""
    low, high = min(positive, default=1), max(positive, default=1)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    leaps = (1,) if len(decades) > 3 else (1, 2, 5)
    ticks = [leap * 10.0**decade for decade in decades for leap in leaps]
    ticks = [tick for tick in ticks if low / 1.5 <= tick <= high * 1.5]
    left = math.log10(zero if with_zero else low)
    room = 0.06 * (math.log10(high) - left) or 0.3
    figure.update_xaxes(
        type="log",
        range=[left - room, math.log10(high) + room],
        tickvals=[zero] * with_zero + ticks,
        ticktext=["0"] * with_zero + [number(tick) for tick in ticks],
    )


def scale_up(figure: go.Figure, metric: Metric, values: Sequence[float]) -> None:
    """The axis of quality: around ``values``, with room for words and rings."""
    low, high = min(values, default=0), max(values, default=1)
    room = 0.08 * (high - low) or 0.1
    figure.update_layout(
        yaxis_range=[low - room, high + room],
        yaxis_title_text=escaped(metric.name),
        yaxis_tickformat=".1~%" if metric.percent else None,
    )


# --- probabilities --------------------------------------------------------------------------------


def reliability(findings: Findings) -> dict[str, Drawing]:
    """For each method, with the most labels: how often it is right when it is so sure."""
    look = styles(findings)
    return {
        key: _reliability(findings.name(key), point["reliability"], look[key])
        for key, point in findings.last.items()
        if point["reliability"]
    }


def _reliability(name: str, bins: Iterable[Mapping[str, float]], style: Style) -> Drawing:
    figure, bins = new_figure(height=280), list(bins)
    most = max(each["count"] for each in bins)
    low = min(0.5, *(each["confidence"] for each in bins), *(each["accuracy"] for each in bins))
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": TEXT, "width": 1.5, "dash": "longdash"},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[each["confidence"] for each in bins],
        y=[each["accuracy"] for each in bins],
        mode="lines+markers",
        line={"color": style.color, "width": 2.5, "dash": style.dash},
        marker={
            "symbol": style.symbol,
            "size": [7 + 12 * math.sqrt(each["count"] / most) for each in bins],
            "opacity": 1,
            "line": {"width": 0},
        },
        hovertext=[
            f"sure to {share(each['confidence'])}: right in {share(each['accuracy'])}"
            f"<br>{count(each['count'], 'answer')}"
            for each in bins
        ],
        hoverinfo="text",
    )
    figure.update_layout(showlegend=False, margin={"t": 10, "r": 10})
    figure.update_xaxes(range=[low - 0.04, 1.04], tickformat=".0%", title_text="how sure", nticks=5)
    figure.update_yaxes(range=[low - 0.04, 1.04], tickformat=".0%", title_text="right", nticks=5)
    shares = [f"{share(each['confidence'])} sure, {share(each['accuracy'])} right" for each in bins]
    return described(figure, f"{capital(name)}: {'; '.join(shares)}.")


# --- answering only when sure ---------------------------------------------------------------------


def coverage(findings: Findings) -> Drawing | None:
    """For each method, with the most labels: the accuracy where only the surest are answered."""
    look, figure = styles(findings), new_figure(height=430)
    curves = {key: point["coverage"] for key, point in findings.last.items()
              if point.get("coverage")}  # fmt: skip
    if not curves:  # summaries of earlier versions do not say
        return None
    for key, curve in curves.items():
        name = escaped(findings.name(key))
        figure.add_scatter(
            x=[each["coverage"] for each in curve],
            y=[each["accuracy"] for each in curve],
            mode="lines+markers",
            name=name,
            legendgroup=key,
            line={"color": look[key].color, "width": 2.5, "dash": look[key].dash},
            marker={"symbol": look[key].symbol, "size": 9},
            hovertext=[
                f"<b>{name}</b><br>the surest {each['coverage']:.0%}: {share(each['accuracy'])}"
                for each in curve
            ],
            hoverinfo="text",
        )
    scale_up(
        figure, METRICS["accuracy"], [e["accuracy"] for curve in curves.values() for e in curve]
    )
    figure.update_xaxes(
        range=[1.04, 0.06],
        tickformat=".0%",
        tickvals=[1, 0.8, 0.6, 0.4, 0.2],
        title_text="messages answered, the surest first",
    )
    said = [
        f"{findings.name(key)} from {share(curve[0]['accuracy'])} of all to "
        f"{share(_half(curve))} of the surest half"
        for key, curve in curves.items()
    ]
    return described(figure, f"Accuracy by the share that is answered: {'; '.join(said)}.")


def _half(curve: Sequence[Mapping[str, float]]) -> float:
    return min(curve, key=lambda each: abs(each["coverage"] - 0.5))["accuracy"]
