"""The report's tables about each method's own answers: mistakes, certainty, what shakes them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clfcore.evaluation.metrics import NBSP, Metric
from clfcore.types import NO_ANSWER
from icl.report.findings import Figure, Findings
from icl.report.tables import ACCURACY, Table, TableCell, plain_cells

MOST_LABELS = 12  # a matrix of more cannot be read; its most frequent mistakes can
MISTAKES = 12
SUREST = (1.0, 0.8, 0.5)  # shares of the messages


# --- answers --------------------------------------------------------------------------------------


def confusions(findings: Findings) -> list[Table]:
    """Each method's answers by label, with the most labels; one column more for no answer."""
    labels = findings.summary["data"]["labels"]
    tables = []
    for key, point in findings.last.items():
        name, matrix = findings.name(key), point["confusion"]
        if matrix and len(labels) <= MOST_LABELS:
            tables.append(_matrix(name, matrix, labels))
        elif matrix or point.get("mistakes"):
            tables.append(_mistakes(name, point.get("mistakes") or _worst(matrix, labels)))
    return tables


def _matrix(name: str, matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> Table:
    rows = [
        [TableCell(label), *(_answers(counts[column], sum(counts), column == row)
                             for column in range(len(counts)))]
        for row, (label, counts) in enumerate(zip(labels, matrix, strict=True))
    ]  # fmt: skip
    answers = [*labels, NO_ANSWER][: len(matrix[0])]
    return Table(name, ["label ↓ answer →", *answers], rows)


def _worst(matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> list[Mapping[str, Any]]:
    """The most frequent mistakes, as a summary of many labels has them."""
    wrong: list[Mapping[str, Any]] = [
        {"label": labels[row], "answer": [*labels, None][column], "messages": count,
         "of": sum(counts)}
        for row, counts in enumerate(matrix) for column, count in enumerate(counts)
        if row != column and count
    ]  # fmt: skip
    return sorted(wrong, key=lambda mistake: -mistake["messages"])[:MISTAKES]


def _mistakes(name: str, worst: Iterable[Mapping[str, Any]]) -> Table:
    rows = [
        [TableCell(each["label"]), TableCell(each["answer"] or NO_ANSWER),
         _answers(each["messages"], each["of"], False)]
        for each in worst
    ]  # fmt: skip
    caption = f"{name}: its most frequent mistakes"
    return Table(caption, ["label", "answer", "messages"], rows, headings=2)


def _answers(count: int, of: int, is_right: bool) -> TableCell:
    """How many messages of a label were given an answer, and their share."""
    share = count / (of or 1)
    tone = "good" if is_right else "bad"
    return TableCell(f"{count:,}", f"{100 * share:.1f} %", share, tone)


def reliability_table(findings: Findings) -> Table:
    """The points of the reliability curves."""
    rows = [
        plain_cells(
            [
                findings.name(key),
                ACCURACY.show(each["confidence"]),
                ACCURACY.show(each["accuracy"]),
                f"{each['count']:,}",
            ]
        )
        for key, point in findings.last.items()
        for each in point["reliability"]
    ]
    header = ["method", "how sure", "right", "answers"]
    return Table("How often an answer is right, by how sure it is", header, rows)


def surest(findings: Findings) -> Table:
    """Accuracy of the surest answers, and what thresholds chosen on labelled messages do."""
    found = (findings.summary.get("thresholds") or {"rows": []})["rows"]
    chosen = {(row["method"], row["target"]): row for row in found}
    targets = list(dict.fromkeys(target for _, target in chosen))
    rows = [
        [
            TableCell(findings.name(key)),
            *plain_cells(
                ACCURACY.show(each["accuracy"])
                for each in point["coverage"]
                if each["coverage"] in SUREST
            ),
            *(_threshold(chosen.get((key, target))) for target in targets),
        ]
        for key, point in findings.last.items()
        if point.get("coverage")
    ]
    header = [
        "method",
        *("all" if coverage == 1 else f"surest {100 * coverage:.0f}{NBSP}%" for coverage in SUREST),
        *(f"to be right in {100 * target:.0f}{NBSP}%" for target in targets),
    ]
    return Table("Accuracy of the surest answers, and what thresholds do", header, rows)


def _threshold(row: Mapping[str, Any] | None) -> TableCell:
    """What is answered from a threshold on, and how often that is right."""
    if row is None:
        return TableCell("–")
    if row["threshold"] is None:
        return TableCell("–", "not within reach")
    answered = f"answers {ACCURACY.show(row['coverage']['value'])}"
    return TableCell(answered, f"right in {ACCURACY.interval(row['accuracy'])}")


# --- what shakes it -------------------------------------------------------------------------------


def robustness(findings: Findings) -> Table | None:
    """What each method loses when messages, order, seed or corpus change."""
    summary, metric = findings.summary, findings.metric
    drops = {(row["method"], row["variant"]): row for row in summary["robustness"]["rows"]}
    variants = list(dict.fromkeys(variant for _, variant in drops))
    orders = {row["method"]: row for row in summary["orders"]["rows"]}
    second = {row["method"]: row for row in (summary["second"] or {"rows": []})["rows"]}
    several = len(summary["seeds"]) > 1
    measured = {key for key, _ in drops} | orders.keys() | second.keys()
    measured |= findings.learners.keys() if several else set()
    keys = [key for key in findings.last if key in measured]
    if not keys:
        return None
    header = [
        "method",
        *(["unchanged"] * bool(variants)),
        *(variant.replace("_", " ") for variant in variants),
        *(["other corpus"] * bool(second)),
        *(["spread over orders"] * bool(orders)),
        *(["spread over seeds"] * several),
    ]
    rows = []
    for key in keys:
        own = {v: drops[key, v] for v in variants if drops.get((key, v), {}).get("drop")}
        losses = {v: row["drop"]["value"] for v, row in own.items() if row["drop"]["value"] > 0}
        worst = max(losses, key=losses.__getitem__, default=None)
        before = ACCURACY.show(next((row["plain"] for row in own.values()), None))
        row = [TableCell(findings.name(key)), *([TableCell(before)] * bool(variants))]
        row += [
            _lost(own[v]["drop"], ACCURACY, _changed(own[v]), is_worst=v == worst)
            if v in own
            else TableCell("–")
            for v in variants
        ]
        if second:
            there = second.get(key, {"drop": None})
            row.append(
                _lost(there["drop"], metric, f"{metric.show(there['first'])} before")
                if there["drop"]
                else TableCell("–")
            )
        row += [_orders(orders.get(key))] * bool(orders)
        row += [_seeds(findings.quality(findings.last[key]), metric)] * several
        rows.append(row)
    caption = (
        f"Accuracy lost, in percentage points, with {summary['robustness']['budget']:,} labelled "
        "messages"
    )
    return Table(caption, header, rows)


def _lost(drop: Figure, metric: Metric, note: str, *, is_worst: bool = False) -> TableCell:
    """A loss as a change, with its interval, and shaded by its size."""
    sign = -1 if metric.higher_is_better else 1
    change = {end: metric.change(sign * drop[end]) for end in drop}
    return TableCell(
        change["value"],
        f"{change['high']} to {change['low']}\n{note}",
        min(1.0, 4 * max(0.0, drop["value"])) if metric.percent else 0.0,
        "bad",
        "worst" if is_worst else "",
    )


def _orders(row: Mapping[str, Any] | None) -> TableCell:
    if row is None:
        return TableCell("–", "no order")
    note = f"{_range(row['accuracies'], ACCURACY)}\n{_changed(row)}"
    return TableCell(ACCURACY.change(row["spread"]).lstrip("+"), note)


def _seeds(quality: Mapping[str, Any] | None, metric: Metric) -> TableCell:
    values = quality["seeds"] if quality else []
    if len(values) < 2:
        return TableCell("–")
    spread = metric.change(max(values) - min(values)).lstrip("+")
    return TableCell(spread, _range(values, metric))


def _changed(row: Mapping[str, Any]) -> str:
    return f"{100 * row['changed']:.0f} % changed"


def _range(values: Sequence[float], metric: Metric) -> str:
    low, high = metric.show(min(values)), metric.show(max(values))
    return f"{low.removesuffix(f'{NBSP}%')} – {high}"
