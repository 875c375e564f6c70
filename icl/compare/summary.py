"""What a comparison found: records and answers in, one dictionary of plain figures out.

Intervals resample messages and seeds, tests are paired: see ``clfcore.evaluation.paired``. What
every key means is said where it is made; ``icl.report`` draws it.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import combinations, product
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch

from clfcore.data.split import content_hash
from clfcore.errors import TuneshotError
from clfcore.evaluation.intervals import Interval
from clfcore.evaluation.metrics import METRICS, LabelledPredictions, added_up, reliability
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
from clfcore.evaluation.perturb import PERTURBATIONS
from clfcore.evaluation.provenance import cpu_name
from clfcore.evaluation.records import Record, read_lines
from clfcore.evaluation.shown import pooled
from icl.compare.crossover import Crossover, crossover_interval
from icl.compare.methods import METHODS
from icl.compare.plan import Plan
from icl.compare.task_split import TaskSplit
from icl.report.findings import FORMAT

# Whose prices the same prompts are given: small models of three providers, in LiteLLM's names.
PRICED_MODELS = ("gpt-4o-mini", "claude-haiku-4-5", "gemini/gemini-2.5-flash-lite")
LIBRARIES = ("scikit-learn", "sentence-transformers", "scipy", "numpy")  # beside those of records

ComparisonSummary = dict[str, Any]  # plain values for JSON, see ``summarize``


def summarize(
    plan: Plan,
    split: TaskSplit,
    records: Sequence[Record],
    answers: Path,
    *,
    command: str,
    jobs: int = 1,
    disagreements: Mapping[str, Any] | None = None,
) -> ComparisonSummary:
    """All figures of a comparison.

    Args:
        plan: what was run.
        split: on which messages.
        records: of its cells.
        answers: the folder with their answers.
        command: runs it again.
        jobs: how many cells ran at a time.
        disagreements: see ``explain``.

    Raises:
        TuneshotError: the answers cannot be read; or no cell has ended well.
    """
    worked = [record for record in records if "test" in record]
    if not worked:
        failed = records[0]["error"] if records else "nothing was run"
        raise TuneshotError(f"no method could be run: {failed}")
    results = _Results(plan, split, worked, answers)
    return {
        "format": FORMAT,
        "command": command,
        "config": {**asdict(plan), "test_size": len(split.test)},
        "data": {
            "source": split.source,
            "sha256": split.sha256,
            "task": split.task.name,
            "labels": list(split.task.labels),
            "pool": len(split.pool),
            "pool_labels": _counted(split.task.labels, split.pool),
            "test": len(split.test),
            "test_labels": _counted(split.task.labels, split.test),
            "split_seed": split.split_seed,
        },
        "versions": {**worked[-1]["versions"], **{name: version(name) for name in LIBRARIES}},
        "machine": {
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "jobs": jobs,
            "threads": torch.get_num_threads() if jobs == 1 else (os.cpu_count() or 1) // jobs,
        },
        "created": max(record["created"] for record in worked),
        "seconds": round(sum(record["seconds"] for record in worked), 1),
        "metric": plan.metric,
        "seeds": list(plan.seeds),
        "budgets": list(plan.budgets),
        "methods": [
            {
                "key": key,
                "name": method.name,
                "family": method.family,
                "about": plan.lm if method.asks_lm
                else plan.base if method.family == "fine_tuned" else "",
                "chooses": method.chooses,
            }
            for key, method in ((key, METHODS[key]) for key in plan.methods)
        ],
        "failures": [
            {**{name: record["config"][name] for name in ("method", "budget", "seed")},
             "error": record["error"]}
            for record in records
            if "error" in record
        ],
        "points": list(results.points()),
        "memory_mb": results.memory(),
        "tests": list(results.tests()),
        "crossovers": list(results.crossovers()),
        "robustness": results.robustness(),
        "second": results.second(),
        "orders": results.orders(),
        "prices": results.prices(),
        "disagreements": disagreements
        or {"a": "", "b": "", "budget": 0, "seed": 0, "count": 0, "items": []},
    }  # fmt: skip


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


class _Results:
    """Reads the answers once and computes what the summary wants; arguments as for it."""

    def __init__(
        self, plan: Plan, split: TaskSplit, records: Sequence[Record], answers: Path
    ) -> None:
        self.plan, self.split = plan, split
        self.labels, self._folder = split.task.labels, answers
        self._resamples = resamples(len(split.test), len(plan.seeds))
        self._robust: dict[str, Record] = {}  # method -> its record that has more than the test
        by_place: dict[tuple[str, int], dict[int, Record]] = {}
        for record in records:
            config = record["config"]
            by_place.setdefault((config["method"], config["budget"]), {})[config["seed"]] = record
            if record["more"]:
                self._robust[config["method"]] = record
        self._points: dict[tuple[str, int], MethodAtBudget] = {}
        for key, budget in product(plan.methods, (0, *plan.budgets)):
            by_seed = by_place.get((key, budget), {})
            seeds = plan.seeds if METHODS[key].chooses else plan.seeds[:1]
            if by_seed.keys() >= set(seeds):
                self._points[key, budget] = self._point([by_seed[seed] for seed in seeds])

    def _point(self, records: Sequence[Record]) -> MethodAtBudget:
        runs = [self._predictions(record, "test") for record in records]
        if len(runs) < len(self.plan.seeds):  # nothing depends on the seed
            runs = runs * len(self.plan.seeds)
        estimates = {name: estimate(name, runs, self._resamples) for name in METRICS}
        return MethodAtBudget(records, runs, estimates)

    def _predictions(self, record: Record, about: str) -> LabelledPredictions:
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
                "metrics": {name: _figure(each) for name, each in point.estimates.items()},
                "shown": pooled([record["shown"] for record in point.records if record["shown"]]),
                "asked": messages,
                "no_answer": sum(test.get("no_answer", 0) for test in tests),
                "confusion": added_up([test["confusion"] for test in tests]),
                "reliability": reliability(point.runs[: len(point.records)]),
                "learn_seconds": mean(record["learn_seconds"] for record in point.records),
                "ms": mean(test["ms_per_message"] for test in tests),
                "prompt_tokens": sum(record["prompt_tokens"] for record in point.records)
                / messages,
                "dollars": None if None in dollars else sum(d or 0.0 for d in dollars) / messages,
            }

    def memory(self) -> dict[str, float]:
        """Method -> megabytes."""
        peaks = {key: record["more"].get("memory") for key, record in self._robust.items()}
        return {key: m["megabytes"] for key, m in peaks.items() if m and m["megabytes"]}

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
                        "difference": _interval(gap),
                    }
                )
            for test, adjusted in zip(tests, holm([test["p"] for test in tests]), strict=True):
                yield {**test, "p_holm": adjusted}

    def crossovers(self) -> Iterator[dict[str, Any]]:
        """From how many labels on each fine-tuned method is at least as good as each prompt."""
        tuned = [key for key in self.plan.methods if METHODS[key].family == "fine_tuned"]
        prompts = [key for key in self.plan.methods if METHODS[key].asks_lm]
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

    # --- what only the largest budget has -------------------------------------------------------

    def robustness(self) -> dict[str, Any]:
        """The same messages in other words."""
        rows, messages = [], 0
        for key, record in self._robust.items():
            unchanged = self._predictions(record, "hard")
            messages = len(unchanged.truth)
            drawn = resamples(messages, 1)
            before = estimate("accuracy", [unchanged], drawn)
            for variant in PERTURBATIONS:
                perturbed = self._predictions(record, variant)
                after = estimate("accuracy", [perturbed], drawn)
                rows.append(
                    {
                        "method": key,
                        "variant": variant,
                        "plain": before.value,
                        "accuracy": after.value,
                        "drop": _interval(difference(before, after)),
                        "changed": float((unchanged.predicted != perturbed.predicted).mean()),
                    }
                )
        return {"budget": self.plan.budgets[-1], "messages": messages, "rows": rows}

    def orders(self) -> dict[str, Any]:
        """The same demonstrations in other orders."""
        rows, messages = [], 0
        for key, record in self._robust.items():
            orders = [name for name in record["more"] if name.startswith("order ")]
            if not orders:
                continue
            runs = [self._predictions(record, name) for name in orders]
            messages = len(runs[0].truth)
            accuracies = [float((run.predicted == run.truth).mean()) for run in runs]
            labels = np.stack([run.predicted for run in runs])  # (R, N)
            rows.append(
                {
                    "method": key,
                    "accuracies": accuracies,
                    "spread": max(accuracies) - min(accuracies),
                    "changed": float((labels != labels[0]).any(axis=0).mean()),
                }
            )
        return {"budget": self.plan.budgets[-1], "messages": messages, "rows": rows}

    def second(self) -> dict[str, Any] | None:
        """The other corpus, with what was learned from the first."""
        rows: list[dict[str, Any]] = []
        metric, messages = self.plan.metric, len(self.split.second)
        if not messages:
            return None
        for key, record in self._robust.items():
            if "second" not in record["more"]:
                continue
            here, there = (self._predictions(record, about) for about in ("test", "second"))
            first = estimate(metric, [here], resamples(len(here.truth), 1))
            drawn = resamples(messages, 1)
            estimates = {name: estimate(name, [there], drawn) for name in METRICS}
            rows.append(
                {
                    "method": key,
                    "metrics": {name: _figure(each) for name, each in estimates.items()},
                    "first": first.value,
                    "drop": _interval(difference(first, estimates[metric], paired=False)),
                }
            )
        return {
            "source": self.split.second_source,
            "sha256": content_hash(self.split.second),
            "messages": messages,
            "budget": self.plan.budgets[-1],
            "rows": rows,
        }

    def prices(self) -> dict[str, Any]:
        """What the prompts would cost at providers, by LiteLLM's table."""
        per_token = _price_table()
        rows = [
            {
                "method": point["method"],
                "budget": point["budget"],
                "prompt_tokens": point["prompt_tokens"],
                "dollars_per_1000": {
                    model: 1000 * point["prompt_tokens"] * price
                    for model, price in per_token.items()
                },
            }
            for point in self.points()
            if METHODS[point["method"]].asks_lm and per_token
        ]
        models = [{"model": name, "dollars_per_token": price} for name, price in per_token.items()]
        return {
            "litellm": version("litellm") if per_token else None,
            "models": models,
            "rows": rows,
        }


# --- words and numbers --------------------------------------------------------------------------


def _sentence(of: str, over: str, crossover: Crossover) -> str:
    """For instance: A is at least as good as B from about 70 labels on (95 %: 31 to 180)."""
    if crossover.value == math.inf:
        return f"{of} does not catch up with {over} {crossover.sentence().removeprefix('not ')}"
    return f"{of} is at least as good as {over} {crossover.sentence()}"


def _finite(budget: float) -> float | None:
    return None if math.isinf(budget) else budget


def _figure(figure: Estimate) -> dict[str, Any] | None:
    interval = _interval(figure.interval)
    return interval and {**interval, "seeds": figure.by_seed.tolist()}


def _interval(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else asdict(interval)


def _counted(labels: Sequence[str], examples: Sequence[Any]) -> dict[str, int]:
    return {label: sum(example.label == label for example in examples) for label in labels}


def _price_table() -> dict[str, float]:
    """Model -> dollars per prompt token; empty without LiteLLM."""
    from icl.lm.provider import load_litellm

    try:
        table = load_litellm().model_cost
    except TuneshotError:
        return {}
    return {
        name: table[name]["input_cost_per_token"]
        for name in PRICED_MODELS
        if table.get(name, {}).get("input_cost_per_token")
    }
