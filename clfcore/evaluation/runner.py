"""The one grid runner: cells in turn, several at a time, or on other machines; none is run twice.

    records.jsonl    one JSON object a line and cell: what was asked and what was measured
    answers/*.jsonl  one JSON object a line and message; a killed cell continues its file
    table.md         the records as a table

To run a cell once more, take away its record and its answers.
"""

import hashlib
import logging
import math
import multiprocessing
import os
import re
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from textwrap import shorten
from typing import Protocol, TextIO

import numpy as np

from clfcore.cache.place import can_keep
from clfcore.errors import TuneshotError, missing_extra_explained
from clfcore.evaluation.provenance import about_this_run
from clfcore.evaluation.records import (
    Record,
    append_lines,
    identity,
    not_a_record,
    of_records,
    open_lines,
    other_inputs,
    read_lines,
)
from clfcore.paths import atomic_write
from clfcore.scratch import scratch_folder
from clfcore.types import OnProgress, ignore
from clfcore.wording import duration


class Cell(Protocol):
    """One evaluation of a grid."""

    @property
    def record(self) -> Record:
        """What is evaluated, as its record begins: ``config`` and ``inputs``, see ``identity``."""

    @property
    def name(self) -> str:
        """For people, and for the name of a file; not unique."""

    @property
    def wants_gpu(self) -> bool:
        """Whether a GPU, where there is one, is of use."""


# (cell, answers=its file) -> its record; continues after the answers that are in the file already.
Run = Callable[..., Record]


@dataclass(frozen=True)
class RecordFormat:
    """How the records of one kind of grid are told apart and shown.

    Attributes:
        duration_group: the same for cells that take about equally long.
        fields: what tells records apart beside ``config`` and ``inputs``, see ``identity``.
        config_keys: what the ``config`` of every record has.
        table: all records -> Markdown, kept up to date as ``table.md``.
    """

    duration_group: Callable[[Record], str]
    fields: Sequence[str] = ()
    config_keys: Collection[str] = ()
    table: Callable[[Sequence[Record]], str] | None = None

    def identity(self, record: Record) -> str:
        """The same for all records of one cell."""
        return identity(record, *self.fields)


# --- all cells ----------------------------------------------------------------------------------


def run_cells(
    cells: Sequence[Cell],
    out: Path,
    run: Run,
    form: RecordFormat,
    on_progress: OnProgress = ignore,
    *,
    note: Callable[[str], object] = ignore,
    jobs: int = 1,
    ray: str | None = None,
) -> list[Record]:
    """Runs every cell that is not recorded yet, and writes each down as soon as it has ended.

    A killed run continues where it was; on Ray, with the cells that had not ended. A cell that
    fails is recorded with the reason, does not stop the others, and is tried again next time.

    Args:
        cells: what to run, in this order (of several at a time: about).
        out: a folder for ``records.jsonl``, ``answers`` and ``table.md``.
        run: runs one; with ``jobs`` or ``ray`` it is sent elsewhere, so it must not hold a model.
        form: of the records.
        on_progress: called with ("cells", done, cells, how long the others will take).
        note: told once, in one line, of records that are kept but not of what is asked now.
        jobs: how many cells at a time, in processes of this machine, which share its cores.
        ray: the address of a Ray cluster, e.g. ``host:6379``, ``ray://host:10001`` or ``auto``,
            to spread the cells over.

    Returns:
        The record of each cell, in their order.

    Raises:
        TuneshotError: the folder cannot be used, or there is no such cluster.
    """
    path, folder = out / "records.jsonl", out / "answers"
    records = read_records(out, form) if path.exists() else []
    if form.table is not None:
        with of_records(out):
            form.table(records)  # what cannot be shown is said before hours of work
    with _cluster(ray) if ray is not None else nullcontext():
        open_lines(path)
        finished = {form.identity(record) for record in records if "test" in record}
        waiting = {
            key: cell for cell in cells if (key := form.identity(cell.record)) not in finished
        }
        others, names = other_inputs(
            records, [cell.record for cell in waiting.values()], *form.fields
        )
        if others:
            note(
                f"{out} holds records of these settings, but not of this {' and '.join(names)} "
                f"({others:,}); they are kept, and their cells run anew"
            )
        spread = (
            _on_ray if ray is not None else partial(_in_processes, jobs) if jobs > 1 else _in_turn
        )
        start, worked, total = time.perf_counter(), 0.0, len(cells)
        on_progress("cells", total - len(waiting), total, "")
        for record in spread(list(waiting.values()), folder, run):
            (written,) = append_lines(path, [record])
            records.append(written)
            write_table(out, form, records)
            del waiting[form.identity(written)]
            worked += written.get("seconds", 0.0)
            pace = (
                (time.perf_counter() - start) / worked if worked else 1.0
            )  # < 1: several at a time
            left = remaining(waiting.values(), records, form, pace)
            on_progress("cells", total - len(waiting), total, left)
        write_table(out, form, records)
        newest = {form.identity(record): record for record in current(records, form.identity)}
        return [newest[form.identity(cell.record)] for cell in cells]


def current(
    records: Iterable[Record], identity: Callable[[Record], str] = identity
) -> list[Record]:
    """One record a cell: the last that worked, else the last."""
    newest: dict[str, Record] = {}
    for record in records:
        cell = identity(record)
        if "test" in record or "test" not in newest.get(cell, {}):
            newest[cell] = record
    return list(newest.values())


def read_records(out: Path, form: RecordFormat) -> list[Record]:
    """The records of a folder; half a line at the end of the file, left by a kill, is not one.

    Raises:
        TuneshotError: there are none, they cannot be read, or a line is not such a record.
    """
    path = out / "records.jsonl"
    if not path.exists():
        raise TuneshotError(f"no records in {path}; run the grid first, or choose another --out")
    records = read_lines(path)
    for number, record in enumerate(records, start=1):
        try:
            form.identity(record)
            missing = set(form.config_keys) - record["config"].keys()
            if "test" in record:
                form.duration_group(record)
                record["test"].keys()
            (record.get("inputs") or {}).keys()
            seconds = record.get("seconds", 0)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise not_a_record(path, number) from error
        if missing or type(seconds) not in (int, float) or not 0 <= seconds < math.inf:
            raise not_a_record(path, number)
    return records


def write_table(out: Path, form: RecordFormat, records: Sequence[Record] | None = None) -> str:
    """Writes the table of a folder's records as ``table.md``, and returns it.

    Args:
        out: the folder.
        form: of its records; without a table, nothing is written.
        records: all of them, if they have been read already.

    Raises:
        TuneshotError: the records cannot be read, or the table cannot be written.
    """
    if form.table is None:
        return ""
    records = read_records(out, form) if records is None else records
    with of_records(out):
        text = form.table(records)
    with atomic_write(out / "table.md") as new:
        new.write_text(text, encoding="utf-8")
    return text


def remaining(
    cells: Iterable[Cell], records: Sequence[Record], form: RecordFormat, pace: float
) -> str:
    """How long cells will take, as far as finished ones tell; "" of none.

    Args:
        cells: those that are left.
        records: of those that have ended.
        form: says which cells take equally long.
        pace: seconds on the clock in which one second of a cell's work is done.
    """
    seconds: dict[str, list[float]] = {}
    for record in records:
        if "test" in record:
            seconds.setdefault(form.duration_group(record), []).append(record["seconds"])
    expected = [mean(seconds.get(form.duration_group(cell.record), [math.nan])) for cell in cells]
    unknown = sum(map(math.isnan, expected))
    parts = []
    if unknown < len(expected):
        parts.append(f"about {duration(pace * float(np.nansum(expected)))}")
    if unknown:
        parts.append(f"{unknown} cells of unknown length")
    return " and ".join(parts)


# --- where cells run ----------------------------------------------------------------------------


def _in_turn(cells: Sequence[Cell], folder: Path, run: Run) -> Iterator[Record]:
    for cell in cells:
        yield _attempt(cell, run, folder / answers_file(cell))


def _attempt(cell: Cell, run: Run, answers: Path) -> Record:
    try:
        return run(cell, answers=answers)
    except Exception as error:  # whatever it is, the other cells are worth running
        return _failed(cell, error)


def _failed(cell: Cell, error: Exception) -> Record:
    if isinstance(error, TuneshotError):
        return {**cell.record, "error": str(error), **about_this_run()}
    reason = shorten(f"{type(error).__name__}: {error}", 300, placeholder=" …")
    trace = "".join(traceback.format_exception(error))
    return {**cell.record, "error": reason, "traceback": trace, **about_this_run()}


def answers_file(cell: Cell) -> str:
    """The name of the file of a cell's answers."""
    digest = hashlib.sha256(identity(cell.record).encode()).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9.]+', '-', cell.name).strip('-.')}-{digest}.jsonl"


def _in_processes(jobs: int, cells: Sequence[Cell], folder: Path, run: Run) -> Iterator[Record]:
    """Cells in ``jobs`` processes of this machine."""
    # Not forked: PyTorch's threads do not survive it.
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // jobs)
    can_keep()  # what cannot be kept is said once, here
    with ProcessPoolExecutor(
        jobs, context, initializer=_start_worker, initargs=(threads,)
    ) as workers:
        tasks = [workers.submit(_attempt, cell, run, folder / answers_file(cell)) for cell in cells]
        try:
            for task in as_completed(tasks):
                yield task.result()
        except BaseException as error:  # Ctrl+C, too: what was answered is on the disk
            workers.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
            if isinstance(error, BrokenProcessPool):
                raise TuneshotError(
                    "a process that ran cells was ended from outside (out of memory?); start the "
                    "same command again, with fewer --jobs: it continues where it was"
                ) from error
            raise


def _start_worker(threads: int) -> None:
    """A worker uses its share of the cores, and ends with the process that started it."""
    import torch

    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # its parent gets it, too, and ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # it was spawned
    parent.join()
    os._exit(1)


@contextmanager
def _cluster(address: str) -> Iterator[None]:
    """A Ray cluster, joined; ray itself would wait for minutes for one that is not there."""
    with missing_extra_explained("--ray"):
        import ray
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    with _native_output_to_stderr():
        try:
            if colon:
                socket.create_connection((host, int(port)), timeout=5).close()
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            reason = " ".join(str(error).split())
            raise TuneshotError(
                f"no Ray cluster at {address} ({reason}); start one with ray start --head and give "
                "the address that it prints; one that wants a token needs RAY_AUTH_MODE=token here"
            ) from error
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _native_output_to_stderr() -> Iterator[None]:
    """What libraries write to the process's standard output goes to stderr; what we print stays.

    Ray's own logs, with dumps of its state, would stand between our lines.
    """
    sys.stdout.flush()
    real = os.dup(1)
    os.dup2(2, 1)
    try:
        if _is_file_1(sys.stdout):
            own = os.fdopen(os.dup(real), "w", buffering=1, encoding=sys.stdout.encoding)
            with own, redirect_stdout(own):
                yield
        else:  # captured, or in a notebook
            yield
    finally:
        os.dup2(real, 1)
        os.close(real)


def _is_file_1(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 1
    except (OSError, AttributeError):
        return False


def _on_ray(cells: Sequence[Cell], folder: Path, run: Run) -> Iterator[Record]:
    """Yields records as cells end; their answers are written here, where the records are."""
    import ray

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


def _attempt_elsewhere(cell: Cell, run: Run, name: str, kept: bytes) -> tuple[Record, bytes]:
    """The record, and the file of answers: the other machine has another disk."""
    with scratch_folder("cell") as folder:
        path = folder / name
        path.write_bytes(kept)
        record = _attempt(cell, run, path)
        return record, path.read_bytes()
