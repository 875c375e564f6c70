"""What remedies cost and save, compared where they have learned the new task equally well.

Steps are no fair measure: whoever learns more slowly forgets less. So every curve is read where
it first reaches one accuracy of the new task, on the straight line between two measurements.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from clfcore.evaluation.intervals import Interval
from clfcore.evaluation.records import Record
from clfcore.forgetting.remedies import NONE
from clfcore.wording import markdown_table

Point = Mapping[str, float]  # of a curve: step, accuracy, and the scores
MARGIN = 0.01  # of accuracy that a remedy may cost
# Scores and how they are called; of a perplexity the relative rise counts, of an accuracy the fall.
SCORES = {
    "perplexity_replayed": "perplexity, replayed kind",
    "perplexity_other": "perplexity, other texts",
    "few_shot_accuracy": "few-shot, another task",
    "old_accuracy": "old task",
}


def at_accuracy(curve: Sequence[Point], accuracy: float) -> dict[str, float] | None:
    """The figures where ``curve`` first reaches ``accuracy``; ``None`` if it never does."""
    before = curve[0]
    for point in curve:
        if point["accuracy"] >= accuracy:
            gained = point["accuracy"] - before["accuracy"]
            share = (accuracy - before["accuracy"]) / gained if gained > 0 else 0.0
            share = max(share, 0.0)  # it begins above
            return {name: before[name] + share * (point[name] - before[name]) for name in point}
        before = point
    return None


def lost(score: str, start: float, now: float) -> float:
    """How much of a score was forgotten: a share of the perplexity at the start, or of answers."""
    return now / start - 1 if score.startswith("perplexity") else start - now


def common_accuracy(curve: Sequence[Point]) -> float:
    """Where curves are compared: what doing nothing ends with, but for ``MARGIN``."""
    return curve[-1]["accuracy"] - MARGIN


def compare(records: Sequence[Record]) -> list[dict[str, Any]]:
    """A row of figures for each remedy, over seeds, in the order of the records.

    Args:
        records: finished cells of one base and one configuration; those of ``NONE`` are among
            them, with every seed.

    Returns:
        Of each remedy: ``seeds``; ``accuracy``: the new task's, in the end; ``reached``: how many
        seeds reach the common accuracy; where these do, ``step``, ``lost``: score -> interval,
        ``saved``: the same of the difference from ``NONE``, seed by seed; and ``spread``: score ->
        standard deviation of what was lost. Means are over seeds; intervals are Student's, ``nan``
        of a single seed.
    """
    curves = {
        (record["config"]["remedy"], record["config"]["seed"]): record["test"]["curve"]
        for record in records
    }
    scores = [name for name in SCORES if name in next(iter(curves.values()))[0]]

    def losses(remedy: str, seed: int) -> dict[str, float] | None:
        curve = curves[remedy, seed]
        there = at_accuracy(curve, common_accuracy(curves[NONE, seed]))
        if there is None:
            return None
        found = {score: lost(score, curve[0][score], there[score]) for score in scores}
        return {"step": there["step"], **found}

    rows = []
    for remedy in dict.fromkeys(remedy for remedy, _ in curves):
        seeds = [seed for name, seed in curves if name == remedy]
        both = [(own, losses(NONE, seed)) for seed in seeds if (own := losses(remedy, seed))]
        rows.append(
            {
                "remedy": remedy,
                "seeds": len(seeds),
                "accuracy": mean(curves[remedy, seed][-1]["accuracy"] for seed in seeds),
                "reached": len(both),
                "step": mean(own["step"] for own, _ in both) if both else None,
                "lost": {s: over_runs([own[s] for own, _ in both]) for s in scores},
                "saved": {s: over_runs([none[s] - own[s] for own, none in both if none])
                          for s in scores},
                "spread": {s: stdev(own[s] for own, _ in both) if len(both) > 1 else math.nan
                           for s in scores},
            }
        )  # fmt: skip
    return rows


def over_runs(values: Sequence[float]) -> Interval:
    """The mean of some runs with Student's interval; without width of one run, ``nan`` of none."""
    if not values:
        return Interval(math.nan, math.nan, math.nan)
    middle = mean(values)
    if len(values) == 1:
        return Interval(middle, math.nan, math.nan)
    from scipy.stats import t as student

    half = float(student.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return Interval(middle, middle - half, middle + half)


HEADER = ("remedy", "new task, at last", "steps until equal")


def cells(row: Mapping[str, Any]) -> list[str]:
    """A row of ``compare`` in words, under ``HEADER`` and a column for each score."""
    steps = f"{row['step']:.1f}" if row["reached"] else "never"
    if 0 < row["reached"] < row["seeds"]:
        steps += f" ({row['reached']} of {row['seeds']} runs)"
    return [row["remedy"], f"{row['accuracy']:.1%}", steps, *map(_in_words, row["lost"].items())]


def _in_words(lost: tuple[str, Interval]) -> str:
    score, interval = lost
    if math.isnan(interval.value):
        return "–"
    sign, unit = (1, " %") if score.startswith("perplexity") else (-1, " points")
    text = f"{100 * sign * interval.value:+.1f}{unit}"
    if math.isnan(interval.low):
        return text
    low, high = sorted((100 * sign * interval.low, 100 * sign * interval.high))
    return f"{text} [{low:+.1f}, {high:+.1f}]"


def header(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The titles of the columns of ``cells``."""
    return [*HEADER, *(SCORES[score] for score in rows[0]["lost"])]


def table(records: Sequence[Record]) -> str:
    """The finished records of a folder in Markdown: a table for each base and configuration."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        if "test" in record:
            config = {n: v for n, v in record["config"].items() if n not in ("remedy", "seed")}
            groups.setdefault(repr((config, record["inputs"])), []).append(record)
    tables = []
    for group in groups.values():
        with_none = {r["config"]["seed"] for r in group if r["config"]["remedy"] == NONE}
        comparable = [r for r in group if r["config"]["seed"] in with_none]
        if comparable:
            rows = compare(comparable)
            tables.append(markdown_table(header(rows), map(cells, rows)))
    return "\n\n".join(tables) + "\n" if tables else ""
