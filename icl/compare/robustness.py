"""What only the largest budget has: memory, thresholds, other words and orders, another corpus."""

from dataclasses import asdict
from typing import Any

import numpy as np

from clfcore.data.split import content_hash
from clfcore.evaluation.coverage import TARGETS, above_threshold, choose_threshold
from clfcore.evaluation.metrics import METRICS
from clfcore.evaluation.paired import difference, estimate, resamples
from clfcore.evaluation.perturb import PERTURBATIONS
from icl.compare.plan import HELD_OUT
from icl.compare.results import Results, figure_of, interval_of


def memory(results: Results) -> dict[str, float]:
    """Method -> megabytes."""
    peaks = {key: record["more"].get("memory") for key, record in results.robust.items()}
    return {key: m["megabytes"] for key, m in peaks.items() if m and m["megabytes"]}


def thresholds(results: Results) -> dict[str, Any]:
    """What a method answers if it is to be right so often, and how often it then is.

    The threshold is chosen on labelled messages that were put aside; what it does is measured on
    the test messages, with the method that learned from all labelled ones.
    """
    rows, held_out = [], 0
    for key, record in results.robust.items():
        if HELD_OUT not in record["more"]:
            continue
        aside, test = (results.predictions(record, about) for about in (HELD_OUT, "test"))
        held_out = len(aside.truth)
        for target in TARGETS:
            threshold = choose_threshold(aside, target)
            row: dict[str, Any] = {"method": key, "target": target, "threshold": threshold}
            if threshold is not None:
                coverage, accuracy = above_threshold(test, threshold)
                row |= {"coverage": asdict(coverage)}
                row |= {"accuracy": asdict(accuracy) if accuracy.of else None}
            rows.append(row)
    return {"budget": results.plan.budgets[-1], "held_out": held_out, "rows": rows}


def robustness(results: Results) -> dict[str, Any]:
    """The same messages in other words."""
    rows, messages = [], 0
    for key, record in results.robust.items():
        unchanged = results.predictions(record, "hard")
        messages = len(unchanged.truth)
        drawn = resamples(messages, 1)
        before = estimate("accuracy", [unchanged], drawn)
        for variant in PERTURBATIONS:
            perturbed = results.predictions(record, variant)
            after = estimate("accuracy", [perturbed], drawn)
            rows.append(
                {
                    "method": key,
                    "variant": variant,
                    "plain": before.value,
                    "accuracy": after.value,
                    "drop": interval_of(difference(before, after)),
                    "changed": float((unchanged.predicted != perturbed.predicted).mean()),
                }
            )
    return {"budget": results.plan.budgets[-1], "messages": messages, "rows": rows}


def orders(results: Results) -> dict[str, Any]:
    """The same demonstrations in other orders."""
    rows, messages = [], 0
    for key, record in results.robust.items():
        orders = [name for name in record["more"] if name.startswith("order ")]
        if not orders:
            continue
        runs = [results.predictions(record, name) for name in orders]
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
    return {"budget": results.plan.budgets[-1], "messages": messages, "rows": rows}


def second(results: Results) -> dict[str, Any] | None:
    """The other corpus, with what was learned from the first."""
    rows: list[dict[str, Any]] = []
    metric, messages = results.plan.metric, len(results.split.second)
    if not messages:
        return None
    for key, record in results.robust.items():
        if "second" not in record["more"]:
            continue
        here, there = (results.predictions(record, about) for about in ("test", "second"))
        first = estimate(metric, [here], resamples(len(here.truth), 1))
        drawn = resamples(messages, 1)
        estimates = {name: estimate(name, [there], drawn) for name in METRICS}
        rows.append(
            {
                "method": key,
                "metrics": {name: figure_of(each) for name, each in estimates.items()},
                "first": first.value,
                "drop": interval_of(difference(first, estimates[metric], paired=False)),
            }
        )
    return {
        "source": results.split.second_source,
        "sha256": content_hash(results.split.second),
        "messages": messages,
        "budget": results.plan.budgets[-1],
        "rows": rows,
    }
