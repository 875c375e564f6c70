"""Many evaluations: one after another, some at a time, or on other machines; none is done twice.

    records.jsonl    one JSON object a line and cell: what was asked and what was measured
    answers/*.jsonl  one JSON object a line and message, a file a cell: a killed cell goes on there

To run a cell once more, take away its record and its answers.
"""

import hashlib
import json
import logging
import math
import multiprocessing
import os
import re
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from textwrap import shorten
from typing import Any, Protocol

import numpy as np

from clfcore.data.split import content_hash
from clfcore.errors import TuneshotError
from clfcore.evaluation.provenance import about_this_run
from clfcore.evaluation.records import Record, append_lines, not_a_record, open_lines, read_lines
from clfcore.paths import atomic_write
from clfcore.types import Classifier, Example, OnProgress, Prediction, ignore

BATCH = 8  # messages asked about, and written down, at a time


class Cell(Protocol):
    """One evaluation."""

    @property
    def identity(self) -> str:
        """What makes this cell this cell and no other; ``identity_of(to_dict())``."""
        ...

    @property
    def name(self) -> str:
        """For people, and for the name of a file; not unique."""
        ...

    @property
    def wants_gpu(self) -> bool:
        """Whether a GPU, where there is one, is of use."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        ...


class Run(Protocol):
    """Evaluates one cell; goes on after the answers that are in its file already."""

    def __call__(self, cell: Any, *, answers: Path) -> Record: ...  # noqa: ANN401 (a Cell)


def identity_of(config: Mapping[str, Any]) -> str:
    """What tells one configuration from another."""
    return json.dumps(config, sort_keys=True)


# --- one cell -----------------------------------------------------------------------------------


class Noted:
    """A classifier asked about known messages in order; what it says is on the disk at once.

    What the file answers already is not asked again, unless it is about other messages.

    Args:
        classifier: what answers.
        examples: what it will be asked about.
        path: a file, made if need be.
        about: marks these answers among others in the file.

    Attributes:
        lines: the answers so far.
    """

    def __init__(
        self,
        classifier: Classifier,
        examples: Sequence[Example],
        path: Path,
        about: Mapping[str, str] | None = None,
    ) -> None:
        self.labels = classifier.labels
        self._classifier, self._path, self._next = classifier, path, 0
        self._asked = [
            {**(about or {}), "message": content_hash([example])[:16], "label": example.label}
            for example in examples
        ]
        self.lines: list[Record] = []
        others: list[Record] = []
        for line in open_lines(path):
            mine = (about or {}).items() <= line.items()
            (self.lines if mine else others).append(line)
        known = [line["message"] for line in self.lines]
        if known != [asked["message"] for asked in self._asked[: len(known)]]:
            self.lines = []
            with atomic_write(path) as new:
                new.touch()
                append_lines(new, others)

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        start, end = self._next, self._next + len(texts)
        if unanswered := texts[max(len(self.lines) - start, 0) :]:
            predictions = self._classifier.predict(unanswered)
            fresh = [
                {
                    **asked,
                    "answer": prediction.label,
                    "probabilities": dict(prediction.probabilities),
                    "ms": prediction.ms,
                    "prompt_tokens": getattr(prediction, "prompt_tokens", 0),
                    "dollars": getattr(prediction, "dollars", 0.0),
                }
                for asked, prediction in zip(
                    self._asked[end - len(unanswered) : end], predictions, strict=True
                )
            ]
            self.lines += append_lines(self._path, fresh)
        self._next = end
        return [
            Prediction(line["answer"], line["probabilities"], line["ms"])
            for line in self.lines[start:end]
        ]

    @property
    def prompt_tokens(self) -> int:
        """Of all answers so far."""
        return sum(line["prompt_tokens"] for line in self.lines)

    @property
    def dollars(self) -> float | None:
        """Likewise; ``None``: nobody knows."""
        spent = [line["dollars"] for line in self.lines]
        return None if None in spent else sum(spent)


# --- all cells ----------------------------------------------------------------------------------


def run_cells(
    cells: Sequence[Cell],
    out: Path,
    run: Run,
    on_progress: OnProgress = ignore,
    on_record: Callable[[list[Record]], object] = ignore,
    *,
    keys: Iterable[str],
    alike: Sequence[str],
    jobs: int = 1,
    ray: str | None = None,
) -> list[Record]:
    """Runs every cell that is not recorded yet, and writes each down as soon as it has ended.

    A killed run goes on where it was; on Ray, with the cells that had not ended. A cell that
    fails is recorded with the reason, does not stop the others, and is tried again next time.

    Args:
        cells: what to run, in this order (of several at a time: about).
        out: a folder for ``records.jsonl`` and ``answers``.
        run: runs one; with ``jobs`` or ``ray`` it is sent elsewhere, so it must not hold a model.
        on_progress: called with ("cells", done, cells, how long the others will take).
        on_record: called with all records so far, whenever there is one more.
        keys: what the config of every record has.
        alike: those of them that cells share which take equally long.
        jobs: how many cells at a time, in processes of this machine, which share its cores.
        ray: the address of a Ray cluster, e.g. ``host:6379``, ``ray://host:10001`` or ``auto``,
            to spread the cells over.

    Returns:
        The record of each cell, in their order.

    Raises:
        TuneshotError: the folder cannot be used, or there is no such cluster.
    """
    path, folder = out / "records.jsonl", out / "answers"
    known = read_records(path, keys) if path.exists() else []
    if ray is not None:
        _connect(ray)
    open_lines(path)
    finished = {identity_of(record["config"]) for record in known if "test" in record}
    left = {cell.identity: cell for cell in cells if cell.identity not in finished}
    spread = _on_ray if ray is not None else _side_by_side(jobs) if jobs > 1 else _here
    start, worked, total = time.perf_counter(), 0.0, len(cells)
    on_progress("cells", total - len(left), total, "")
    for record in spread(list(left.values()), folder, run):
        (written,) = append_lines(path, [record])
        known.append(written)
        on_record(known)
        del left[identity_of(written["config"])]
        worked += written.get("seconds", 0.0)
        pace = (time.perf_counter() - start) / worked if worked else 1.0  # < 1: several at a time
        figures = remaining(left.values(), known, alike, pace)
        on_progress("cells", total - len(left), total, figures)
    on_record(known)
    newest = {identity_of(record["config"]): record for record in current(known)}
    return [newest[cell.identity] for cell in cells]


def current(records: Iterable[Record]) -> list[Record]:
    """One record a cell: the last that worked, else the last."""
    found: dict[str, Record] = {}
    for record in records:
        cell = identity_of(record["config"])
        if "test" in record or "test" not in found.get(cell, {}):
            found[cell] = record
    return list(found.values())


def read_records(path: Path, keys: Iterable[str]) -> list[Record]:
    """The records of a file; half a line at its end, left by a kill, is not one.

    Args:
        path: the file.
        keys: what every record's config has.

    Raises:
        TuneshotError: the file cannot be read, or a line is not a record.
    """
    records = read_lines(path)
    for number, record in enumerate(records, start=1):
        config = record.get("config") if isinstance(record, dict) else None
        if not isinstance(config, dict) or not config.keys() >= set(keys):
            raise not_a_record(path, number)
    return records


def answers_file(cell: Cell) -> str:
    """The name of the file of a cell's answers."""
    digest = hashlib.sha256(cell.identity.encode()).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9.]+', '-', cell.name).strip('-.')}-{digest}.jsonl"


def remaining(
    left: Iterable[Cell], known: Sequence[Record], alike: Sequence[str], pace: float
) -> str:
    """How long the cells that are left will take, as far as finished ones tell; "" of none.

    Args:
        left: the cells.
        known: the records.
        alike: what cells share that take equally long.
        pace: seconds on the clock in which one second of a cell's work is done.
    """

    def likes(config: Mapping[str, Any]) -> str:
        return identity_of({name: config[name] for name in alike})

    seconds: dict[str, list[float]] = {}
    for record in known:
        if "test" in record:
            seconds.setdefault(likes(record["config"]), []).append(record["seconds"])
    expected = [mean(seconds.get(likes(cell.to_dict()), [math.nan])) for cell in left]
    unknown = sum(map(math.isnan, expected))
    parts = []
    if unknown < len(expected):
        parts.append(f"about {duration(pace * float(np.nansum(expected)))}")
    if unknown:
        parts.append(f"{unknown} cells of unknown length")
    return " and ".join(parts)


def duration(seconds: float) -> str:
    """For people."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


# --- where cells run ----------------------------------------------------------------------------


def _here(cells: Sequence[Cell], folder: Path, run: Run) -> Iterator[Record]:
    for cell in cells:
        yield _attempt(cell, run, folder / answers_file(cell))


def _attempt(cell: Cell, run: Run, answers: Path) -> Record:
    try:
        return run(cell, answers=answers)
    except Exception as error:  # whatever it is, the other cells are worth running
        return _failed(cell, error)


def _failed(cell: Cell, error: Exception) -> Record:
    if isinstance(error, TuneshotError):
        return {"config": cell.to_dict(), "error": str(error), **about_this_run()}
    reason = shorten(f"{type(error).__name__}: {error}", 300, placeholder=" …")
    trace = "".join(traceback.format_exception(error))
    return {"config": cell.to_dict(), "error": reason, "traceback": trace, **about_this_run()}


def _side_by_side(jobs: int) -> Callable[[Sequence[Cell], Path, Run], Iterator[Record]]:
    """Cells in ``jobs`` processes of this machine."""

    def spread(cells: Sequence[Cell], folder: Path, run: Run) -> Iterator[Record]:
        # Not forked: PyTorch's threads do not survive it.
        context = multiprocessing.get_context("spawn")
        threads = max(1, (os.cpu_count() or 1) // jobs)
        with ProcessPoolExecutor(
            jobs, context, initializer=_settle_in, initargs=(threads,)
        ) as workers:
            waiting = {
                workers.submit(_attempt, cell, run, folder / answers_file(cell)): cell
                for cell in cells
            }
            try:
                for task in as_completed(waiting):
                    try:
                        yield task.result()
                    except BrokenProcessPool as error:
                        raise TuneshotError(
                            "a process that ran cells was ended from outside (out of memory?); "
                            "start the same command again, with fewer --jobs: it goes on"
                        ) from error
            except BaseException:  # Ctrl+C, too: what was answered is on the disk
                workers.shutdown(wait=False, cancel_futures=True)
                for child in multiprocessing.active_children():
                    child.terminate()
                raise

    return spread


def _settle_in(threads: int) -> None:
    """A process of its own uses its share of the cores, and does not outlive who started it."""
    import torch

    torch.set_num_threads(threads)
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # the other process gets it, too, and ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # it was spawned
    parent.join()
    os._exit(1)


def _connect(address: str) -> None:
    """Joins a Ray cluster; ray itself would wait for minutes for one that is not there."""
    try:
        import ray
    except ImportError as error:
        raise TuneshotError("--ray needs Ray; run: pip install 'tuneshot[ray]'") from error
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    try:
        if colon:
            socket.create_connection((host, int(port)), timeout=5).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        reason = " ".join(str(error).split())
        raise TuneshotError(
            f"no Ray cluster at {address} ({reason}); start one with ray start --head and give the "
            "address that it prints; one that wants a token needs RAY_AUTH_MODE=token here"
        ) from error


def _on_ray(cells: Sequence[Cell], folder: Path, run: Run) -> Iterator[Record]:
    """Yields records as cells end; their answers are written here, where the records are."""
    import ray

    try:
        attempt = ray.remote(_attempt_elsewhere)
        has_gpu = "GPU" in ray.cluster_resources()
        waiting = {}
        for cell in cells:
            path = folder / answers_file(cell)
            kept = path.read_bytes() if path.exists() else b""
            gpus = int(has_gpu and cell.wants_gpu)  # Ray hides them from all other tasks
            task = attempt.options(num_gpus=gpus).remote(cell, run, path.name, kept)
            waiting[task] = cell, path
        while waiting:
            (task,), _ = ray.wait(list(waiting))
            cell, path = waiting.pop(task)
            try:
                record, answers = ray.get(task)
            except ray.exceptions.RayError as error:  # the worker is gone
                yield _failed(cell, error)
                continue
            if answers:
                with atomic_write(path) as new:
                    new.write_bytes(answers)
            yield record
    finally:
        ray.shutdown()


def _attempt_elsewhere(cell: Cell, run: Run, name: str, kept: bytes) -> tuple[Record, bytes]:
    """The record, and the file of answers: the other machine has another disk."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(kept)
        record = _attempt(cell, run, path)
        return record, path.read_bytes()
