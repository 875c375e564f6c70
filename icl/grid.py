"""Grids of evaluations: models × tasks × selectors × k × seeds, into records and a table.

    records.jsonl    one JSON object a line and cell: what was asked and what was measured
    answers/*.jsonl  one JSON object a line and message, a file a cell: a killed cell goes on there
    table.md         the records in the form of the survey, see ``survey.py``

At one seed all models and selectors are asked about the same messages, so that they can be
compared message by message. How cells are run, and how a killed grid goes on: ``cells.py``.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from clfcore.data import duplicate_groups
from clfcore.errors import TuneshotError, one_of
from clfcore.evaluate import evaluate
from clfcore.paths import atomic_write
from clfcore.records import Record
from clfcore.types import Classifier, Example, Say, unheard
from icl import cells as runner
from icl.cells import BATCH, Noted, Run, about_this_run, identity_of, run_cells
from icl.selectors import SELECTORS
from icl.settings import FewShotConfig, Option
from icl.survey import BASELINES, CONFIG_KEYS, table
from icl.tasks import TASKS

_ALIKE = ("lm", "selector", "options", "k")  # another task or seed takes about as long

Make = Callable[["Cell"], tuple[Classifier, Sequence[Example]]]


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
        return identity_of(self.to_dict())

    @property
    def name(self) -> str:
        """For people, and for the name of a file; not unique."""
        words = [self.task, self.lm or "", self.selector, f"k{self.k}", f"seed{self.seed}"]
        return " ".join(word for word in words if word)

    @property
    def wants_gpu(self) -> bool:
        """A vote needs none."""
        return self.lm is not None


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
    cells: Sequence[Cell], out: Path, run: Run, on_progress: Say = unheard, ray: str | None = None
) -> list[Record]:
    """Runs every cell that is not recorded yet; keeps ``table.md`` up to date. See ``run_cells``.

    Args:
        cells: what to run.
        out: a folder for ``records.jsonl``, ``answers`` and ``table.md``.
        run: ``run_cell`` with all but the cell and its file given, e.g. by ``functools.partial``.
        on_progress: hears ("cells", done, cells, how long the others will take).
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
