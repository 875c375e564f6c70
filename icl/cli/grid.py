"""``icl grid``: checks everything first, runs, writes records and table."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clfcore.cli.options import with_config, with_settings
from clfcore.cli.terminal import (
    OUTPUT,
    ProgressBars,
    print_note,
    stderr,
    stdout,
    with_examples,
)
from clfcore.config import DEFAULT_LM
from clfcore.data.columns import MESSAGES
from clfcore.data.draw import draw, fewer_asked
from clfcore.errors import TuneshotError
from clfcore.evaluation.records import Record
from clfcore.paths import check_can_write
from clfcore.types import Example, ignore
from clfcore.wording import printable
from icl.cli.few_shot import (
    build_few_shot,
    note_unanswered_records,
    pool_and_questions,
    task_named,
)
from icl.cli.options import Balanced, ModelChoice, Questions, TaskSource
from icl.grid.table import BASELINES
from icl.prompt.calibration import CALIBRATIONS
from icl.prompt.tasks import Task
from icl.selectors.arrange import BALANCES
from icl.selectors.table import SELECTORS
from icl.settings import EXAMPLES, ORDERS, USUAL_K, FewShotConfig, read_option

if TYPE_CHECKING:
    from icl.few_shot import FewShot
    from icl.grid.cell import GridCell, TaskMessages

CELLS = "The grid"  # a heading of --help
# Several of each in a grid.
AXES = ("selector", "options", "k", "balance", "order", "calibration", "seed")


def _axis(option: str, choices: Collection[str]) -> Any:  # noqa: ANN401 (Typer's)
    """An option that takes several of these names."""
    names = f"Names, separated by commas, of {', '.join(choices)}."
    return typer.Option(option, help=names, rich_help_panel=CELLS)


@with_examples(
    "--tasks sms_spam --selectors topk,votek_pool",
    "--tasks sst2,ag_news --selectors topk,mmr --k 4,8 --seeds 5 --folder tables",
    "--tasks mine.csv --pool train.csv --data test.csv --selectors topk --balance equal,none",
    "--tasks sms_spam --selectors topk --table",
)
@with_config(TaskSource, "source", without=("task",))
@with_config(ModelChoice, "models", without=("lm",))
@with_settings(FewShotConfig, defaults=True, without=AXES)
def grid(
    *,
    settings: dict[str, Any],
    source: TaskSource,
    models: ModelChoice,
    tasks: Annotated[
        str,
        typer.Option(help="Names, separated by commas; see icl tasks.", rich_help_panel=CELLS),
    ],
    selectors: Annotated[
        str,
        typer.Option(help="Names, separated by commas; see icl selectors.", rich_help_panel=CELLS),
    ],
    lms: Annotated[
        str, typer.Option(help="As --lm of the other commands.", rich_help_panel=CELLS)
    ] = DEFAULT_LM,
    ks: Annotated[
        str, typer.Option("--k", help="Numbers, separated by commas.", rich_help_panel=CELLS)
    ] = str(USUAL_K),
    balances: Annotated[str, _axis("--balance", BALANCES)] = FewShotConfig().balance,
    arrangements: Annotated[str, _axis("--order", ORDERS)] = FewShotConfig().order,
    calibrations: Annotated[
        str, _axis("--calibration", CALIBRATIONS)
    ] = FewShotConfig().calibration,
    baselines: Annotated[str, _axis("--baselines", BASELINES)] = ",".join(BASELINES),
    seeds: Annotated[
        int, typer.Option(min=1, help="Runs of each cell.", rich_help_panel=CELLS)
    ] = 3,
    data: Questions = None,
    limit: Annotated[
        int,
        typer.Option(min=1, help="Messages asked about in each cell.", rich_help_panel=MESSAGES),
    ] = 300,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="selector.option=value",
            metavar="S.N=V",
            rich_help_panel=EXAMPLES,
        ),
    ] = None,
    balanced: Balanced = True,
    out: Annotated[
        Path,
        typer.Option(help="Folder of records, answers and table.md.", rich_help_panel=OUTPUT),
    ] = Path("runs/grid"),
    ray: Annotated[
        str | None,
        typer.Option(
            help="Address of a Ray cluster to spread the cells over.", rich_help_panel=OUTPUT
        ),
    ] = None,
    table: Annotated[
        bool,
        typer.Option(
            "--table",
            help="Draw the table of --out again; run nothing.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
) -> None:
    """Evaluates models × tasks × selectors × k × balances × orders × calibrations × seeds, with
    zero, random and knn beside them.

    A killed grid continues where it was when it is started again.
    """
    from clfcore.evaluation.runner import write_table
    from icl.grid.cell import cells
    from icl.grid.table import FEW_SHOT_GRID

    if table:
        stdout.print(write_table(out, FEW_SHOT_GRID), soft_wrap=True)
        return
    if len(_names(tasks)) > 1 and (source.pool or data):
        raise TuneshotError("--pool and --data are of one task; name one with --tasks")
    of_selector: dict[str, dict[str, Any]] = {}
    for assignment in options or ():
        selector, dot, rest = assignment.partition(".")
        if not dot or selector not in SELECTORS:
            raise TuneshotError(f"expected selector.option=value, not {assignment!r}")
        of_selector.setdefault(selector, {}).update([read_option(selector, rest)])
    grid_cells = cells(
        tasks=_names(tasks), lms=_names(lms), selectors=_names(selectors), ks=_numbers(ks),
        balances=_names(balances), arrangements=_names(arrangements),
        calibrations=_names(calibrations), baselines=_names(baselines), seeds=range(seeds),
        options=of_selector, limit=limit, balanced=balanced, **settings,
    )  # fmt: skip
    check_can_write(out)
    records = run_grid(grid_cells, source, data, models, out, ray)
    failed = [record for record in records if "error" in record]
    stdout.print(f"{out / 'table.md'}: {len(records) - len(failed)} cells", soft_wrap=True)
    note_unanswered_records(records)
    for record in failed:
        stderr.print(f"failed: {record['config']['task']}: {printable(record['error'])}")
    if failed:
        raise typer.Exit(1)


def run_grid(
    grid: Sequence["GridCell"],
    source: TaskSource,
    data: Path | None,
    models: ModelChoice,
    out: Path,
    ray: str | None,
) -> list[Record]:
    """Runs the cells of a grid, see ``run_cells``; says on stderr how many messages there are.

    Raises:
        TuneshotError: no such task, its messages cannot be read, or as ``run_cells``.
    """
    from clfcore.evaluation.runner import run_cells
    from icl.grid.cell import TaskMessages, with_inputs
    from icl.grid.run import run_cell
    from icl.grid.table import FEW_SHOT_GRID
    from icl.lm.open import check_lm
    from icl.pool.embed import SentenceEmbedder, check_embedder

    for lm in {cell.lm for cell in grid if cell.lm}:
        check_lm(lm)
    check_embedder(models.embedder)
    messages = {}
    for name in dict.fromkeys(cell.task for cell in grid):
        task = task_named(name, source)
        grid = without_votes(grid, task, name)
        if any(cell.lm for cell in grid):
            task.check_prompt()
        about = TaskMessages(task, *pool_and_questions(task, source, data))
        messages[name] = about
        stderr.print(
            f"{printable(name)}: {len(about.pool):,} messages to show, {len(about.questions):,} "
            "to ask about"
        )
        cell = next(cell for cell in grid if cell.task == name)
        asked = draw(about.questions, cell.limit, cell.balanced, cell.seed)
        if sentence := fewer_asked(asked, cell.limit, cell.balanced):
            print_note(f"{name}: {sentence}")
    embedder = SentenceEmbedder(models.embedder).name
    cells = with_inputs(grid, messages, embedder, models)
    with ProgressBars() as bars:
        make = partial(few_shot_of_cell, messages=messages, models=models)
        on_progress = bars if ray is None else ignore  # bars stay on this machine
        run = partial(run_cell, make=make, on_progress=on_progress)
        return run_cells(cells, out, run, FEW_SHOT_GRID, bars, note=print_note, ray=ray)


def few_shot_of_cell(
    cell: "GridCell", messages: Mapping[str, "TaskMessages"], models: ModelChoice
) -> tuple["FewShot", list[Example]]:
    """The classifier of a grid's cell, and the messages it is asked about."""
    about = messages[cell.task]
    questions = draw(about.questions, cell.limit, cell.balanced, cell.seed)
    models = models.asking(cell.lm or models.lm)
    return build_few_shot(about.task, about.pool, models, cell), questions


def without_votes(grid: Sequence["GridCell"], task: Task, name: str) -> Sequence["GridCell"]:
    """The cells, without votes for a task whose labels mean another thing in each message.

    Raises:
        TuneshotError: nothing is left of the task, or its prompts are to be mixed with a vote.
    """
    if not task.has_choices:
        return grid
    own = [cell for cell in grid if cell.task == name]
    asked = [cell for cell in own if not SELECTORS[cell.selector].votes]
    for cell in asked or own:
        cell.check_task(task)
    if len(asked) < len(own):
        left_out = dict.fromkeys(cell.selector for cell in own if cell not in asked)
        print_note(
            f"{name}: {', '.join(left_out)} left out: every message has choices of its own, so the "
            "right letters of others cannot vote"
        )
    return [cell for cell in grid if cell.task != name or cell in asked]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in _names(text)]
    except ValueError as error:
        raise TuneshotError(f"--k wants numbers separated by commas, not {text!r}") from error
