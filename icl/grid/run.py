"""Evaluates one cell of a grid of few-shot prompts: models × tasks × selectors × k × seeds.

With one seed all models and selectors are asked about the same messages, so that they can be
compared message by message. How cells are run, and how a killed grid continues:
``clfcore.evaluation.runner``; the table of the records: ``table.py``.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from clfcore.evaluation.answers import BATCH, Recorded
from clfcore.evaluation.evaluate import evaluate
from clfcore.evaluation.provenance import about_this_run
from clfcore.evaluation.records import Record
from clfcore.types import Classifier, Example, OnProgress, ignore
from icl.grid.cell import GridCell


def run_cell(
    cell: GridCell,
    make: Callable[[GridCell], tuple[Classifier, Sequence[Example]]],
    answers: Path,
    on_progress: OnProgress = ignore,
) -> Record:
    """Evaluates one cell, continuing after the answers that are there already.

    Args:
        cell: what.
        make: its classifier, and the messages to ask about, see ``draw``.
        answers: a file, made if need be: what was answered, one JSON object a line and message.
        on_progress: called with ("evaluate", messages answered, messages, the cell's name).

    Raises:
        TuneshotError: of ``make``, of ``evaluate``, or from the disk.
    """
    start = time.perf_counter()
    classifier, examples = make(cell)
    recorded = Recorded(classifier, examples, answers)
    before = sum(line["ms"] for line in recorded.answers) / 1000
    result = evaluate(
        recorded,
        examples,
        lambda done: on_progress("evaluate", done, len(examples), cell.name),
        BATCH,
    )
    return {
        **cell.record,
        "test": result.to_dict(),
        "shown": recorded.shown,
        "right": "".join("01"[line["answer"] == line["label"]] for line in recorded.answers),
        **recorded.costs,
        "seconds": round(before + time.perf_counter() - start, 2),
        "answers": answers.name,
        **about_this_run(),
    }
