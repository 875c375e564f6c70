"""The cells of a grid, and the messages they are about."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from clfcore.config import at_least, setting
from clfcore.data.split import data_record
from clfcore.errors import TuneshotError, unknown_choice
from clfcore.evaluation.records import Record, identity
from clfcore.types import Example
from icl.grid.table import BASELINES
from icl.lm.connection import DEFAULT_CONNECTION, Connection
from icl.lm.open import lm_record, with_dtype
from icl.prompt.calibration import CALIBRATIONS
from icl.prompt.tasks import TASKS, Task
from icl.selectors.arrange import BALANCES
from icl.selectors.table import SELECTORS
from icl.settings import ORDERS, USUAL_BALANCE, USUAL_K, FewShotConfig, Option


@dataclass(frozen=True, kw_only=True)
class GridCell(FewShotConfig):
    """One evaluation: how messages are answered, by which model, and which messages.

    Attributes:
        task: a key of ``TASKS``, or what ``task_from_file`` understands.
        lm: the language model, as on the command line; ``None`` where the selector votes.
        limit: how many test messages at most; ``seed`` draws them, too.
        balanced: whether they are as many of each label, or in the data's own shares.
        inputs: what all this is applied to, see ``with_inputs``.

    Raises:
        TuneshotError: an unknown name or option, or values that cannot be meant.
    """

    task: str
    lm: str | None
    limit: int = setting(300, "Test messages at most.", bound=at_least(1))
    balanced: bool = True
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def contradictions(self) -> list[str]:
        problems = super().contradictions()
        if not (self.task in TASKS or "/" in self.task or Path(self.task).exists()):
            choices = ", ".join(TASKS)
            problems.append(f"unknown task {self.task!r}; choose from {choices}, or a file")
        if (self.k == 0) != (self.selector == "zero"):
            problems.append(f"k must not be {self.k} for {self.selector}; zero is the one with k=0")
        if not self.lm and SELECTORS[self.selector].asks_lm:
            problems.append(f"selector {self.selector!r} needs a language model; name one")
        return problems

    @property
    def record(self) -> Record:
        """What its record begins with."""
        config = self.to_dict()
        return {"inputs": config.pop("inputs"), "config": config}

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
    ks: Sequence[int] = (USUAL_K,),
    seeds: Sequence[int] = (0,),
    balances: Sequence[str] = (USUAL_BALANCE,),
    arrangements: Sequence[str] = ("similar_last",),
    calibrations: Sequence[str] = ("none",),
    baselines: Sequence[str] = BASELINES,
    options: Mapping[str, Mapping[str, Option]] | None = None,
    **settings: Any,  # noqa: ANN401
) -> tuple[GridCell, ...]:
    """Every combination once, and the baselines beside the selectors that are named.

    ``zero`` has no k, ``knn`` neither model, order nor calibration, and some selectors have a
    balance of their own, so they make fewer cells. All are there for the first seed before any for
    the second; a model's cells stand together.

    Args:
        tasks: an axis, like the next seven; see ``GridCell``.
        lms: language models.
        selectors: beside the baselines.
        ks: each at least 1.
        seeds: each at least 0.
        balances: keys of ``BALANCES``.
        arrangements: keys of ``ORDERS``: their orders.
        calibrations: keys of ``CALIBRATIONS``.
        baselines: those of ``BASELINES`` that are wanted.
        options: selector -> its options.
        settings: the other fields of ``GridCell``, for all.

    Raises:
        TuneshotError: an empty axis, options of a selector that is not in the grid, or what a
            ``GridCell`` refuses.
    """
    axes = {"task": tasks, "model": lms, "selector": selectors, "k": ks, "seed": seeds,
            "balance": balances, "order": arrangements, "calibration": calibrations}  # fmt: skip
    for what, values in axes.items():
        if not values:
            raise TuneshotError(f"a grid needs at least one {what}; name one")
    for what, names, choices in (
        ("balance", balances, BALANCES), ("order", arrangements, ORDERS),
        ("calibration", calibrations, CALIBRATIONS), ("baseline", baselines, BASELINES),
    ):  # fmt: skip
        for name in names:
            if name not in choices:
                raise unknown_choice(what, name, choices)
    named = dict.fromkeys([*baselines, *selectors])
    for selector in named:
        if selector not in SELECTORS:
            raise unknown_choice("selector", selector, SELECTORS)
    options = options or {}
    for selector in options:
        if selector not in named:
            raise TuneshotError(f"options for {selector!r}, which is not in the grid; add it")
    if min(ks) < 1:
        raise TuneshotError(f"k must be 1 or more, not {min(ks)}; the selector zero shows none")
    grid = [
        GridCell(
            task=task,
            lm=lm if SELECTORS[selector].asks_lm else None,
            selector=selector,
            options=options.get(selector, {}),
            k=0 if selector == "zero" else k,
            seed=seed,
            balance=_balance(selector, balance),
            order=_order(selector, order),
            calibration=_calibration(selector, calibration),
            **settings,
        )
        for seed, lm, task, selector, k, balance, order, calibration in product(
            seeds, lms, tasks, named, ks, balances, arrangements, calibrations
        )
    ]
    return tuple({identity(cell.record): cell for cell in grid}.values())


def _balance(selector: str, balance: str) -> str:
    """``balance``, or the usual one where it makes no difference to what is shown."""
    fixed = SELECTORS[selector].balance or selector == "zero"
    return FewShotConfig().balance if fixed else balance


def _order(selector: str, order: str) -> str:
    """``order``, or the usual one where it makes no difference to the answer."""
    fixed = SELECTORS[selector].votes or selector == "zero"
    return FewShotConfig().order if fixed else order


def _calibration(selector: str, calibration: str) -> str:
    """``calibration``, or the usual one where nothing is calibrated."""
    return FewShotConfig().calibration if SELECTORS[selector].votes else calibration


@dataclass(frozen=True)
class TaskMessages:
    """What a task's cells are about.

    Attributes:
        task: labels and prompt format.
        pool: messages that may be shown, none a copy of a question.
        questions: messages of which each cell asks about some.
    """

    task: Task
    pool: Sequence[Example]
    questions: Sequence[Example]


def with_inputs(
    grid: Iterable[GridCell],
    messages: Mapping[str, TaskMessages],
    embedder: str,
    connection: Connection = DEFAULT_CONNECTION,
) -> tuple[GridCell, ...]:
    """The cells, each knowing what it is applied to; so its record is taken for no other's.

    Args:
        grid: the cells.
        messages: of each task.
        embedder: the name of what tells similar messages.
        connection: how the server of a model behind an API is reached.

    Raises:
        TuneshotError: a model behind an API that cannot be asked.
    """
    of_task = {
        name: {
            "pool": data_record(about.pool),
            "questions": data_record(about.questions),
            "template": about.task.template.digest,
        }
        for name, about in messages.items()
    }
    grid = [replace(cell, lm=cell.lm and with_dtype(cell.lm)) for cell in grid]
    of_lm = {lm: lm_record(lm, connection) for lm in {cell.lm for cell in grid} if lm}
    with_all = [
        replace(
            cell,
            inputs={
                **of_task[cell.task],
                "embedder": embedder,
                "lm": of_lm[cell.lm] if cell.lm else None,
            },
        )
        for cell in grid
    ]
    # A model may have been named twice, with its number format and without.
    return tuple({identity(cell.record): cell for cell in with_all}.values())
