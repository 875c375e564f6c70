"""Grids of evaluations: models × tasks × selectors × k × seeds, into records and a table.

    records.jsonl    one JSON object a line and cell: what was asked and what was measured
    answers/*.jsonl  one JSON object a line and message, a file a cell: a killed cell goes on there
    table.md         the records in the form of the survey, see ``survey.py``

At one seed all models and selectors are asked about the same messages, so that they can be
compared message by message. To run a cell once more, take away its record and its answers.
"""

import hashlib
import json
import logging
import math
import platform
import re
import socket
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from itertools import product
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from textwrap import shorten
from typing import Any, Protocol

import numpy as np

from clfcore import __version__
from clfcore.data import content_hash, duplicate_groups
from clfcore.errors import TuneshotError, one_of
from clfcore.evaluate import evaluate
from clfcore.paths import atomic_write
from clfcore.records import append_lines, not_a_record, open_lines, read_lines
from clfcore.types import Classifier, Example, Prediction, Say, unheard
from icl.selectors import SELECTORS
from icl.settings import FewShotConfig, Option
from icl.survey import BASELINES, CONFIG_KEYS, Record, current, table
from icl.tasks import TASKS

Make = Callable[["Cell"], tuple[Classifier, Sequence[Example]]]

BATCH = 8  # messages asked about, and written down, at a time


# --- what is run --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Cell(FewShotConfig):
    """One evaluation: how messages are answered, by which model, and which messages.

    Attributes:
        task: a key of ``TASKS``, or what ``own_task`` understands.
        lm: the language model, as on the command line; ``None`` where the selector votes.
        limit: how many test messages at most; ``seed`` draws them, too.
        balanced: whether they are as many of each label, or in the data's own shares.

    Raises:
        TuneshotError: an unknown name or option, or values that cannot be meant.
    """

    task: str
    lm: str | None
    limit: int = 300
    balanced: bool = True

    def problems(self) -> list[str]:
        if found := super().problems():
            return found
        if not (self.task in TASKS or "/" in self.task or Path(self.task).exists()):
            found.append(f"unknown task {self.task!r}; choose from {', '.join(TASKS)}, or a file")
        if self.limit < 1:
            found.append(f"limit must be 1 or more, not {self.limit}")
        if (self.k == 0) != (self.selector == "zero"):
            found.append(f"k must not be {self.k} for {self.selector}; zero is the one with k=0")
        if not self.lm and not SELECTORS[self.selector].votes:
            found.append(f"selector {self.selector!r} needs a language model; name one")
        return found

    @cached_property
    def identity(self) -> str:
        """What makes this cell this cell and no other; as a record has it."""
        return _identity(self.to_dict())

    @property
    def name(self) -> str:
        """For people, and for the name of a file; not unique."""
        words = [self.task, self.lm or "", self.selector, f"k{self.k}", f"seed{self.seed}"]
        return " ".join(word for word in words if word)


def cells(
    tasks: Sequence[str],
    lms: Sequence[str],
    selectors: Sequence[str],
    ks: Sequence[int] = (4,),
    seeds: Sequence[int] = (0,),
    options: Mapping[str, Mapping[str, Option]] | None = None,
    **settings: Any,  # noqa: ANN401
) -> tuple[Cell, ...]:
    """Every combination once, and always the baselines beside the selectors that are named.

    ``zero`` has no k and ``knn`` no model, so they make fewer cells. All are there for the first
    seed before any for the second; a model's cells stand together.

    Args:
        tasks: an axis, like the next four; see ``Cell``.
        lms: language models.
        selectors: beside ``BASELINES``.
        ks: each at least 1.
        seeds: each at least 0.
        options: selector -> its options.
        settings: the other fields of ``Cell``, for all.

    Raises:
        TuneshotError: an empty axis, options of a selector that is not in the grid, or what a
            ``Cell`` refuses.
    """
    axes = {"task": tasks, "model": lms, "selector": selectors, "k": ks, "seed": seeds}
    for what, values in axes.items():
        if not values:
            raise TuneshotError(f"a grid needs at least one {what}; name one")
    named = dict.fromkeys([*BASELINES, *selectors])
    for selector in named:
        if selector not in SELECTORS:
            raise one_of("selector", selector, SELECTORS)
    options = options or {}
    for selector in options:
        if selector not in named:
            raise TuneshotError(f"options for {selector!r}, which is not in the grid; add it")
    if min(ks) < 1:
        raise TuneshotError(f"k must be 1 or more, not {min(ks)}; zero is in every grid anyway")
    found = [
        Cell(
            task=task,
            lm=None if SELECTORS[selector].votes else lm,
            selector=selector,
            options=options.get(selector, {}),
            k=0 if selector == "zero" else k,
            seed=seed,
            **settings,
        )
        for seed, lm, task, selector, k in product(seeds, lms, tasks, named, ks)
    ]
    return tuple({cell.identity: cell for cell in found}.values())


def draw(examples: Sequence[Example], limit: int, balanced: bool, seed: int) -> list[Example]:
    """At most ``limit`` different messages, in the order of ``examples``.

    Args:
        examples: a task's test part.
        limit: at least 1.
        balanced: the same number of each label, as far as the rarest goes; else the labels' own
            shares (largest remainders).
        seed: nothing else decides.

    Raises:
        TuneshotError: ``limit`` is too small for one message of each label.
    """
    if not examples:
        return []
    first = np.unique(duplicate_groups(e.text for e in examples), return_index=True)[1]
    rows = np.random.default_rng(seed).permutation(first).tolist()
    of: dict[str, list[int]] = {label: [] for label in sorted({examples[r].label for r in rows})}
    for row in rows:
        of[examples[row].label].append(row)
    if balanced:
        each = min(limit // len(of), *map(len, of.values()))
        if not each:
            raise TuneshotError(
                f"{limit} messages are fewer than the {len(of)} labels; choose a larger limit"
            )
        wanted = dict.fromkeys(of, each)
    else:
        exact = {label: min(1, limit / len(rows)) * len(some) for label, some in of.items()}
        wanted = {label: int(share) for label, share in exact.items()}
        by_remainder = sorted(of, key=lambda label: wanted[label] - exact[label])
        for label in by_remainder[: min(limit, len(rows)) - sum(wanted.values())]:
            wanted[label] += 1
    return [examples[row] for row in sorted(r for name, n in wanted.items() for r in of[name][:n])]


# --- one cell -----------------------------------------------------------------------------------


def run_cell(cell: Cell, make: Make, answers: Path, on_progress: Say = unheard) -> Record:
    """Evaluates one cell, going on after the answers that are there already.

    Args:
        cell: what.
        make: its classifier, and the messages to ask about, see ``draw``.
        answers: a file, made if need be: what was answered, one JSON object a line and message.
        on_progress: hears ("judge", messages answered, messages, the cell's name).

    Raises:
        TuneshotError: of ``make``, of ``evaluate``, or from the disk.
    """
    start = time.perf_counter()
    classifier, examples = make(cell)
    noted = _Noted(classifier, examples, answers)
    before = sum(line["ms"] for line in noted.lines) / 1000
    result = evaluate(
        noted, examples, lambda done: on_progress("judge", done, len(examples), cell.name), BATCH
    )
    dollars = [line["dollars"] for line in noted.lines]
    return {
        "config": cell.to_dict(),
        "test": result.to_dict(),
        "prompt_tokens": sum(line["prompt_tokens"] for line in noted.lines),
        "dollars": None if None in dollars else sum(dollars),  # None: nobody knows
        "seconds": round(before + time.perf_counter() - start, 2),
        "answers": answers.name,
        **_about(),
    }


class _Noted:
    """A classifier asked about known messages in order; what it says is on the disk at once.

    What the file answers already is not asked again, unless it is about other messages.
    """

    def __init__(self, classifier: Classifier, examples: Sequence[Example], path: Path) -> None:
        self.labels = classifier.labels
        self.lines = open_lines(path)
        self._classifier, self._path, self._next = classifier, path, 0
        self._asked = [
            {"message": content_hash([example])[:16], "label": example.label}
            for example in examples
        ]
        known = [line["message"] for line in self.lines]
        if known != [asked["message"] for asked in self._asked[: len(known)]]:
            self.lines = []
            with atomic_write(path) as new:
                new.touch()

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


# --- all cells ----------------------------------------------------------------------------------


class Run(Protocol):
    """``run_cell`` with all but the cell and its file given, e.g. by ``functools.partial``."""

    def __call__(self, cell: Cell, *, answers: Path) -> Record: ...


def run_grid(
    cells: Sequence[Cell], out: Path, run: Run, on_progress: Say = unheard, ray: str | None = None
) -> list[Record]:
    """Runs every cell that is not recorded yet, and writes each down as soon as it has ended.

    A killed grid goes on where it was; on Ray, with the cells that had not ended. A cell that
    fails is recorded with the reason, does not stop the others, and is tried again next time.

    Args:
        cells: what to run, in this order (on Ray, some at a time).
        out: a folder for ``records.jsonl``, ``answers`` and ``table.md``.
        run: runs one; see ``Run``.
        on_progress: hears ("cells", done, cells, how long the others will take).
        ray: the address of a Ray cluster, e.g. ``host:6379``, ``ray://host:10001`` or ``auto``,
            to spread the cells over. ``run`` is sent there, so it must not hold a loaded model.

    Returns:
        The record of each cell, in their order.

    Raises:
        TuneshotError: the folder cannot be used, or there is no such cluster.
    """
    path, folder = out / "records.jsonl", out / "answers"
    known = read_records(path) if path.exists() else []
    if ray is not None:
        _connect(ray)
    open_lines(path)
    finished = {_identity(record["config"]) for record in known if "test" in record}
    left = {cell.identity: cell for cell in cells if cell.identity not in finished}
    start, worked, total = time.perf_counter(), 0.0, len(cells)
    on_progress("cells", total - len(left), total, "")
    for record in (_here if ray is None else _on_ray)(list(left.values()), folder, run):
        (written,) = append_lines(path, [record])
        known.append(written)
        _write_table(out, known)
        del left[_identity(written["config"])]
        worked += written.get("seconds", 0.0)
        pace = (time.perf_counter() - start) / worked if worked else 1.0  # < 1: several at a time
        figures = _remaining(left.values(), known, pace) if left else ""
        on_progress("cells", total - len(left), total, figures)
    _write_table(out, known)
    newest = {_identity(record["config"]): record for record in current(known)}
    return [newest[cell.identity] for cell in cells]


def _here(cells: Sequence[Cell], folder: Path, run: Run) -> Iterator[Record]:
    for cell in cells:
        yield _attempt(cell, run, folder / _file_name(cell))


def _attempt(cell: Cell, run: Run, answers: Path) -> Record:
    try:
        return run(cell, answers=answers)
    except Exception as error:  # whatever it is, the other cells are worth running
        return _failed(cell, error)


def _failed(cell: Cell, error: Exception) -> Record:
    if isinstance(error, TuneshotError):
        return {"config": cell.to_dict(), "error": str(error), **_about()}
    reason = shorten(f"{type(error).__name__}: {error}", 300, placeholder=" …")
    trace = "".join(traceback.format_exception(error))
    return {"config": cell.to_dict(), "error": reason, "traceback": trace, **_about()}


def _remaining(left: Iterable[Cell], known: Sequence[Record], pace: float) -> str:
    """How long the cells that are left will take, as far as finished ones tell.

    A cell takes as long as its likes: the same but for task and seed.

    Args:
        left: the cells.
        known: the records.
        pace: seconds on the clock in which one second of a cell's work is done.
    """

    def likes(config: Mapping[str, Any]) -> str:
        return _identity({name: config[name] for name in ("lm", "selector", "options", "k")})

    seconds: dict[str, list[float]] = {}
    for record in known:
        if "test" in record:
            seconds.setdefault(likes(record["config"]), []).append(record["seconds"])
    expected = [mean(seconds.get(likes(cell.to_dict()), [math.nan])) for cell in left]
    unknown = sum(map(math.isnan, expected))
    parts = []
    if unknown < len(expected):
        parts.append(f"about {_duration(pace * float(np.nansum(expected)))}")
    if unknown:
        parts.append(f"{unknown} cells of unknown length")
    return " and ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


# --- on Ray -------------------------------------------------------------------------------------


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
            path = folder / _file_name(cell)
            kept = path.read_bytes() if path.exists() else b""
            gpus = int(has_gpu and cell.lm is not None)  # Ray hides them from all other tasks
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


# --- files --------------------------------------------------------------------------------------


def read_records(path: Path) -> list[Record]:
    """The records of a file; half a line at its end, left by a kill, is not one.

    Raises:
        TuneshotError: the file cannot be read, or a line is not a record.
    """
    records = read_lines(path)
    for number, record in enumerate(records, start=1):
        config = record.get("config") if isinstance(record, dict) else None
        if not isinstance(config, dict) or not config.keys() >= CONFIG_KEYS:
            raise not_a_record(path, number)
    return records


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


def _file_name(cell: Cell) -> str:
    digest = hashlib.sha256(cell.identity.encode()).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9.]+', '-', cell.name).strip('-.')}-{digest}.jsonl"


def _identity(config: Mapping[str, Any]) -> str:
    return json.dumps(config, sort_keys=True)


def _about() -> Record:
    return {
        "versions": {
            "python": platform.python_version(),
            "tuneshot": __version__,
            **{name: version(name) for name in ("torch", "transformers")},
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
