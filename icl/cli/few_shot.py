"""The few-shot classifier that a command line asks for. Models are imported after all checks."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from clfcore.cli.terminal import ProgressBars, print_note, printable, stderr
from clfcore.config import DEFAULT_LM
from clfcore.data.draw import draw
from clfcore.data.messages import load_messages, load_pool
from clfcore.data.split import grouped_stratified_split, normal_form
from clfcore.errors import TuneshotError, unknown_choice
from clfcore.evaluation.records import Record
from clfcore.types import Example, ignore
from icl.prompt.tasks import TASKS, Task, task_from_file
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig

if TYPE_CHECKING:
    from icl.few_shot import FewShot
    from icl.grid.cell import GridCell, TaskMessages


def task_named(name: str) -> Task:
    """A task of ``TASKS``, or that of a labelled file.

    Raises:
        TuneshotError: neither.
    """
    if name in TASKS:
        return TASKS[name]
    if "/" in name or Path(name).exists():
        return task_from_file(name)
    raise unknown_choice("task", name, TASKS)


def load_few_shot(
    task_name: str,
    folder: Path | None,
    pool: Path | None,
    settings: FewShotConfig,
    lm: str,
    base_url: str | None,
) -> "FewShot":
    """The classifier of ``icl classify`` and the like; says on stderr where its pool is from.

    Raises:
        TuneshotError: no such task, pool or language model, or settings that do not suit them.
    """
    task = task_named(task_name)
    if task_name == "sms_spam" or pool is not None:
        examples, name = load_pool(pool)
    else:
        examples, name = task.load("train", folder), f"{task.name}, training part"
    stderr.print(f"examples from: {printable(name)} ({len(examples):,} messages)")
    return build_few_shot(task, examples, settings, lm, base_url)


def build_few_shot(
    task: Task, pool: Sequence[Example], settings: FewShotConfig, lm: str, base_url: str | None
) -> "FewShot":
    """A classifier that shows messages of ``pool``.

    Raises:
        TuneshotError: no such language model, or settings that suit neither it nor the pool.
    """
    if settings.k > len(pool):
        raise TuneshotError(
            f"cannot show k={settings.k} examples: the pool has {len(pool)} messages; choose k "
            f"from 0 to {len(pool)}"
        )
    from icl.few_shot import FewShot
    from icl.lm.open import open_lm

    model = None if SELECTORS[settings.selector].votes else open_lm(lm, base_url)
    values = {field.name: getattr(settings, field.name) for field in fields(FewShotConfig)}
    return FewShot(task, lm=model, **values).fit(pool)


def run_grid(
    grid: Sequence["GridCell"],
    folder: Path | None,
    base_url: str | None,
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
    from icl.pool.embed import DEFAULT_EMBEDDER

    messages = {}
    for name in dict.fromkeys(cell.task for cell in grid):
        task = task_named(name)
        about = TaskMessages(task, *pool_and_questions(task, folder, None, None))
        messages[name] = about
        stderr.print(
            f"{printable(name)}: {len(about.pool):,} messages to show, {len(about.questions):,} "
            "to ask about"
        )
    cells = with_inputs(grid, messages, DEFAULT_EMBEDDER, base_url)
    with ProgressBars() as bars:
        make = partial(few_shot_of_cell, messages=messages, base_url=base_url)
        on_progress = bars if ray is None else ignore  # bars stay on this machine
        run = partial(run_cell, make=make, on_progress=on_progress)
        return run_cells(cells, out, run, FEW_SHOT_GRID, bars, note=print_note, ray=ray)


def few_shot_of_cell(
    cell: "GridCell", messages: Mapping[str, "TaskMessages"], base_url: str | None
) -> tuple["FewShot", list[Example]]:
    """The classifier of a grid's cell, and the messages it is asked about."""
    about = messages[cell.task]
    questions = draw(about.questions, cell.limit, cell.balanced, cell.seed)
    few_shot = build_few_shot(about.task, about.pool, cell, cell.lm or DEFAULT_LM, base_url)
    return few_shot, questions


def pool_and_questions(
    task: Task, folder: Path | None, data: Path | None, pool: Path | None
) -> tuple[list[Example], list[Example]]:
    """Messages to show and messages to ask about, of which none is a copy of another.

    Raises:
        TuneshotError: they cannot be read.
    """
    questions = task.load("test", folder) if data is None else load_messages(data).examples
    if pool is not None:
        examples = load_messages(pool).examples
    elif data is not None:  # one data set, split
        split = grouped_stratified_split(questions)
        examples = [questions[row] for row in split.train]
        questions = [questions[row] for row in split.test]
    else:
        examples = task.load("train", folder)
    texts = {normal_form(question.text) for question in questions}
    kept = [example for example in examples if normal_form(example.text) not in texts]
    if len(kept) < len(examples):
        stderr.print(f"{len(examples) - len(kept):,} copies of questions taken out of the pool")
    return kept, questions
