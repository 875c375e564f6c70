"""What a comparison found: records and answers in, one dictionary of plain figures out.

Intervals resample messages and seeds, tests are paired: see ``paired.py``. What every key means
is said where it is made; ``report.py`` draws it.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch

from clfcore.data.split import content_hash
from clfcore.errors import TuneshotError
from clfcore.evaluation.paired import (
    METRICS,
    Answers,
    Estimate,
    Interval,
    combined,
    difference,
    discordant,
    estimate,
    holm,
    mcnemar,
    reliability,
    resamples,
    unpaired,
)
from clfcore.evaluation.perturb import PERTURBATIONS
from clfcore.evaluation.provenance import cpu_name
from clfcore.evaluation.records import Record, read_lines
from icl.compare.crossover import Crossover, crossover_interval
from icl.compare.methods import METHODS, Method
from icl.compare.plan import Plan
from icl.compare.task_split import Contest

FORMAT = 1
# What the same prompts would cost: small models of three providers, in LiteLLM's names.
PRICED = ("gpt-4o-mini", "claude-haiku-4-5", "gemini/gemini-2.5-flash-lite")

Summary = dict[str, Any]


def summarize(
    plan: Plan,
    contest: Contest,
    records: Sequence[Record],
    answers: Path,
    *,
    command: str,
    jobs: int = 1,
    disagreements: Mapping[str, Any] | None = None,
) -> Summary:
    """All figures of a comparison.

    Args:
        plan: what was run.
        contest: on which messages.
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
    results = Results(plan, contest, worked, answers)
    return {
        "format": FORMAT,
        "command": command,
        "config": {**asdict(plan), "test_size": len(contest.test)},
        "data": {
            "source": contest.source,
            "sha256": contest.sha256,
            "task": contest.task.name,
            "labels": list(contest.task.labels),
            "pool": len(contest.pool),
            "pool_labels": _counted(contest.task.labels, contest.pool),
            "test": len(contest.test),
            "test_labels": _counted(contest.task.labels, contest.test),
            "split_seed": contest.split_seed,
        },
        "versions": _versions(worked[-1]),
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
                "name": METHODS[key].name,
                "family": METHODS[key].family,
                "about": _about(plan, METHODS[key]),
                "chooses": METHODS[key].chooses,
            }
            for key in plan.methods
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
        "disagreements": disagreements or NO_DISAGREEMENTS,
    }  # fmt: skip


NO_DISAGREEMENTS: Mapping[str, Any] = {
    "a": "", "b": "", "budget": 0, "seed": 0, "count": 0, "items": []
}  # fmt: skip


def read_answers(lines: Sequence[Record], labels: Sequence[str]) -> Answers:
    """Lines of a file of answers as arrays, in their order."""
    number = {label: column for column, label in enumerate(labels)}
    return Answers(
        probabilities=np.array([[line["probabilities"][n] for n in labels] for line in lines]),
        answers=np.array([number[line["answer"]] for line in lines], np.int64),
        truth=np.array([number[line["label"]] for line in lines], np.int64),
    )


@dataclass(frozen=True)
class Point:
    """One method at one budget, over all seeds.

    Attributes:
        records: one a seed; of a method that needs no labels, one.
        runs: their answers, one a seed.
        estimates: metric -> its value and interval.
    """

    records: Sequence[Record]
    runs: Sequence[Answers]
    estimates: Mapping[str, Estimate]


class Results:
    """Reads the answers once and computes what the summary wants; arguments as for it."""

    def __init__(
        self, plan: Plan, contest: Contest, records: Sequence[Record], answers: Path
    ) -> None:
        self.plan, self.contest = plan, contest
        self.labels, self._folder = contest.task.labels, answers
        self._resamples = resamples(len(contest.test), len(plan.seeds))
        self._first: dict[str, Record] = {}  # method -> the record that has more
        by_place: dict[tuple[str, int], dict[int, Record]] = {}
        for record in records:
            config = record["config"]
            by_place.setdefault((config["method"], config["budget"]), {})[config["seed"]] = record
            if record["more"]:
                self._first[config["method"]] = record
        self._points: dict[tuple[str, int], Point] = {}
        for key in plan.methods:
            for budget in (0, *plan.budgets):
                found = by_place.get((key, budget), {})
                wanted = plan.seeds if METHODS[key].chooses else plan.seeds[:1]
                if all(seed in found for seed in wanted):
                    self._points[key, budget] = self._point([found[seed] for seed in wanted])

    def _point(self, records: Sequence[Record]) -> Point:
        runs = [read_answers(self._asked(record, "test"), self.labels) for record in records]
        if len(runs) < len(self.plan.seeds):  # nothing depends on the seed
            runs = runs * len(self.plan.seeds)
        estimates = {name: estimate(name, runs, self._resamples) for name in METRICS}
        return Point(records, runs, estimates)

    def _asked(self, record: Record, about: str) -> list[Record]:
        lines = read_lines(self._folder / record["answers"])
        return [line for line in lines if line["asked"] == about]

    def at(self, key: str, budget: int) -> Point | None:
        """A method's point; what needs no labels is the same at every budget."""
        return self._points.get((key, budget if METHODS[key].chooses else 0))

    # --- figures --------------------------------------------------------------------------------

    def points(self) -> Iterator[dict[str, Any]]:
        """Every method at every budget."""
        for (key, budget), point in self._points.items():
            tests = [record["test"] for record in point.records]
            dollars: list[float | None] = [record["dollars"] for record in point.records]
            asked = sum(test["messages"] for test in tests)
            yield {
                "method": key,
                "budget": budget,
                "labels_used": point.records[0]["labels_used"] if METHODS[key].chooses else 0,
                "metrics": {name: _figure(each) for name, each in point.estimates.items()},
                "confusion": np.sum([test["confusion"] for test in tests], axis=0).tolist(),
                "reliability": [
                    {"confidence": b.confidence, "accuracy": b.accuracy, "count": b.answers}
                    for b in reliability(point.runs[: len(point.records)])
                ],
                "learn_seconds": mean(record["learn_seconds"] for record in point.records),
                "ms": mean(test["ms_per_message"] for test in tests),
                "prompt_tokens": sum(record["prompt_tokens"] for record in point.records) / asked,
                "dollars": None if None in dollars else sum(d or 0.0 for d in dollars) / asked,
            }

    def memory(self) -> dict[str, float]:
        """Method -> megabytes."""
        found = {key: record["more"].get("memory") for key, record in self._first.items()}
        return {key: m["megabytes"] for key, m in found.items() if m and m["megabytes"]}

    # --- pairs ----------------------------------------------------------------------------------

    def tests(self) -> Iterator[dict[str, Any]]:
        """Pairs of methods at each budget: exact McNemar, Holm over the pairs of one budget."""
        metric = self.plan.metric
        for budget in self.plan.budgets:
            found: list[dict[str, Any]] = []
            for a, b in combinations(self.plan.methods, 2):
                left, right = self.at(a, budget), self.at(b, budget)
                if left is None or right is None:
                    continue
                counts = [discordant(x, y) for x, y in zip(left.runs, right.runs, strict=True)]
                gap = difference(left.estimates[metric], right.estimates[metric])
                found.append(
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
            for test, adjusted in zip(found, holm([test["p"] for test in found]), strict=True):
                yield {**test, "p_holm": adjusted}

    def crossovers(self) -> Iterator[dict[str, Any]]:
        """From how many labels on each fine-tuned method is at least as good as each prompt."""
        tuned = [key for key in self.plan.methods if METHODS[key].family == "fine_tuned"]
        prompts = [key for key in self.plan.methods if METHODS[key].asks_lm]
        for of in tuned:
            for over in prompts:
                left, right = (
                    [self.at(key, budget) for budget in self.plan.budgets] for key in (of, over)
                )
                if None in left or None in right:
                    continue
                found = crossover_interval(
                    self.plan.budgets,
                    [p.estimates[self.plan.metric] for p in left if p],
                    [p.estimates[self.plan.metric] for p in right if p],
                )
                if found is not None:
                    yield {
                        "of": of,
                        "over": over,
                        "budget": found.value.budget,
                        "low": found.low.budget,
                        "high": found.high.budget,
                        "sentence": _sentence(METHODS[of].name, METHODS[over].name, found),
                    }

    # --- what only the largest budget has -------------------------------------------------------

    def robustness(self) -> dict[str, Any]:
        """The same messages in other words."""
        rows = []
        messages = 0
        for key, record in self._first.items():
            plain = read_answers(self._asked(record, "hard"), self.labels)
            messages = len(plain.truth)
            drawn = resamples(messages, 1)
            for variant in PERTURBATIONS:
                other = read_answers(self._asked(record, variant), self.labels)
                before, after = (estimate("accuracy", [x], drawn) for x in (plain, other))
                rows.append(
                    {
                        "method": key,
                        "variant": variant,
                        "plain": before.value,
                        "accuracy": after.value,
                        "drop": _interval(difference(before, after)),
                        "changed": float((plain.answers != other.answers).mean()),
                    }
                )
        return {"budget": self.plan.budgets[-1], "messages": messages, "rows": rows}

    def orders(self) -> dict[str, Any]:
        """The same demonstrations in other orders."""
        rows = []
        messages = 0
        for key, record in self._first.items():
            names = [name for name in record["more"] if name.startswith("order ")]
            if not names:
                continue
            runs = [read_answers(self._asked(record, name), self.labels) for name in names]
            messages = len(runs[0].truth)
            accuracies = [float((run.answers == run.truth).mean()) for run in runs]
            answers = np.stack([run.answers for run in runs])  # (R, N)
            rows.append(
                {
                    "method": key,
                    "accuracies": accuracies,
                    "spread": max(accuracies) - min(accuracies),
                    "changed": float((answers != answers[0]).any(axis=0).mean()),
                }
            )
        return {"budget": self.plan.budgets[-1], "messages": messages, "rows": rows}

    def second(self) -> dict[str, Any] | None:
        """The other corpus, with what was learnt from the first."""
        rows: list[dict[str, Any]] = []
        metric, messages = self.plan.metric, len(self.contest.second)
        if not messages:
            return None
        for key, record in self._first.items():
            if not (lines := self._asked(record, "second")):
                continue
            run = read_answers(lines, self.labels)
            drawn = resamples(messages, 1)
            here = read_answers(self._asked(record, "test"), self.labels)
            first = estimate(metric, [here], resamples(len(here.truth), 1))
            found = {name: estimate(name, [run], drawn) for name in METRICS}
            rows.append(
                {
                    "method": key,
                    "metrics": {name: _figure(each) for name, each in found.items()},
                    "first": first.value,
                    "drop": _interval(unpaired(first, found[metric])),
                }
            )
        return {
            "source": self.contest.second_source,
            "sha256": content_hash(self.contest.second),
            "messages": messages,
            "budget": self.plan.budgets[-1],
            "rows": rows,
        }

    def prices(self) -> dict[str, Any]:
        """What the prompts would cost at providers, by LiteLLM's table."""
        known = _price_table()
        rows = [
            {
                "method": point["method"],
                "budget": point["budget"],
                "prompt_tokens": point["prompt_tokens"],
                "dollars_per_1000": {
                    model: 1000 * point["prompt_tokens"] * price for model, price in known.items()
                },
            }
            for point in self.points()
            if METHODS[point["method"]].asks_lm and known
        ]
        models = [{"model": name, "dollars_per_token": price} for name, price in known.items()]
        return {"litellm": _version("litellm") if known else None, "models": models, "rows": rows}


# --- words and numbers --------------------------------------------------------------------------


def _sentence(of: str, over: str, found: Crossover) -> str:
    """For instance: A is at least as good as B from about 70 labels on (95 %: 31 to 180)."""
    if found.value.side == "beyond":
        return f"{of} does not catch up with {over} {found.sentence().removeprefix('not ')}"
    return f"{of} is at least as good as {over} {found.sentence()}"


def _figure(found: Estimate) -> dict[str, Any] | None:
    if (interval := found.interval) is None:
        return None
    return {**asdict(interval), "seeds": found.by_seed.tolist()}


def _interval(found: Interval | None) -> dict[str, float] | None:
    return None if found is None else asdict(found)


def _about(plan: Plan, method: Method) -> str:
    if method.asks_lm:
        return plan.lm
    return plan.base if method.family == "fine_tuned" else ""


def _counted(labels: Sequence[str], examples: Sequence[Any]) -> dict[str, int]:
    return {label: sum(example.label == label for example in examples) for label in labels}


def _versions(record: Record) -> dict[str, str]:
    names = ("scikit-learn", "sentence-transformers", "scipy", "numpy")
    return {**record["versions"], **{name: _version(name) or "" for name in names}}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _price_table() -> dict[str, float]:
    """Model -> dollars per prompt token; empty without LiteLLM."""
    from icl.lm.provider import load_litellm

    try:
        table = load_litellm().model_cost
    except TuneshotError:
        return {}
    return {
        name: table[name]["input_cost_per_token"]
        for name in PRICED
        if table.get(name, {}).get("input_cost_per_token")
    }
