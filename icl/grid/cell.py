"""The cells of a grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from clfcore.config import at_least, setting
from clfcore.errors import TuneshotError, unknown_choice
from clfcore.evaluation.records import Record
from clfcore.evaluation.runner import config_identity
from icl.grid.table import BASELINES
from icl.prompt.tasks import TASKS
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig, Option


@dataclass(frozen=True, kw_only=True)
class GridCell(FewShotConfig):
    """One evaluation: how messages are answered, by which model, and which messages.

    Attributes:
        task: a key of ``TASKS``, or what ``task_from_file`` understands.
        lm: the language model, as on the command line; ``None`` where the selector votes.
        limit: how many test messages at most; ``seed`` draws them, too.
        balanced: whether they are as many of each label, or in the data's own shares.

    Raises:
        TuneshotError: an unknown name or option, or values that cannot be meant.
    """

    task: str
    lm: str | None
    limit: int = setting(300, "Test messages at most.", bound=at_least(1))
    balanced: bool = True

    def contradictions(self) -> list[str]:
        problems = super().contradictions()
        if not (self.task in TASKS or "/" in self.task or Path(self.task).exists()):
            choices = ", ".join(TASKS)
            problems.append(f"unknown task {self.task!r}; choose from {choices}, or a file")
        if (self.k == 0) != (self.selector == "zero"):
            problems.append(f"k must not be {self.k} for {self.selector}; zero is the one with k=0")
        if not self.lm and not SELECTORS[self.selector].votes:
            problems.append(f"selector {self.selector!r} needs a language model; name one")
        return problems

    @property
    def record(self) -> Record:
        """What its record begins with."""
        return {"config": self.to_dict()}

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
) -> tuple[GridCell, ...]:
    """Every combination once, and always the baselines beside the selectors that are named.

    ``zero`` has no k and ``knn`` no model, so they make fewer cells. All are there for the first
    seed before any for the second; a model's cells stand together.

    Args:
        tasks: an axis, like the next four; see ``GridCell``.
        lms: language models.
        selectors: beside ``BASELINES``.
        ks: each at least 1.
        seeds: each at least 0.
        options: selector -> its options.
        settings: the other fields of ``GridCell``, for all.

    Raises:
        TuneshotError: an empty axis, options of a selector that is not in the grid, or what a
            ``GridCell`` refuses.
    """
    axes = {"task": tasks, "model": lms, "selector": selectors, "k": ks, "seed": seeds}
    for what, values in axes.items():
        if not values:
            raise TuneshotError(f"a grid needs at least one {what}; name one")
    named = dict.fromkeys([*BASELINES, *selectors])
    for selector in named:
        if selector not in SELECTORS:
            raise unknown_choice("selector", selector, SELECTORS)
    options = options or {}
    for selector in options:
        if selector not in named:
            raise TuneshotError(f"options for {selector!r}, which is not in the grid; add it")
    if min(ks) < 1:
        raise TuneshotError(f"k must be 1 or more, not {min(ks)}; zero is in every grid anyway")
    grid = [
        GridCell(
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
    return tuple({config_identity(cell.record): cell for cell in grid}.values())
