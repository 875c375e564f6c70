"""``icl forget``: what learning spam does to everything else, and what helps against it."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from clfcore.cli import terminal
from clfcore.cli.options import with_config, with_settings
from clfcore.cli.terminal import MODEL, OUTPUT, Json, ProgressBars, stderr, stdout, with_examples
from clfcore.cli.train import SaveEvery
from clfcore.config import DEFAULT_LM
from clfcore.data.columns import MESSAGES
from clfcore.errors import TuneshotError
from clfcore.evaluation.records import Record
from clfcore.forgetting.remedies import REMEDIES, USUAL, check_remedies
from clfcore.forgetting.settings import ForgettingConfig, forgetting_settings
from clfcore.model.spec import MINI
from clfcore.paths import check_can_write
from clfcore.wording import printable
from icl.cli.few_shot import pool_and_questions, task_named
from icl.cli.options import Questions, TaskSource
from icl.lm.open import API, check_lm, no_weights_here


@with_examples(
    "",
    "--base gpt2-mini --remedies replay_5,ewc,progressive --seeds 3",
    "--remedies lora --texts ag_news.csv --out runs/forget-ag --json",
)
@with_config(TaskSource, "source")
@with_settings(ForgettingConfig, defaults=False)
def forget(
    *,
    settings: dict[str, Any],
    base: Annotated[
        str,
        typer.Option(
            help="What learns: SmolLM2-135M-Instruct, a folder, a name on Hugging Face; or "
            f"{MINI}, which knows spam and learns to tell news from stories.",
            rich_help_panel=MODEL,
        ),
    ] = DEFAULT_LM,
    remedies: Annotated[
        str,
        typer.Option(
            help=f"Names, separated by commas, of {', '.join(REMEDIES)}; none is always run.",
            rich_help_panel=MODEL,
        ),
    ] = ",".join(USUAL),
    source: TaskSource,
    data: Questions = None,
    texts: Annotated[
        Path | None,
        typer.Option(
            help="A table of texts that no remedy reads again; default: sentences from stories.",
            rich_help_panel=MESSAGES,
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Runs of each remedy.", rich_help_panel=OUTPUT)
    ] = 1,
    figure: Annotated[
        Path | None,
        typer.Option(
            help="Draw what was learned against what was forgotten: a .png, .svg or .pdf file.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder of the records.", rich_help_panel=OUTPUT)
    ] = Path("runs/forget"),
    save_every: SaveEvery = 30.0,
    as_json: Json = False,
) -> None:
    """Teach a model a new task, measure what it forgets, and compare what helps.

    Remedies are compared where they have learned the new task equally well, not after equally many
    steps. A killed run continues when it is started again.
    """
    if base.startswith(API):
        raise no_weights_here(base)
    names = check_remedies([n.strip() for n in remedies.split(",") if n.strip()], base == MINI)
    config = forgetting_settings(base, **settings)
    if base != MINI:
        check_lm(base)
    if figure is not None:
        from clfcore.training.curves import check_can_draw

        check_can_draw(figure)
    check_can_write(out)
    records = _run(names, base, config, range(seeds), source, data, texts, out, save_every)
    failed = [record for record in records if "error" in record]
    for record in failed:
        stderr.print(f"failed: {record['config']['remedy']}: {printable(record['error'])}")
    if failed:
        raise typer.Exit(1)
    from clfcore.forgetting.compare import cells, compare, header

    rows = compare(records)
    if figure is not None:
        from clfcore.experiments.forgetting_figure import forgetting_figure

        forgetting_figure(records).savefig(figure, dpi=100)
    if as_json:
        for row in rows:
            terminal.print_json({"base": base, **row, **_plain(row)})
        return
    terminal.print_table(
        *header(rows), rows=map(cells, rows),
        title="what was forgotten where the new task is known as well as without a remedy, "
        "but for a point",
    )  # fmt: skip
    stdout.print(f"records: {out / 'records.jsonl'}", soft_wrap=True)


def _run(
    names: list[str],
    base: str,
    config: ForgettingConfig,
    seeds: range,
    source: TaskSource,
    data: Path | None,
    texts: Path | None,
    out: Path,
    save_every: float,
) -> list[Record]:
    from clfcore.data.messages import load_messages
    from clfcore.evaluation.runner import run_cells
    from clfcore.forgetting.texts import read_texts
    from icl.forgetting.cell import FORGETTING, ForgettingCell, run_cell
    from icl.forgetting.tasks import NewTask, bundled_task

    if base == MINI and source.task == TaskSource().task:
        if data is not None or source.pool is not None:
            raise TuneshotError(f"{MINI} knows spam already; name another task with --task")
        task, pool, questions = bundled_task()
    else:
        task = task_named(source.task, source)
        task.check_prompt()
        pool, questions = pool_and_questions(task, source, data)
    if task.has_choices:
        raise TuneshotError(f"{task.name} has other labels for every message; choose another task")
    known = load_messages() if base == MINI else None
    new = NewTask(task, pool, questions, read_texts(texts, source), known)
    stderr.print(
        f"{printable(task.name)}: {len(pool):,} messages to learn from, {len(questions):,} to ask "
        "about"
    )
    cells = [
        ForgettingCell(base, name, seed, config, new.inputs) for seed in seeds for name in names
    ]
    with ProgressBars() as bars:
        run = partial(run_cell, new=new, on_progress=bars, save_every=save_every)
        return run_cells(cells, out, run, FORGETTING, bars, note=terminal.print_note)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """The intervals of a row as JSON values."""
    return {
        part: {score: [each.value, each.low, each.high] for score, each in row[part].items()}
        for part in ("lost", "saved")
    }
