"""What a comparison found: records and answers in, one dictionary of plain figures out.

Intervals resample messages and seeds, tests are paired: see ``clfcore.evaluation.paired``. What
every key means is said where it is made; ``icl.report`` draws it.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from clfcore.errors import TuneshotError
from clfcore.evaluation.provenance import cpu_name
from clfcore.evaluation.records import Record
from icl.compare.methods import METHODS
from icl.compare.plan import Plan
from icl.compare.results import Results
from icl.compare.robustness import memory, orders, robustness, second, thresholds
from icl.compare.task_split import TaskSplit
from icl.report.findings import FORMAT, Findings
from icl.report.sentences import verdict_record

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
    results = Results(plan, split, worked, answers)
    summary: ComparisonSummary = {
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
        "memory_mb": memory(results),
        "thresholds": thresholds(results),
        "tests": list(results.tests()),
        "crossovers": list(results.crossovers()),
        "robustness": robustness(results),
        "second": second(results),
        "orders": orders(results),
        "prices": prices(results),
        "disagreements": disagreements
        or {"a": "", "b": "", "budget": 0, "seed": 0, "count": 0, "items": []},
    }  # fmt: skip
    return {**summary, "verdict": verdict_record(Findings(summary))}


# --- parts of it ----------------------------------------------------------------------------------


def _counted(labels: Sequence[str], examples: Sequence[Any]) -> dict[str, int]:
    return {label: sum(example.label == label for example in examples) for label in labels}


def prices(results: Results) -> dict[str, Any]:
    """What the prompts would cost at providers, by LiteLLM's table."""
    per_token = _price_table()
    rows = [
        {
            "method": point["method"],
            "budget": point["budget"],
            "prompt_tokens": point["prompt_tokens"],
            "dollars_per_1000": {
                model: 1000 * point["prompt_tokens"] * price for model, price in per_token.items()
            },
        }
        for point in results.points()
        if METHODS[point["method"]].asks_lm and per_token
    ]
    models = [{"model": name, "dollars_per_token": price} for name, price in per_token.items()]
    return {
        "litellm": version("litellm") if per_token else None,
        "models": models,
        "rows": rows,
    }


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
