"""The answers of a comparison, read once: figures, pairs and crossovers of them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, product
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from clfcore.evaluation.coverage import accuracy_by_coverage
from clfcore.evaluation.intervals import Interval
from clfcore.evaluation.metrics import (
    CONFUSED_LABELS,
    METRICS,
    LabelledPredictions,
    added_up,
    confusion,
    reliability,
)
from clfcore.evaluation.paired import (
    Estimate,
    combined,
    difference,
    discordant,
    estimate,
    holm,
    mcnemar,
    resamples,
)
from clfcore.evaluation.records import Record, read_lines
from clfcore.evaluation.shown import pooled
from icl.compare.crossover import Crossover, crossover_interval
from icl.compare.methods import METHODS
from icl.compare.plan import Plan
from icl.compare.task_split import TaskSplit

MISTAKES = 12  # the most frequent ones, where there are too many labels for a table


@dataclass(frozen=True)
class MethodAtBudget:
    """One method at one budget, over all seeds.

    Attributes:
        records: one a seed; of a method that needs no labels, one.
        runs: their predictions for the test messages, one a seed.
        estimates: metric -> its value and interval.
    """

    records: Sequence[Record]
    runs: Sequence[LabelledPredictions]
    estimates: Mapping[str, Estimate]


class Results:
    """Reads the answers once and computes what the summary wants; arguments as for it."""

    def __init__(
        self, plan: Plan, split: TaskSplit, records: Sequence[Record], answers: Path
    ) -> None:
        self.plan, self.split = plan, split
        self.labels, self._folder = split.task.labels, answers
        self._resamples = resamples(len(split.test), len(plan.seeds))
        self.robust: dict[str, Record] = {}  # method -> its record that has more than the test
        by_place: dict[tuple[str, int], dict[int, Record]] = {}
        for record in records:
            config = record["config"]
            by_place.setdefault((config["method"], config["budget"]), {})[config["seed"]] = record
            if record["more"]:
                self.robust[config["method"]] = record
        self._points: dict[tuple[str, int], MethodAtBudget] = {}
        for key, budget in product(plan.methods, (0, *plan.budgets)):
            by_seed = by_place.get((key, budget), {})
            seeds = plan.seeds if METHODS[key].chooses else plan.seeds[:1]
            if by_seed.keys() >= set(seeds):
                self._points[key, budget] = self._point([by_seed[seed] for seed in seeds])

    def _point(self, records: Sequence[Record]) -> MethodAtBudget:
        runs = [self.predictions(record, "test") for record in records]
        if len(runs) < len(self.plan.seeds):  # nothing depends on the seed
            runs = runs * len(self.plan.seeds)
        estimates = {name: estimate(name, runs, self._resamples) for name in METRICS}
        return MethodAtBudget(records, runs, estimates)

    def predictions(self, record: Record, about: str) -> LabelledPredictions:
        """What a cell answered about ``test``, or about one of its ``more``."""
        lines = [
            line for line in read_lines(self._folder / record["answers"]) if line["asked"] == about
        ]
        truth, predicted, p = (
            [line[name] for line in lines] for name in ("label", "answer", "probabilities")
        )
        return LabelledPredictions.from_labels(truth, predicted, p, self.labels)

    def at(self, key: str, budget: int) -> MethodAtBudget | None:
        """A method at a budget; what needs no labels is the same at every budget."""
        return self._points.get((key, budget if METHODS[key].chooses else 0))

    # --- figures --------------------------------------------------------------------------------

    def points(self) -> Iterator[dict[str, Any]]:
        """Every method at every budget."""
        for (key, budget), point in self._points.items():
            tests = [record["test"] for record in point.records]
            dollars: list[float | None] = [record["dollars"] for record in point.records]
            messages = sum(test["messages"] for test in tests)
            yield {
                "method": key,
                "budget": budget,
                "labels_used": point.records[0]["labels_used"] if METHODS[key].chooses else 0,
                "metrics": {name: figure_of(each) for name, each in point.estimates.items()},
                "chosen": [chosen for r in point.records if (chosen := r.get("chosen"))],
                "shown": pooled([record["shown"] for record in point.records if record["shown"]]),
                "asked": messages,
                "no_answer": sum(test.get("no_answer", 0) for test in tests),
                **_confusion(point.runs[: len(point.records)], self.labels),
                "reliability": reliability(point.runs[: len(point.records)]),
                "coverage": accuracy_by_coverage(point.runs[: len(point.records)]),
                "learn_seconds": mean(record["learn_seconds"] for record in point.records),
                "ms": mean(test["ms_per_message"] for test in tests),
                "prompt_tokens": sum(record["prompt_tokens"] for record in point.records)
                / messages,
                "dollars": None if None in dollars else sum(d or 0.0 for d in dollars) / messages,
            }

    # --- pairs ----------------------------------------------------------------------------------

    def tests(self) -> Iterator[dict[str, Any]]:
        """Pairs of methods at each budget: exact McNemar, Holm over the pairs of one budget."""
        metric = self.plan.metric
        for budget in self.plan.budgets:
            tests: list[dict[str, Any]] = []
            for a, b in combinations(self.plan.methods, 2):
                left, right = self.at(a, budget), self.at(b, budget)
                if left is None or right is None:
                    continue
                counts = [discordant(x, y) for x, y in zip(left.runs, right.runs, strict=True)]
                gap = difference(left.estimates[metric], right.estimates[metric])
                tests.append(
                    {
                        "budget": budget,
                        "a": a,
                        "b": b,
                        "only_a": sum(only_a for only_a, _ in counts),
                        "only_b": sum(only_b for _, only_b in counts),
                        "p": combined([mcnemar(*count) for count in counts]),
                        "difference": interval_of(gap),
                    }
                )
            for test, adjusted in zip(tests, holm([test["p"] for test in tests]), strict=True):
                yield {**test, "p_holm": adjusted}

    def crossovers(self) -> Iterator[dict[str, Any]]:
        """From how many labels on each fine-tuned method is at least as good as each prompt."""
        tuned = [key for key in self.plan.methods if METHODS[key].family == "fine_tuned"]
        prompts = [key for key in self.plan.methods if METHODS[key].asks_lm and key not in tuned]
        for of, over in product(tuned, prompts):
            left, right = (
                [
                    point.estimates[self.plan.metric]
                    for budget in self.plan.budgets
                    if (point := self.at(key, budget))
                ]
                for key in (of, over)
            )
            if not len(left) == len(right) == len(self.plan.budgets):
                continue
            if crossing := crossover_interval(self.plan.budgets, left, right):
                yield {
                    "of": of,
                    "over": over,
                    "budget": _finite(crossing.value),
                    "low": _finite(crossing.low),
                    "high": _finite(crossing.high),
                    "sentence": _sentence(METHODS[of].name, METHODS[over].name, crossing),
                }


# --- words and numbers --------------------------------------------------------------------------


def _sentence(of: str, over: str, crossover: Crossover) -> str:
    """For instance: A is at least as good as B from about 70 labels on (95 %: 31 to 180)."""
    if crossover.value == math.inf:
        return f"{of} does not catch up with {over} {crossover.sentence().removeprefix('not ')}"
    return f"{of} is at least as good as {over} {crossover.sentence()}"


def _finite(budget: float) -> float | None:
    return None if math.isinf(budget) else budget


def _confusion(runs: Sequence[LabelledPredictions], labels: Sequence[str]) -> dict[str, Any]:
    """The table of labels and answers; of many labels, the most frequent mistakes."""
    table = added_up([confusion(run) for run in runs])
    if len(labels) <= CONFUSED_LABELS:
        return {"confusion": table.tolist()}
    of = table.sum(axis=1).tolist()
    rows, columns = np.nonzero(table)
    mistakes = [
        {"label": labels[row], "answer": [*labels, None][column], "messages": count, "of": of[row]}
        for row, column, count in zip(
            rows.tolist(), columns.tolist(), table[rows, columns].tolist(), strict=True
        )
        if row != column
    ]
    worst = sorted(mistakes, key=lambda each: -each["messages"])[:MISTAKES]
    return {"confusion": [], "mistakes": worst}


def figure_of(figure: Estimate) -> dict[str, Any] | None:
    """Value, interval and the value of each seed; ``None`` if it is undefined."""
    interval = interval_of(figure.interval)
    return interval and {**interval, "seeds": figure.by_seed.tolist()}


def interval_of(interval: Interval | None) -> dict[str, Any] | None:
    """``value``, ``low`` and ``high``."""
    return None if interval is None else asdict(interval)
