"""The report's tables as plain text cells, and the table.md beside it.

How a cell looks is the business of page/report.html; nothing is escaped here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clfcore.evaluation.metrics import METRICS, metric_of
from clfcore.evaluation.shown import labels_in_words, number_in_words
from clfcore.types import NO_ANSWER
from clfcore.wording import assignments, markdown_table
from icl.report.figures import costs
from icl.report.findings import (
    SIGNIFICANT,
    Findings,
    MethodPoint,
    capital,
    number,
    probability,
)
from icl.report.sentences import briefly, side_by_side
from icl.report.verdict import verdicts

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
