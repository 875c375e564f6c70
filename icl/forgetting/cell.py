"""A cell of ``icl forget``: one base, one remedy, one seed.

The learning and the comparison are in ``clfcore/forgetting``, which knows no prompts.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from clfcore.evaluation.provenance import about_this_run, machine, model_files
from clfcore.evaluation.records import Record
from clfcore.evaluation.runner import RecordFormat
from clfcore.fine_tuned import FineTuned
from clfcore.forgetting.classifier import teach_classifier
from clfcore.forgetting.compare import table
from clfcore.forgetting.language_model import teach_language_model
from clfcore.forgetting.settings import ForgettingConfig
from clfcore.model.spec import MINI
from clfcore.training.distributed import find_accelerator
from clfcore.training.resume import ResumableRun
from clfcore.types import OnProgress, ignore
from icl.forgetting.tasks import NewTask, prompted_task, second_task

FORGETTING = RecordFormat(
    duration_group=lambda record: f"{record['config']['base']} {record['config']['remedy']}",
    config_keys=("base", "remedy", "seed"),
    table=table,
)


@dataclass(frozen=True)
class ForgettingCell:
    """One remedy with one seed."""

    base: str
    remedy: str
    seed: int
    config: ForgettingConfig
    inputs: dict[str, Any]

    wants_gpu: ClassVar = True

    @property
    def record(self) -> Record:
        """What its record begins with."""
        about = {"base": self.base, "remedy": self.remedy, "seed": self.seed}
        inputs = {**self.inputs, "base": model_files(self.base)}
        return {"config": {**about, **self.config.to_dict()}, "inputs": inputs}

    @property
    def name(self) -> str:
        """For people, and for the name of a file."""
        return f"{Path(self.base).name} {self.remedy} seed{self.seed}"


def run_cell(
    cell: ForgettingCell,
    new: NewTask,
    answers: Path,
    *,
    on_progress: OnProgress = ignore,
    save_every: float = 30.0,
) -> Record:
    """Runs one cell; what a kill left of it beside ``answers`` is continued, to the same bits.

    Args:
        cell: what.
        new: the new task.
        answers: a place of its own; no answers are kept there.
        on_progress: called with (stage, done, total, figures).
        save_every: seconds between two saves.

    Raises:
        TuneshotError: a base that cannot be loaded or taught.
    """
    answers.parent.mkdir(parents=True, exist_ok=True)
    resumable = ResumableRun(answers.with_suffix(""), cell.record, save_every, resume=True)
    if cell.base == MINI:
        test = teach_classifier(
            FineTuned.load(), second_task(new, cell.config, cell.seed), cell.remedy, cell.config,
            cell.seed, on_progress=on_progress, resumable=resumable,
        )  # fmt: skip
    else:
        test = teach_language_model(
            cell.base, prompted_task(cell.base, new, cell.config, cell.seed, on_progress),
            cell.remedy, cell.config, cell.seed, on_progress=on_progress, resumable=resumable,
        )  # fmt: skip
    resumable.remove()
    return {
        **cell.record,
        "test": test,
        "seconds": test["seconds"],
        "machine": machine(find_accelerator()),
        **about_this_run(),
    }
