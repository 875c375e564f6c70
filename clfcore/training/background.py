"""``rehearsal.py`` in a separate process, so that the program that starts it keeps answering.

The parent sends one line, the job, to ``python -m clfcore.training.background``, and reads one
line for every event. Texts travel through the pipe, never in the command line, which others can
read. The child's standard input stays open as long as the parent lives: when it closes, the child
ends.
"""

import asyncio
import glob
import json
import os
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import shorten
from threading import Lock, Thread
from time import perf_counter
from typing import Any, Self

from clfcore.errors import TuneshotError
from clfcore.types import Example

# -P: no file of the working folder is taken for a module.
_COMMAND = (sys.executable, "-P", "-m", "clfcore.training.background")
_NICENESS = 19  # the programs that answer come first
_MOST_FORGOTTEN, _MOST_CHARACTERS = 3, 200  # texts of forgotten messages that are told
_STOPPED = "the training was stopped; the previous model keeps answering"


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """How far the training is. Losses in nats.

    Attributes:
        step: optimiser steps done; 0 before the first.
        steps: how many there will be.
        loss: of the messages of this step; ``None`` before the first.
        val_loss: on the validation part, at step 0 and once an epoch.
        val_accuracy: share of its messages answered right, once an epoch; not yet calibrated, and
            without the threshold that the finished model answers by.
        seconds_left: estimated from the speed so far; ``None`` in the first steps.
    """

    step: int
    steps: int
    loss: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class TrainingDone:
    """The end, with a checkpoint.

    Attributes:
        folder: of the checkpoint.
        taught: how many messages were taught.
        answered_as_taught: how many of them the new model answers with the taught label.
        accuracy_before, accuracy: share of the validation part answered right.
        seconds: the whole run, starting the process included.
        right_before: how many messages of the validation part were answered right.
        forgotten: how many of these are answered wrong now,
        forgotten_texts: and the first of them, long ones shortened.
    """

    folder: Path
    taught: int
    answered_as_taught: int
    accuracy_before: float
    accuracy: float
    seconds: float
    right_before: int
    forgotten: int
    forgotten_texts: list[str]


@dataclass(frozen=True, slots=True)
class TrainingFailed:
    """The end, without a checkpoint: the reason in one line."""

    problem: str


Event = TrainingProgress | TrainingDone | TrainingFailed


class BackgroundTraining:
    """One run: ``start`` it, follow its ``events``, ``stop`` it at any time.

    Attributes:
        out: folder of the checkpoint.
    """

    def __init__(self, process: Process, out: Path) -> None:
        self.out = out
        self._process = process
        self._stopped = self._ended = False
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()  # ``None``: no more come
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls,
        taught: Sequence[Example],
        out: Path,
        *,
        checkpoint: Path | None = None,
        data: Path | None = None,
        seed: int = 0,
        threads: int = 1,
        trust_source: bool = False,
    ) -> Self:
        """Starts the process; returns at once.

        Args:
            taught: labelled messages.
            out: folder of the new checkpoint; must not exist.
            checkpoint: the model to train further; default: the bundled one.
            data: labelled messages of its task; default: as ``load_messages``.
            seed: the same seed gives the same weights.
            threads: for PyTorch.
            trust_source: of ``checkpoint``, see ``FineTuned.load``.

        Raises:
            TuneshotError: ``out`` exists.
        """
        if out.exists():
            raise TuneshotError(f"{out} exists; choose a new folder for the trained model")
        process = await asyncio.create_subprocess_exec(
            *_COMMAND,
            stdin=PIPE,
            stdout=PIPE,
            start_new_session=True,  # Ctrl-C is for the parent, which then takes this one along
        )
        job = {
            "taught": [asdict(example) for example in taught],
            "out": str(out),
            "checkpoint": checkpoint and str(checkpoint),
            "data": data and str(data),
            "seed": seed,
            "threads": threads,
            "trust_source": trust_source,
        }
        assert process.stdin is not None
        process.stdin.write(json.dumps(job).encode() + b"\n")
        with suppress(ConnectionError):  # it has died already; ``events`` will say so
            await process.stdin.drain()
        return cls(process, out)

    async def events(self) -> AsyncIterator[Event]:
        """Every ``TrainingProgress``; then one ``TrainingDone`` or ``TrainingFailed``, always.

        To be read once. A reader that gives up early calls ``stop``.
        """
        last: Event | None = None
        while (event := await self._events.get()) is not None:
            if not isinstance(event, TrainingProgress):
                last = event
            elif not self._stopped:
                yield event
        status = await self._process.wait()
        if self._stopped:
            last = TrainingFailed(_STOPPED)
        elif last is None:
            last = TrainingFailed(_why_it_ended(status))
        if isinstance(last, TrainingFailed):
            self._clear()
        self._ended = True
        yield last

    async def stop(self) -> None:
        """Ends the run and removes all it wrote; after the last event this does nothing."""
        if self._ended:
            return
        self._stopped = True
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._reading
        await self._process.wait()
        self._clear()

    async def _read(self) -> None:
        """Takes events out of the pipe as they come: a full one would hold up the child."""
        assert self._process.stdout is not None
        try:
            async for line in self._process.stdout:
                if line.endswith(b"\n"):  # else it was killed while it wrote
                    self._events.put_nowait(_from_line(line))
        finally:
            self._events.put_nowait(None)

    def _clear(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        for scratch in self.out.parent.glob(f".{glob.escape(self.out.name)}.*"):
            shutil.rmtree(scratch, ignore_errors=True)  # it was killed while it saved


def _from_line(line: bytes) -> Event:
    name, fields = json.loads(line)
    if "folder" in fields:
        fields["folder"] = Path(fields["folder"])
    kinds = {kind.__name__: kind for kind in (TrainingProgress, TrainingDone, TrainingFailed)}
    return kinds[name](**fields)


def _why_it_ended(status: int) -> str:
    if status == -9:  # SIGKILL
        return "the training process was killed, perhaps for want of memory; try again later"
    how = f"by signal {-status}" if status < 0 else f"with status {status}"
    return f"the training process ended {how}; the program's log has the details"


# --- in the child -------------------------------------------------------------------------------


def _main() -> None:
    start = perf_counter()
    # What a library prints must not be read as an event.
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    if hasattr(os, "nice"):  # not on Windows
        os.nice(_NICENESS)

    def report(event: Event) -> None:
        pipe.write(json.dumps([type(event).__name__, asdict(event)], default=str) + "\n")

    job = json.loads(sys.stdin.readline())
    saving = Lock()
    Thread(target=_end_with_parent, args=[saving], daemon=True).start()
    try:
        _train(job, saving, report, start)
    except TuneshotError as error:
        report(TrainingFailed(str(error)))


def _end_with_parent(saving: Lock) -> None:
    os.read(sys.stdin.fileno(), 1)  # comes back when the parent is gone
    with saving:
        os._exit(1)


def _train(
    job: dict[str, Any], saving: Lock, report: Callable[[Event], None], start: float
) -> None:
    import torch  # the parent imports this file too, and need not wait for these

    from clfcore.data.columns import Columns
    from clfcore.data.messages import load_messages
    from clfcore.evaluation.evaluate import evaluate
    from clfcore.fine_tuned import FineTuned
    from clfcore.training.loop import StepMetrics
    from clfcore.training.rehearsal import plan_rehearsal, train_further
    from clfcore.weights.checkpoint import save_checkpoint
    from clfcore.weights.meta import trained_columns

    torch.set_num_threads(job["threads"])
    checkpoint, data, out = (
        job[name] and Path(job[name]) for name in ("checkpoint", "data", "out")
    )
    parent = FineTuned.load(checkpoint, job["trust_source"])
    taught = [Example(**example) for example in job["taught"]]
    columns = Columns().remembering(trained_columns(checkpoint))
    source = load_messages(data, columns.text_column, columns.label_column)
    rehearsal = plan_rehearsal(parent, taught, source, job["seed"])

    begin = perf_counter()
    before = evaluate(parent, rehearsal.val)
    evaluating = perf_counter() - begin
    report(TrainingProgress(0, rehearsal.steps, val_loss=before.metrics.figures["nll"]))
    first = 0.0  # when the first step ended

    def on_step(step: StepMetrics) -> None:
        nonlocal first
        seconds_left = None
        if step.step == 1:
            first = perf_counter()
        else:
            a_step = (perf_counter() - first) / (step.step - 1)
            # The validation part is read three times more: to calibrate, to evaluate, and to see
            # what was forgotten.
            seconds_left = (step.steps - step.step) * a_step + 3 * evaluating
        report(
            TrainingProgress(
                step.step, step.steps, step.loss, step.val_loss, step.val_accuracy, seconds_left
            )
        )

    child = train_further(parent, rehearsal, on_step)
    about = child.meta.about
    right = [e for e, old in zip(rehearsal.val, before.predictions, strict=True)
             if old.label == e.label]  # fmt: skip
    now = child.predict([example.text for example in right])
    forgotten = [e.text for e, new in zip(right, now, strict=True) if new.label != e.label]
    with saving:
        save_checkpoint(out, child.model, child.meta)
    report(
        TrainingDone(
            folder=out,
            taught=about["taught"]["messages"],
            answered_as_taught=about["taught"]["answered_as_taught"],
            accuracy_before=before.metrics.accuracy.value,
            accuracy=about["val_metrics"]["accuracy"]["value"],
            seconds=round(perf_counter() - start, 1),
            right_before=len(right),
            forgotten=len(forgotten),
            forgotten_texts=[
                shorten(text, _MOST_CHARACTERS, placeholder=" …")
                for text in forgotten[:_MOST_FORGOTTEN]
            ],
        )
    )


if __name__ == "__main__":
    _main()
