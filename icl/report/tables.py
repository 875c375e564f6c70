"""The report's tables as plain text cells, and the table.md beside it.

How a cell looks is the business of page/report.html; nothing is escaped here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clfcore.evaluation.metrics import METRICS, NBSP, Metric, metric_of
from clfcore.evaluation.shown import labels_in_words, number_in_words
from clfcore.types import NO_ANSWER
from clfcore.wording import assignments, markdown_table
from icl.report.figures import costs
from icl.report.findings import (
    SIGNIFICANT,
    Figure,
    Findings,
    MethodPoint,
    capital,
    number,
    probability,
)
from icl.report.sentences import briefly, side_by_side
from icl.report.verdict import verdicts

MOST_LABELS = 12  # a matrix of more cannot be read; its most frequent mistakes can
MISTAKES = 12
SUREST = (1.0, 0.8, 0.5)  # shares of the messages

ACCURACY = METRICS["accuracy"]


@dataclass(frozen=True, slots=True)
class TableCell:
    """One cell of a table.

    Attributes:
        text: what it says.
        note: quieter lines below.
        shade: how much colour it has, 0 to 1.
        tone: which colour: "good", "bad", or none.
        mark: a word that stands out: what colour alone must not say.
    """

    text: str
    note: str = ""
    shade: float = 0.0
    tone: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A table; the first cells of a row are its heading.

    Attributes:
        caption: what it shows.
        columns: the headings.
        rows: as many cells each.
        headings: how many cells head a row.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[TableCell]]
    headings: int = 1


def plain_cells(texts: Iterable[str]) -> list[TableCell]:
    """Plain cells."""
    return [TableCell(text) for text in texts]


# --- all figures ----------------------------------------------------------------------------------


def everything(findings: Findings) -> Table:
    """Every method and budget: every metric with its interval, and what it costs."""
    header, rows = _everything(findings)
    caption = "Every method and number of labels; in brackets, 95 % intervals"
    return Table(caption, header, [plain_cells(row) for row in rows], headings=2)


def markdown(summary: Mapping[str, Any]) -> str:
    """The figures as a Markdown table, a row for each method and budget; then what they chose."""
    findings = Findings(summary)
    text = markdown_table(*_everything(findings)) + "\n"
    if chosen := choices(findings):
        rows = [[cell.text for cell in row] for row in chosen.rows]
        text += f"\n{chosen.caption}:\n\n{markdown_table(chosen.columns, rows)}\n"
    return text


def choices(findings: Findings) -> Table | None:
    """What methods have chosen for themselves; a row for each run."""
    rows = [
        [findings.name(point["method"]), f"{point['labels_used']:,}", *_chosen(chosen)]
        for points in findings.points.values()
        for point in points
        for chosen in point.get("chosen") or ()
    ]
    header = ["method", "labels", "settings", "share of a vote", "because"]
    caption = "What methods chose by their labelled messages"
    return Table(caption, header, [plain_cells(row) for row in rows], headings=2) if rows else None


def _chosen(chosen: Mapping[str, Any]) -> tuple[str, str, str]:
    settings = {name: value for name, value in chosen.get("settings", {}).items() if value != {}}
    share = chosen.get("vote_share")
    return (
        assignments(settings), "–" if share is None else ACCURACY.show(share),
        str(chosen.get("summary", "")),
    )  # fmt: skip


def _everything(findings: Findings) -> tuple[list[str], list[list[str]]]:
    points = [point for points in findings.points.values() for point in points]
    used = {key for point in points for key, figure in point["metrics"].items() if figure}
    # What the summary is about comes first.
    ordered = dict.fromkeys([findings.summary["metric"], *METRICS, *sorted(used)])
    metrics = [key for key in ordered if key in used]
    prompts = any(point.get("shown") for point in points)
    silent = any(point.get("no_answer") for point in points)
    header = [
        *("method", "labels"),
        *([NO_ANSWER] * silent),
        *(metric_of(key).name for key in metrics),
        *(("examples shown", "of each label") if prompts else ()),
        *("learn (s)", "message (ms)", "tokens", "memory (MB)"),
        *(f"$ / 1,000, {model}" for model in findings.spent),
    ]
    rows = [
        [
            findings.name(point["method"]),
            f"{point['labels_used']:,}",
            *([_unanswered(point)] * silent),
            *(metric_of(key).interval(point["metrics"].get(key)) for key in metrics),
            *((number_in_words(shown), labels_in_words(shown)) if prompts else ()),
            number(point["learn_seconds"]),
            number(point["ms"]),
            number(point["prompt_tokens"]),
            number(findings.summary["memory_mb"].get(point["method"])),
            *(number(findings.dollars(model, point)) for model in findings.spent),
        ]
        for point in points
        for shown in [point.get("shown")]  # summaries of earlier versions do not say
    ]
    return header, rows


def _unanswered(point: MethodPoint) -> str:
    """How many messages got no answer, which counts as a mistake; older summaries do not say."""
    return f"{point['no_answer']:,} of {point['asked']:,}" if "no_answer" in point else "–"


# --- what it costs --------------------------------------------------------------------------------


def cost_table(findings: Findings) -> Table:
    """What each method costs with the most labels, the best first."""
    measured = costs(findings)
    rows = [
        plain_cells(
            [
                findings.name(key),
                findings.metric.interval(findings.quality(point)),
                *(number(cost.of(point)) for cost in measured),
            ]
        )
        for key, point in findings.last.items()
    ]
    header = ["method", findings.metric.name, *(cost.name for cost in measured)]
    caption = f"Costs with {findings.most:,} labelled messages, the best method first"
    return Table(caption, header, rows)


# --- with so many labels --------------------------------------------------------------------------


def by_labels(findings: Findings) -> Table:
    """The verdict for each number of labels."""
    rows = [
        plain_cells(
            [
                f"{verdict.labels:,}",
                capital(briefly(findings, verdict)),
                findings.metric.interval(
                    findings.quality(findings.at(verdict.labels)[verdict.take])
                ),
                side_by_side(findings, verdict),
            ]
        )
        for verdict in verdicts(findings)
    ]
    header = [
        "labelled messages",
        "verdict",
        f"its {findings.metric.name}",
        "fine-tuning or prompting?",
    ]
    return Table("The verdict for each number of labels", header, rows)


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


# --- pairs ----------------------------------------------------------------------------------------


def pairs(findings: Findings, budget: int) -> Table:
    """All pairs of methods with so many labels: which is right where the other is wrong."""
    metric, rows = findings.metric, []
    for test in findings.tests(budget):
        is_significant = test["p_holm"] < SIGNIFICANT
        verdict = "A" if test["only_a"] > test["only_b"] else "B"
        rows.append(
            [
                TableCell(findings.name(test["a"])),
                TableCell(findings.name(test["b"])),
                TableCell(f"{test['only_a']:,}"),
                TableCell(f"{test['only_b']:,}"),
                TableCell(metric.difference(test["difference"])),
                TableCell(probability(test["p"])),
                TableCell(probability(test["p_holm"]), mark="sure" if is_significant else ""),
                TableCell(verdict if is_significant else "not told apart"),
            ]
        )
    header = ["A", "B", "only A right", "only B right", f"A − B, {metric.points}",
              "p (McNemar)", "p (Holm)", "more often right"]  # fmt: skip
    return Table(f"Pairs of methods with {budget:,} labelled messages", header, rows, headings=2)


def quality_table(findings: Findings) -> Table:
    """The points of the first figure: methods by budgets."""
    budgets = sorted({p["budget"] for points in findings.points.values() for p in points})

    def at(points: Sequence[MethodPoint], budget: int) -> TableCell:
        quality = next((findings.quality(p) for p in points if p["budget"] == budget), None)
        value, _, ends = findings.metric.interval(quality).partition(" (")
        return TableCell(value, ends.rstrip(")"))

    rows = [
        [TableCell(findings.name(key)), *(at(points, budget) for budget in budgets)]
        for key, points in findings.points.items()
    ]
    header = ["method", *(f"{budget:,} labels" for budget in budgets)]
    name = findings.metric.name
    return Table(f"{capital(name)} (95 %) by labelled messages", header, rows)
