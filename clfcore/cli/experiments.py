"""``clf experiments``: which of two settings is better, and how sure is that?"""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from clfcore.cli import terminal
from clfcore.cli.options import with_config
from clfcore.cli.terminal import OUTPUT, ProgressBars, stderr, stdout, with_examples
from clfcore.config import as_options
from clfcore.data.messages import DataSource
from clfcore.errors import TuneshotError
from clfcore.experiments.suites import SUITES, choose_rows, free_grid, settings_from
from clfcore.model.spec import GPT_PRESETS, MINI
from clfcore.weights.source import check_source
from clfcore.wording import assignments, printable

QUESTIONS = "Questions"  # a heading of --help


@with_examples(
    "--list",
    "book --base gpt2 --seeds 5",
    "lora_ranks --set learning_rate=0.001 --figure ranks.png",
    "--vary epochs=2,5 --vary layers=last_block,all --set balance=oversample",
)
@with_config(DataSource, "source")
def experiments(
    *,
    suite: Annotated[str | None, typer.Argument(help=f"One of {', '.join(SUITES)}.")] = None,
    rows: Annotated[
        str | None,
        typer.Option(
            help="Only these rows, of any suite: book-01,book-16.", rich_help_panel=QUESTIONS
        ),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE,VALUE",
            help="A grid of your own, instead of a suite: every combination of these values. "
            "Names are those of the options of clf train.",
            rich_help_panel=QUESTIONS,
        ),
    ] = None,
    fixed: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting for all rows.",
            rich_help_panel=QUESTIONS,
        ),
    ] = None,
    base: Annotated[
        str,
        typer.Option(
            help="As for clf train; rows about a larger GPT-2 need gpt2.", rich_help_panel=QUESTIONS
        ),
    ] = MINI,
    source: DataSource,
    seeds: Annotated[
        int, typer.Option(min=1, help="Runs of each row.", rich_help_panel=QUESTIONS)
    ] = 3,
    out: Annotated[
        Path, typer.Option(help="Folder of records.jsonl and table.md.", rich_help_panel=OUTPUT)
    ] = Path("runs/experiments"),
    only_table: Annotated[
        bool,
        typer.Option(
            "--table",
            help="Draw the table of --out again; run nothing.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    figure: Annotated[
        Path | None,
        typer.Option(
            help="Draw accuracy and weights that learn by the rank of LoRA, of the records in "
            "--out (.png, .svg, .pdf); for the suite lora_ranks.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    only_list: Annotated[
        bool,
        typer.Option("--list", help="Show the suites and rows.", rich_help_panel=OUTPUT),
    ] = False,
) -> None:
    """Run a grid of training settings over several seeds; records and a table with intervals.

    Rows differ from the lecture's settings in what they ask about. A killed grid continues where
    it was when it is started again.
    """
    if only_list:
        _print_suites()
        return
    if figure is not None:
        from clfcore.training.curves import check_can_draw

        check_can_draw(figure)
    if not only_table:
        overrides = settings_from(fixed or [])
        if vary and (suite or rows):
            raise TuneshotError("give a suite or --rows, or a grid with --vary, not both")
        keys = [key.strip() for key in rows.split(",")] if rows else []
        grid = free_grid(vary, overrides) if vary else choose_rows(suite, keys)
        if base not in GPT_PRESETS:  # theirs need not be loaded if all is random
            check_source(base)
        messages = source.load()
        from clfcore.experiments.run import run_experiments
        from clfcore.training.distributed import find_accelerator

        accelerator = find_accelerator()
        if accelerator is not None and accelerator.num_processes > 1:
            raise TuneshotError("a grid runs in one process; start it without accelerate launch")
        stderr.print(f"{len(messages.examples)} messages: {printable(messages.name)}")
        with ProgressBars() as bars:
            run_experiments(
                grid, base, messages, range(seeds), out, bars, overrides,
                data_options=as_options(source, DataSource()),
                note=terminal.print_note, accelerator=accelerator,
            )  # fmt: skip
    from clfcore.evaluation.runner import write_table
    from clfcore.experiments.table import EXPERIMENTS

    stdout.print(write_table(out, EXPERIMENTS), soft_wrap=True)
    if figure is not None:
        from clfcore.evaluation.runner import read_records
        from clfcore.experiments.ranks_figure import ranks_figure
        from clfcore.training.curves import save_figure

        save_figure(ranks_figure(read_records(out, EXPERIMENTS)), figure)
    stderr.print(f"records and table are in {out}", soft_wrap=True)


def _print_suites() -> None:
    table = Table("suite", "row", "question", "what differs from the lecture")
    for suite, rows in SUITES.items():
        for row in rows:
            changes = ", ".join(filter(None, [row.size, assignments(row.changes)]))
            table.add_row(suite, row.key, row.question, changes or "nothing")
        table.add_section()
    stdout.print(table)
