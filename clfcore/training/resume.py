"""The state of a training run on disk, so that a kill costs a minute and not the run.

``<out>.unfinished`` is a safetensors file (never a pickle): weights, moments and random state;
its header says which run it is, with step and history.
"""

import glob
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from time import monotonic
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from clfcore.errors import TuneshotError
from clfcore.paths import atomic_write
from clfcore.training.loop import StepMetrics, TrainingState
from clfcore.weights.untrusted.tensors import check_finite

# Saving may take up to this share of the time; a large model is saved less often.
_MAX_SAVING_SHARE = 0.05
# What a file may do to whoever reads it.
_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    SafetensorError,
)


class ResumableRun:
    """Keeps the state of one run in a file beside its checkpoint.

    Args:
        out: folder of the checkpoint that the run will write.
        run: what identifies the run: base, settings, data. JSON values.
        every: seconds between two saves, at least.
        resume: continue from the saved state; without it, ``load`` finds none.
    """

    def __init__(self, out: Path, run: Mapping[str, Any], every: float, resume: bool) -> None:
        self.path = out.with_name(out.name + ".unfinished")
        self._run, self._every, self._resume = json.loads(json.dumps(run)), every, resume
        self._next = monotonic() + every

    def save_if_due(self, make: Callable[[], TrainingState]) -> None:
        """Saves the state that ``make`` returns, if enough time has passed since the last save."""
        start = monotonic()
        if start < self._next:
            return
        state = make()
        numbers = {field.name: getattr(state, field.name) for field in fields(state)}
        tensors = numbers.pop("tensors")
        numbers["history"] = [asdict(step) for step in state.history]
        header = {"state": json.dumps({"run": self._run, **numbers})}
        with atomic_write(self.path) as new:
            save_file(tensors, new, metadata=header)
        end = monotonic()
        self._next = end + max(self._every, (end - start) / _MAX_SAVING_SHARE)

    def load(self) -> TrainingState | None:
        """The state to continue from; ``None`` if there is none, or a new run is wanted.

        Raises:
            TuneshotError: it cannot be read, or it is another run's.
        """
        if not (self._resume and self.path.exists()):
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                saved = json.loads(file.metadata()["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            run = dict(saved.pop("run"))
            history = [StepMetrics(**step) for step in saved.pop("history")]
            saved["tally"] = tuple(saved["tally"])
            state = TrainingState(**saved, history=history, tensors=tensors)
            _check_numbers(state)
            check_finite(self.path, tensors)
        except _DAMAGE as error:
            raise TuneshotError(
                f"{self.path} cannot be read ({error}); remove it and train again"
            ) from error
        if differs := [name for name in self._run if self._run[name] != run.get(name)]:
            raise TuneshotError(
                f"{self.path} is another run: different {', '.join(differs)}; give the options "
                "it was started with, or leave --resume out to start anew"
            )
        return state

    def remove(self) -> None:
        """Removes the file: the run has ended, or is started anew."""
        self.path.unlink(missing_ok=True)
        for scratch in self.path.parent.glob(f".{glob.escape(self.path.name)}.*"):
            shutil.rmtree(scratch)  # a kill in the middle of saving left it behind


def _check_numbers(state: TrainingState) -> None:
    """Raises ``ValueError`` where something else stands for a number."""
    counts = (state.step, state.examples_seen, state.since_best)
    figures = [value for step in state.history for value in _figures(step)]
    numbers = [state.best_loss, *state.tally, *(value for value in figures if value is not None)]
    if not all(type(count) is int and count >= 0 for count in counts) or not all(
        type(number) in (int, float) for number in numbers
    ):
        raise ValueError("what should be numbers are none")
    if len(state.tally) != len(TrainingState().tally):
        raise ValueError(f"its tally has {len(state.tally)} numbers")


def _figures(step: StepMetrics) -> list[float | None]:
    values = asdict(step)
    more = values.pop("figures") or {}
    return [*values.values(), *more.values()]
