"""The work of ``tuneshot compare``: checks everything first, runs, writes what was found."""

import json
import os
import shlex
from pathlib import Path
from typing import Any

from rich.table import Table

from clfcore.cli.terminal import ProgressBars, printable, stderr, stdout
from clfcore.config import DEFAULT_LM
from clfcore.data.messages import load_messages
from clfcore.errors import TuneshotError
from clfcore.paths import atomic_write
from clfcore.wording import duration
from icl.compare.disagreements import explain
from icl.compare.methods import METHODS
from icl.compare.plan import Plan, budgets_of
from icl.compare.run import run
from icl.compare.summary import ComparisonSummary, summarize
from icl.compare.task_split import split_task
from icl.lm.open import API, BF16
from icl.report.page import markdown, write_report

MAX_JOBS = 4  # each holds a language model


def compare(
    *,
    data: str | None,
    methods: str,
    budgets: str,
    seeds: int,
    out: Path,
    jobs: int | None,
    ray: str | None,
    same_model: bool,
    metric: str,
    **options: Any,  # noqa: ANN401
) -> None:
    """See ``tuneshot compare``; ``options`` are further ones of ``split_task`` and ``Plan``.

    Raises:
        TuneshotError: before any work, if something is not allowed or not to be had.
        SystemExit: 1, after all work, if some cells failed.
    """
    command = _command(
        data=data, methods=methods, budgets=budgets, seeds=seeds, same_model=same_model,
        metric=metric, out=out, **options,
    )  # fmt: skip
    named = tuple(dict.fromkeys(name.strip() for name in methods.split(",") if name.strip()))
    also = options.pop("also")
    split = split_task(
        load_messages(data),
        options.pop("task"),
        test_size=options.pop("test_size"),
        balanced=options["balanced"],
        split_seed=options.pop("split_seed"),
        second=None if also is None else load_messages(also),
    )
    if same_model:
        options["base"] = _fine_tunable(options["lm"])
    plan = Plan(
        methods=named,
        budgets=budgets_of(budgets, len(split.pool)),
        seeds=tuple(range(seeds)),
        metric=metric,
        **options,
    )
    if jobs is None:
        jobs = min(os.cpu_count() or 1, MAX_JOBS)
    stderr.print(
        f"{printable(split.source)}: {len(split.pool):,} messages that may be labelled, "
        f"{len(split.test):,} to ask about; task {split.task.name}"
    )
    with ProgressBars() as bars:
        records = run(plan, split, out, bars, jobs=jobs, ray=ray)
        bars("explain", 0, 1)
        disagreements = explain(plan, split, records, out / "answers")
        bars("explain", 1, 1)
    summary = summarize(
        plan, split, records, out / "answers",
        command=command, jobs=jobs, disagreements=disagreements,
    )  # fmt: skip
    write(summary, out)
    _print_summary(summary, out)
    failed = [record for record in records if "error" in record]
    for record in failed:
        config = record["config"]
        where = f"{config['method']}, {config['budget']} labels, seed {config['seed']}"
        stderr.print(f"failed: {where}: {printable(record['error'])}")
    if failed:
        raise SystemExit(1)


def write(summary: ComparisonSummary, out: Path) -> None:
    """Writes ``summary.json``, ``table.md`` and ``report.html``.

    Raises:
        TuneshotError: they cannot be written.
    """
    with atomic_write(out / "summary.json") as new:
        new.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    with atomic_write(out / "table.md") as new:
        new.write_text(markdown(summary), encoding="utf-8")
    write_report(summary, out / "report.html")


def show_methods() -> None:
    """Lists the methods and who chooses what they learn from."""
    chooses = {"random": "at random", "votek": "by vote-k", "": "none are needed"}
    table = Table("method", "what it is", "family", "messages to label")
    for key, method in METHODS.items():
        table.add_row(key, method.name, method.family, chooses[method.chooses])
    stdout.print(table)


def _fine_tunable(lm: str) -> str:
    """The model of ``lm`` as ``load_base`` calls it.

    Raises:
        TuneshotError: its weights are not here.
    """
    if lm.startswith(API):
        raise TuneshotError(
            f"{lm} cannot be fine-tuned here: its weights are elsewhere; leave out --same-model, "
            f"or choose a local --lm such as {DEFAULT_LM}"
        )
    return lm.removeprefix(BF16)


def _command(**options: Any) -> str:  # noqa: ANN401
    """The command with all that was chosen, to run it again."""
    words = ["tuneshot", "compare"]
    for name, value in options.items():
        if value is None or value == "" or value is False:
            continue
        flag = "-k" if name == "k" else f"--{name.replace('_', '-')}"
        words += [flag] if value is True else [flag, str(value)]
    if options.get("robust") is False:
        words.append("--no-robust")
    return shlex.join(words)


def _print_summary(summary: ComparisonSummary, out: Path) -> None:
    """The answer in a few lines."""
    metric, last = summary["metric"], summary["budgets"][-1]
    names = {method["key"]: method["name"] for method in summary["methods"]}
    table = Table(title=f"{metric.replace('_', ' ')}, {last:,} labelled messages")
    for column in ("method", "value", "95 % interval", "ms a message"):
        table.add_column(column, justify="left" if column == "method" else "right")
    points = [p for p in summary["points"] if p["budget"] in (0, last) and p["metrics"][metric]]
    for point in sorted(points, key=lambda p: -p["metrics"][metric]["value"]):
        figure = point["metrics"][metric]
        interval = f"{figure['low']:.3f} to {figure['high']:.3f}"
        table.add_row(names[point["method"]], f"{figure['value']:.3f}", interval,
                      f"{point['ms']:.1f}")  # fmt: skip
    stdout.print(table)
    for crossing in summary["crossovers"]:
        stdout.print(crossing["sentence"])
    stdout.print(f"{out / 'report.html'} ({duration(summary['seconds'])} of work)")
