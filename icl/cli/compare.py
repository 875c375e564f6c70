"""``tuneshot compare``: checks everything first, runs, writes what came out."""

import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column

from clfcore.cli.options import with_config, with_settings
from clfcore.cli.terminal import (
    OUTPUT,
    ProgressBars,
    print_note,
    print_table,
    stderr,
    stdout,
    with_examples,
)
from clfcore.config import DEFAULT_LM
from clfcore.data.columns import MESSAGES
from clfcore.data.messages import DataSource
from clfcore.data.quality import conflict_note
from clfcore.errors import TuneshotError
from clfcore.evaluation.metrics import NBSP
from clfcore.evaluation.records import of_records
from clfcore.json_text import to_json
from clfcore.paths import atomic_write, check_can_write
from clfcore.types import NO_ANSWER
from clfcore.weights.source import check_source
from clfcore.wording import duration, listed, printable
from icl.cli.few_shot import note_unanswered_records
from icl.cli.options import TASK
from icl.compare.methods import METHODS
from icl.compare.plan import MEASURED, MODELS, Plan, budgets_of
from icl.compare.task_split import split_task
from icl.lm.connection import Connection
from icl.lm.open import API, check_lm, no_weights_here, with_dtype, without_dtype
from icl.pool.embed import check_embedder
from icl.prompt.tasks import Task

if TYPE_CHECKING:
    from icl.compare.summary import ComparisonSummary

DEFAULT_METHODS = (
    "fine_tuned,fine_tuned_all,few_shot_topk,few_shot_votek_pool,knn,vectors,tfidf,zero,majority"
)
MAX_JOBS = 4  # each holds a language model
RUN = "The run"  # a heading of --help


@with_examples(
    "--methods knn,tfidf,majority --budgets 8,64,all --no-robust",
    "--data mine.tsv --seeds 5 --metric f1 --out runs/mine",
    "--list",
)
@with_config(DataSource, "source", without=("val",))
@with_config(Connection, "connection")
@with_settings(Plan, defaults=True)
def compare(
    *,
    source: DataSource,
    connection: Connection,
    also: Annotated[
        str | None,
        typer.Option(
            help="Another corpus, as --data: who does well there, too?", rich_help_panel=MESSAGES
        ),
    ] = None,
    test_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Messages to ask about, at most; default: 200, or two for each label.",
            rich_help_panel=MESSAGES,
        ),
    ] = None,
    split_seed: Annotated[
        int, typer.Option(min=0, help="Which messages are asked about.", rich_help_panel=MESSAGES)
    ] = 0,
    methods: Annotated[
        str,
        typer.Option(help="Names, separated by commas; see --list.", rich_help_panel=MEASURED),
    ] = DEFAULT_METHODS,
    budgets: Annotated[
        str,
        typer.Option(
            help="Numbers of labelled messages, separated by commas; all: the pool.",
            rich_help_panel=MEASURED,
        ),
    ] = "8,16,64,256,1024,all",
    seeds: Annotated[
        int,
        typer.Option(min=1, help="Runs of each method and budget.", rich_help_panel=MEASURED),
    ] = 3,
    settings: dict[str, Any],
    same_model: Annotated[
        bool,
        typer.Option(
            "--same-model", help="Fine-tune the language model of --lm.", rich_help_panel=MODELS
        ),
    ] = False,
    task: Annotated[
        str,
        typer.Option(
            help="Whose prompt format, see icl tasks; default: by the labels.",
            rich_help_panel=TASK,
        ),
    ] = "",
    out: Annotated[
        Path,
        typer.Option(
            help="Folder of records, summary.json, table.md and report.html.",
            rich_help_panel=OUTPUT,
        ),
    ] = Path("runs/compare"),
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Cells at a time; default: one a core, at most {MAX_JOBS}.",
            rich_help_panel=RUN,
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Address of a Ray cluster to spread the cells over.", rich_help_panel=RUN
        ),
    ] = None,
    only_list: Annotated[
        bool, typer.Option("--list", help="Show the methods.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Find out from how many labelled messages on fine-tuning beats prompting, on your data.

    A killed comparison continues where it was when it is started again.
    """
    if only_list:
        _print_methods()
        return
    if settings["k"] < 1:
        raise typer.BadParameter(f"must be 1 or more, not {settings['k']}", param_hint="-k")
    command = _command(
        **source.to_dict(), methods=methods, budgets=budgets, seeds=seeds, same_model=same_model,
        out=out, test_size=test_size, also=also, task=task,
        split_seed=split_seed, **settings, **connection.given,
    )  # fmt: skip
    if same_model:
        settings["base"] = _fine_tunable(settings["lm"])
    plan = Plan(  # before any message is read; how many there are is known later
        methods=tuple(dict.fromkeys(name for m in methods.split(",") if (name := m.strip()))),
        budgets=budgets_of(budgets, sys.maxsize),
        seeds=tuple(range(seeds)),
        connection=connection,
        **settings,
    )
    check_lm(plan.lm, connection.base_url)
    check_embedder(plan.embedder)
    if plan.lm.startswith(API) and any(METHODS[method].tunes_lm for method in plan.methods):
        raise no_weights_here(plan.lm)
    check_source(plan.base)
    check_can_write(out)
    messages = source.load()
    split = split_task(
        messages,
        task,
        test_size=test_size,
        balanced=plan.balanced,
        split_seed=split_seed,
        second=None if also is None else replace(source, data=also, test=None).load(),
    )
    if any(METHODS[method].asks_lm for method in plan.methods):
        split.task.check_prompt()
    plan = without_votes(plan, split.task)
    plan = replace(plan, budgets=budgets_of(budgets, len(split.pool)), lm=with_dtype(plan.lm))
    from icl.compare.disagreements import explain
    from icl.compare.run import run
    from icl.compare.summary import summarize
    from icl.report import page  # noqa: F401  a missing package is told before the work, not after

    jobs = jobs or min(os.cpu_count() or 1, MAX_JOBS)
    stderr.print(
        f"{printable(split.source)}: {len(split.pool):,} messages that may be labelled, "
        f"{len(split.test):,} to ask about; task {split.task.name}"
    )
    if split.not_asked:
        print_note(
            f"{len(split.not_asked):,} of {len(split.task.labels):,} labels have no message among "
            f"those asked about ({listed(split.not_asked)}); a larger --test-size has more of them"
        )
    if conflicts := conflict_note(messages.examples):
        print_note(conflicts)
    with ProgressBars() as bars:
        records = run(plan, split, out, bars, note=print_note, jobs=jobs, ray=ray)
        with of_records(out):
            bars("explain", 0, 1)
            disagreements = explain(plan, split, records, out / "answers")
            bars("explain", 1, 1)
            summary = summarize(
                plan, split, records, out / "answers",
                command=command, jobs=jobs, disagreements=disagreements,
            )  # fmt: skip
    _write(summary, out)
    _print_summary(summary, out)
    note_unanswered_records(records)
    failed = [record for record in records if "error" in record]
    for record in failed:
        config = record["config"]
        where = f"{config['method']}, {config['budget']} labels, seed {config['seed']}"
        stderr.print(f"failed: {where}: {printable(record['error'])}")
    if failed:
        raise typer.Exit(1)


def without_votes(plan: Plan, task: Task) -> Plan:
    """The plan without methods that vote, where labels mean another thing in each message.

    Raises:
        TuneshotError: nothing is left.
    """
    votes = [name for name in plan.methods if METHODS[name].votes] if task.has_choices else []
    if not votes:
        return plan
    print_note(
        f"{', '.join(votes)} left out: every message of {task.name} has choices of its own, so "
        "the right letters of others cannot vote"
    )
    return replace(plan, methods=tuple(name for name in plan.methods if name not in votes))


def _write(summary: "ComparisonSummary", out: Path) -> None:
    """Writes ``summary.json``, ``table.md`` and ``report.html``.

    Raises:
        TuneshotError: they cannot be written.
    """
    from icl.report.page import write_report
    from icl.report.tables import markdown

    with atomic_write(out / "summary.json") as new:
        new.write_text(to_json(summary, indent=1) + "\n", encoding="utf-8")
    with atomic_write(out / "table.md") as new:
        new.write_text(markdown(summary), encoding="utf-8")
    write_report(summary, out / "report.html")


def _print_methods() -> None:
    """Lists the methods and who chooses what they learn from."""
    chooses = {"random": "at random", "votek": "by vote-k", "": "none are needed"}
    print_table(
        "method", "what it is", "family", "messages to label",
        rows=[
            (key, method.name, method.family, chooses[method.chooses])
            for key, method in METHODS.items()
        ],
    )  # fmt: skip


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
    return without_dtype(lm)


def _command(**options: Any) -> str:  # noqa: ANN401
    """The command with all that was asked, to run it again."""
    words = ["tuneshot", "compare"]
    for name, value in options.items():
        option = "-k" if name == "k" else f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value is False and name in ("robust", "chat", "logprobs"):
            words.append(f"--no-{name}")
        elif value not in (None, "", False):
            words += [option, str(value)]
    return shlex.join(words)


def _print_summary(summary: "ComparisonSummary", out: Path) -> None:
    """The figures with the most labels, and the verdict."""
    from icl.report.findings import Findings
    from icl.report.sentences import say
    from icl.report.verdict import verdicts

    metric, last = summary["metric"], summary["budgets"][-1]
    names = {method["key"]: method["name"] for method in summary["methods"]}
    points = [p for p in summary["points"] if p["budget"] in (0, last) and p["metrics"][metric]]
    figures = [(p, p["metrics"][metric]) for p in points]
    silent = any(point["no_answer"] for point in points)
    columns = ["value", "95 % interval", *([NO_ANSWER] * silent), "ms a message"]
    print_table(
        "method",
        *(Column(name, justify="right") for name in columns),
        rows=[
            (
                names[point["method"]],
                f"{figure['value']:.3f}",
                f"{figure['low']:.3f} to {figure['high']:.3f}",
                *([f"{point['no_answer']:,} of {point['asked']:,}"] * silent),
                f"{point['ms']:.1f}",
            )
            for point, figure in sorted(figures, key=lambda pair: -pair[1]["value"])
        ],
        title=f"{metric.replace('_', ' ')}, {last:,} labelled messages",
    )
    stdout.print(f"{out / 'report.html'} ({duration(summary['seconds'])} of work)", soft_wrap=True)
    findings = Findings(summary)
    for line in say(findings, verdicts(findings)).lines:
        stdout.print(printable(line.replace(NBSP, " ")), soft_wrap=True)
