"""A training run on disk while it goes on, so that a kill costs a minute and not the run.

<out>.unfinished/state.json          step, history, and which run this is
<out>.unfinished/state.safetensors   weights, moments, random state (never pickle)
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
from clfcore.training.loop import RunState, Step

# Saving may take up to this share of the time; a large model is saved less often.
_SHARE = 0.05


class Unfinished:
    """Keeps the state of one run in a file beside its checkpoint.

    Args:
        out: folder of the checkpoint to be.
        run: what makes it this run: base, settings, data. JSON values.
        every: seconds between two saves, at least.
    """

    def __init__(self, out: Path, run: Mapping[str, Any], every: float) -> None:
        self.path = out.with_name(out.name + ".unfinished")
        self._run, self._every = json.loads(json.dumps(run)), every
        self._next = monotonic() + every

    def offer(self, make: Callable[[], RunState]) -> None:
        """Saves the state if it is time to."""
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
        self._next = end + max(self._every, (end - start) / _SHARE)

    def load(self) -> RunState | None:
        """The state to go on from; ``None`` if none was ever saved.

        Raises:
            TuneshotError: it cannot be read, or it is another run's.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                found = json.loads(file.metadata()["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            run = found.pop("run")
            history = [Step(**step) for step in found.pop("history")]
            found["tally"] = tuple(found["tally"])
            state = RunState(**found, history=history, tensors=tensors)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
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
        """The run has ended, or is started anew."""
        self.path.unlink(missing_ok=True)
        for scratch in self.path.parent.glob(f".{glob.escape(self.path.name)}.*"):
            shutil.rmtree(scratch)  # a kill in the middle of saving left it behind
