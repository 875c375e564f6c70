"""Grids of training runs: the rows of ``suites.py`` over several seeds, into records and a table.

The runs of a grid share the split, so that they can be compared pair by pair. How cells are run,
and how a killed grid continues: ``clfcore.evaluation.runner``.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from clfcore.config import as_options
from clfcore.data.messages import LabelledMessages
from clfcore.data.split import content_hash
from clfcore.evaluation.evaluate import evaluate
from clfcore.evaluation.provenance import machine, model_files
from clfcore.evaluation.records import Record, append_lines, open_lines
from clfcore.evaluation.runner import read_records, run_cells
from clfcore.experiments.suites import SuiteRow, check_overrides, complaint, config_of
from clfcore.experiments.table import EXPERIMENTS, row_and_settings, run_identity
from clfcore.training.recipe import fine_tune
from clfcore.training.settings import TrainConfig, settings_for
from clfcore.types import OnProgress, ignore
from clfcore.weights.source import check_start

if TYPE_CHECKING:
    from accelerate import Accelerator


SMALL = "gpt2"  # the base from which the larger sizes of a suite are reached
ABOUT_ROW = ("key", "question", "published")  # fields of a row that stand in its records


def command_for(base: str, config: TrainConfig, data_options: Sequence[str] = ()) -> str:
    """The ``clf train`` command of a run: only what differs from the settings that suit ``base``.

    Args:
        base: what is fine-tuned.
        config: how.
        data_options: what names the data, e.g. ``("--data", "mine.csv")``.
    """
    options = as_options(config, settings_for(base))
    return shlex.join(["clf", "train", "--base", base, *data_options, *options])


# --- running ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingRun:
    """One row with one seed: a cell of the grid.

    Attributes:
        record: what is asked, as its record begins.
        config: the settings in it.
    """

    record: Record
    config: TrainConfig

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.record['key']} seed{self.config.seed}"

    wants_gpu: ClassVar = True  # training is faster on one


def run_experiments(
    rows: Sequence[SuiteRow],
    base: str,
    source: LabelledMessages,
    seeds: Sequence[int],
    out: Path,
    on_progress: OnProgress = ignore,
    overrides: Mapping[str, Any] | None = None,
    *,
    note: Callable[[str], object] = ignore,
    data_options: Sequence[str] = (),
    accelerator: "Accelerator | None" = None,
) -> list[Record]:
    """Runs every row with every seed, see ``run_cells``; rows that cannot be run are recorded, too.

    What is recorded already under another key is not run again but copied, with that key as
    ``same_run_as``. All rows are run with the first seed before any is run with the second.

    Args:
        rows: the questions.
        base: see ``load_base``. Rows about a larger GPT-2 are run if it is ``gpt2``.
        source: labelled messages.
        seeds: of everything random but the split.
        out: a folder for ``records.jsonl`` and ``table.md``.
        on_progress: called with (stage, done, total, figures); stage ``cells`` is the grid itself.
        overrides: settings for all rows that are not about them.
        note: see ``run_cells``.
        data_options: what names the data in a command, e.g. ``("--data", "mine.csv")``.
        accelerator: on which device.

    Returns:
        All records of the folder.

    Raises:
        TuneshotError: before any work: an override that fits no row, unusable data or base, or a
            file that cannot be written.
    """
    overrides = overrides or {}
    check_overrides(rows, overrides)
    source.split(overrides.get("split_seed", 0))
    reasons = {row.key: _why_not(row, base, overrides) for row in rows}
    runnable = [row for row in rows if reasons[row.key] is None]
    for weights in {config_of(row, overrides, 0).weights: None for row in runnable}:
        check_start(base, weights)  # what is missing fails here, once, and not in every row
    data = {"source": source.name, "sha256": content_hash(source.examples)}
    inputs_of = {
        start: {
            "data": data["sha256"],
            # The same messages may be parted elsewhere.
            "parts": {part: [rows.start, rows.stop] for part, rows in source.own.items()},
            "base": model_files(start),
        }
        for start in {row.size or base for row in rows}
    }

    def record_of(row: SuiteRow, seed: int) -> Record:
        """What a row asks for; with a command where its settings go together."""
        start, command = row.size or base, None
        if not complaint(row, overrides):
            command = command_for(start, config_of(row, overrides, seed), data_options)
        settings = {**TrainConfig().to_dict(), **overrides, **row.changes, "seed": seed}
        about_row = {name: getattr(row, name) for name in ABOUT_ROW}
        return {**about_row, "base": start, "command": command, "config": settings,
                "inputs": inputs_of[start], "seed": seed, "data": data}  # fmt: skip

    path = out / "records.jsonl"
    open_lines(path)
    records = read_records(out, EXPERIMENTS)
    recorded = set(map(row_and_settings, records))
    left_out = [{**record_of(row, 0), "not_run": reasons[row.key]} for row in rows
                if reasons[row.key] is not None]  # fmt: skip
    append_lines(path, [new for new in left_out if row_and_settings(new) not in recorded])

    finished = {run_identity(record): record for record in reversed(records) if "test" in record}

    def run(cell: TrainingRun, *, answers: Path) -> Record:
        if same := finished.get(run_identity(cell.record)):
            about_row = {name: cell.record[name] for name in ABOUT_ROW}
            return {"same_run_as": same["key"], **same, **about_row}
        figures = _train_and_evaluate(cell, source, on_progress, accelerator)
        return finished.setdefault(run_identity(cell.record), {**cell.record, **figures})

    cells = []
    for seed, row in product(seeds, runnable):
        config = config_of(row, overrides, seed)
        of_run = {
            "data": {**data, "split_seed": config.split_seed},
            "machine": machine(accelerator),
        }
        cells.append(TrainingRun({**record_of(row, seed), **of_run}, config))
    run_cells(cells, out, run, EXPERIMENTS, on_progress, note=note)
    return read_records(out, EXPERIMENTS)


def _train_and_evaluate(
    cell: TrainingRun,
    source: LabelledMessages,
    on_progress: OnProgress,
    accelerator: "Accelerator | None",
) -> Record:
    """What one run measured."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    result = fine_tune(
        cell.record["base"], source, cell.config, on_progress=on_progress, accelerator=accelerator
    )
    val = evaluate(result.classifier, result.val)
    test = evaluate(
        result.classifier,
        result.test,
        lambda done: on_progress("evaluate", done, len(result.test), ""),
    )
    about = result.classifier.meta.about
    return {
        "data": about["data"],
        "train_accuracy": result.history[-1].train_accuracy if result.history else None,
        "val": val.to_dict(),
        "test": test.to_dict(),
        "weights": {"learning": result.trained_weights, "all": result.all_weights},
        "seconds": round(result.seconds, 2),
        "versions": about["versions"],
        "created": created,
    }


def _why_not(row: SuiteRow, base: str, overrides: Mapping[str, Any]) -> str | None:
    """Why a row is not run with this base and these overrides; ``None`` if it is."""
    if row.size is not None and base != SMALL:
        return f"needs {row.size}; give --base {SMALL} to run it"
    return complaint(row, overrides)
