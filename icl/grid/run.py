"""Grids of evaluations: models × tasks × selectors × k × seeds, into records and a table.

    records.jsonl    one JSON object a line and cell: what was asked and what was measured
    answers/*.jsonl  one JSON object a line and message, a file a cell: a killed cell goes on there
    table.md         the records in the form of the survey, see ``survey.py``

At one seed all models and selectors are asked about the same messages, so that they can be
compared message by message. How cells are run, and how a killed grid goes on: ``cells.py``.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from clfcore.evaluation import runner
from clfcore.evaluation.evaluate import evaluate
from clfcore.evaluation.provenance import about_this_run
from clfcore.evaluation.records import Record
from clfcore.evaluation.runner import BATCH, Noted, Run, run_cells
from clfcore.paths import atomic_write
from clfcore.types import Classifier, Example, OnProgress, ignore
from icl.grid.cell import _ALIKE, Cell
from icl.grid.table import CONFIG_KEYS, table

Make = Callable[["Cell"], tuple[Classifier, Sequence[Example]]]


# --- one cell -----------------------------------------------------------------------------------


def run_cell(cell: Cell, make: Make, answers: Path, on_progress: OnProgress = ignore) -> Record:
    """Evaluates one cell, going on after the answers that are there already.

    Args:
        cell: what.
        make: its classifier, and the messages to ask about, see ``draw``.
        answers: a file, made if need be: what was answered, one JSON object a line and message.
        on_progress: called with ("judge", messages answered, messages, the cell's name).

    Raises:
        TuneshotError: of ``make``, of ``evaluate``, or from the disk.
    """
    start = time.perf_counter()
    classifier, examples = make(cell)
    noted = Noted(classifier, examples, answers)
    before = sum(line["ms"] for line in noted.lines) / 1000
    result = evaluate(
        noted, examples, lambda done: on_progress("judge", done, len(examples), cell.name), BATCH
    )
    return {
        "config": cell.to_dict(),
        "test": result.to_dict(),
        "prompt_tokens": noted.prompt_tokens,
        "dollars": noted.dollars,
        "seconds": round(before + time.perf_counter() - start, 2),
        "answers": answers.name,
        **about_this_run(),
    }


# --- all cells ----------------------------------------------------------------------------------


def run_grid(
    cells: Sequence[Cell],
    out: Path,
    run: Run,
    on_progress: OnProgress = ignore,
    ray: str | None = None,
) -> list[Record]:
    """Runs every cell that is not recorded yet; keeps ``table.md`` up to date. See ``run_cells``.

    Args:
        cells: what to run.
        out: a folder for ``records.jsonl``, ``answers`` and ``table.md``.
        run: ``run_cell`` with all but the cell and its file given, e.g. by ``functools.partial``.
        on_progress: called with ("cells", done, cells, how long the others will take).
        ray: the address of a Ray cluster to spread the cells over.

    Returns:
        The record of each cell, in their order.

    Raises:
        TuneshotError: the folder cannot be used, or there is no such cluster.
    """
    return run_cells(
        cells, out, run, on_progress, partial(_write_table, out),
        keys=CONFIG_KEYS, alike=_ALIKE, ray=ray,
    )  # fmt: skip


# --- files --------------------------------------------------------------------------------------


def read_records(path: Path) -> list[Record]:
    """The records of a file; half a line at its end, left by a kill, is not one.

    Raises:
        TuneshotError: the file cannot be read, or a line is not a record.
    """
    return runner.read_records(path, CONFIG_KEYS)


def write_table(out: Path) -> str:
    """Writes the table of a folder's records as ``table.md``, and returns it.

    Raises:
        TuneshotError: the records cannot be read, or the table not written.
    """
    return _write_table(out, read_records(out / "records.jsonl"))


def _write_table(out: Path, records: Sequence[Record]) -> str:
    text = table(records)
    with atomic_write(out / "table.md") as new:
        new.write_text(text, encoding="utf-8")
    return text
