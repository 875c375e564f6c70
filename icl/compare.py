"""Fine-tune or few-shot? Methods × label budgets × seeds, all asked about the same messages.

    records.jsonl, answers/  see ``cells.py``
    summary.json             all figures, see ``summary.py``
    table.md, report.html    the same for people, see ``report.py``

At one seed and budget, all methods see the same labelled messages: the first of one random order
of the pool, whose end is the whole pool. Where vote-k chooses what to label, it votes among three
quarters of the pool, drawn with the seed, and looks at no label.
"""

import math
import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clfcore.config import MINI, Checked
from clfcore.data import (
    Source,
    content_hash,
    duplicate_groups,
    grouped_stratified_split,
    normal_form,
)
from clfcore.errors import TuneshotError, one_of
from clfcore.evaluate import Evaluation, evaluate
from clfcore.records import Record
from clfcore.types import Classifier, Example, Say, unheard
from icl.cells import BATCH, Noted, about_this_run, identity_of, run_cells
from icl.grid import draw
from icl.methods import METHODS, Lesson, Method, pool_of, seconds_to_embed, vectors_of
from icl.paired import METRICS
from icl.perturb import PERTURBATIONS, perturbed
from icl.tasks import TASKS, Task, task_of
from icl.votek import VoteKPool

DEFAULT_LM = "bf16:SmolLM2-135M-Instruct"
VOTERS = 0.75  # share of the pool that vote-k looks at
HARD = 60  # messages that are asked again in other words, as many of each label
ORDERS = 4  # of the same demonstrations
KEYS = ("method", "budget", "seed", "sha256", "test_size")  # what every record's config has
_ALIKE = ("method", "budget", "more")  # another seed takes about as long


# --- what is asked ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contest:
    """The messages of a comparison: the same for every method.

    Attributes:
        source: where they come from, in words.
        sha256: of all of them.
        task: labels and prompt format.
        pool: different messages that may be labelled, none a copy of one that is asked about.
        test: messages to ask about.
        split_seed: what decided which is which.
        second: messages of another corpus to ask about.
        second_source: where they come from.
    """

    source: str
    sha256: str
    task: Task
    pool: tuple[Example, ...]
    test: tuple[Example, ...]
    split_seed: int = 0
    second: tuple[Example, ...] = ()
    second_source: str = ""

    @cached_property
    def hard(self) -> tuple[Example, ...]:
        """Some of the test messages, as many of each label."""
        return tuple(draw(self.test, HARD, balanced=True, seed=self.split_seed))

    @cached_property
    def words(self) -> Mapping[str, str]:
        """Label -> its word in prompts."""
        words = self.task.template.words
        return {label: words[label][0].strip() for label in self.task.labels}


def contest(
    source: Source,
    task: str = "",
    *,
    test_size: int = 200,
    balanced: bool = False,
    split_seed: int = 0,
    second: Source | None = None,
) -> Contest:
    """Splits labelled messages into a pool and messages to ask about.

    Args:
        source: all of them.
        task: whose prompt format; by default that of ``TASKS`` with the same labels, or a plain
            one.
        test_size: messages to ask about, at most.
        balanced: as many of each label, or in their natural shares.
        split_seed: the same seed gives the same parts.
        second: messages of another corpus, in the same labels.

    Raises:
        TuneshotError: labels that the task does not know, too few messages, or a test part too
            small for one message of each label.
    """
    known = find_task(source, task)
    split = grouped_stratified_split(source.examples, split_seed)
    test = draw([source.examples[row] for row in split.test], test_size, balanced, split_seed)
    few = sorted(set(known.labels) - {example.label for example in test})
    if few:
        raise TuneshotError(
            f"of {len(test)} test messages none is {', '.join(few)}; choose a larger --test-size"
        )
    train = [source.examples[row] for row in split.train]
    first = np.unique(duplicate_groups(e.text for e in train), return_index=True)[1]
    others: list[Example] = []
    if second is not None:
        if strange := sorted({e.label for e in second.examples} - set(known.labels)):
            raise TuneshotError(
                f"{second.name} has the label {strange[0]!r}, and {source.name} has not; it has "
                f"{', '.join(known.labels)}"
            )
        learnt = {normal_form(example.text) for example in train}
        new = [e for e in second.examples if normal_form(e.text) not in learnt]
        others = draw(new, test_size, balanced, split_seed)
    return Contest(
        source=source.name,
        sha256=content_hash(source.examples),
        task=known,
        pool=tuple(train[row] for row in sorted(first.tolist())),
        test=tuple(test),
        split_seed=split_seed,
        second=tuple(others),
        second_source=second.name if second is not None else "",
    )


def find_task(source: Source, name: str = "") -> Task:
    """The task called ``name``; without a name, the one with the labels of ``source``.

    Raises:
        TuneshotError: no such task, or messages with labels that it does not know.
    """
    labels = {example.label for example in source.examples}
    if name:
        if name not in TASKS:
            raise one_of("task", name, TASKS)
        if strange := sorted(labels - set(TASKS[name].labels)):
            raise TuneshotError(
                f"{source.name} has the label {strange[0]!r}, and task {name} has not; it has "
                f"{', '.join(TASKS[name].labels)}"
            )
        return TASKS[name]
    for task in TASKS.values():
        if set(task.labels) == labels:
            return task
    return task_of("own", tuple(sorted(labels)))


@dataclass(frozen=True, kw_only=True)
class Cell(Checked):
    """One method at one budget and seed.

    Attributes:
        method: a key of ``METHODS``.
        budget: labelled messages; 0 for a method that needs none.
        seed: of which they are, and of all else that is random in learning.
        sha256: of all messages.
        task: name of the task.
        split_seed: of the split into pool and test part.
        test_size: messages asked about.
        balanced: as many of each label.
        base: what fine-tuning starts from; "" where nothing is fine-tuned.
        lm: which language model is shown examples; "" where none is asked.
        k: how many.
        more: what else is measured: ``memory``; ``second``, the other corpus; ``hard``, some test
            messages as they are; a key of ``PERTURBATIONS``, the same in other words; ``order 1``,
            ``order 2``, …: the same with the demonstrations in other orders.

    Raises:
        TuneshotError: an unknown name, or values that cannot be meant.
    """

    method: str
    budget: int
    seed: int
    sha256: str
    task: str
    split_seed: int = 0
    test_size: int = 200
    balanced: bool = False
    base: str = MINI
    lm: str = DEFAULT_LM
    k: int = 4
    more: tuple[str, ...] = ()

    def problems(self) -> list[str]:
        found = []
        if self.method not in METHODS:
            found.append(f"unknown method {self.method!r}; choose from {', '.join(METHODS)}")
        found += [
            f"{name} must be {least} or more, not {getattr(self, name)}"
            for name, least in (("budget", 0), ("seed", 0), ("test_size", 1), ("k", 1))
            if getattr(self, name) < least
        ]
        return found

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "more": list(self.more)}  # as JSON gives it back

    @cached_property
    def identity(self) -> str:
        """What makes this cell this cell and no other."""
        return identity_of(self.to_dict())

    @property
    def name(self) -> str:
        """For people, and for the name of a file."""
        return f"{self.method} {self.budget} seed{self.seed}"

    @property
    def wants_gpu(self) -> bool:
        """All models run on the CPU here."""
        return False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which cells are run, and how what they measured is read.

    Attributes:
        methods: keys of ``METHODS``.
        budgets: ascending; the last is the whole pool, if ``all`` was asked for.
        seeds: at least one.
        base, lm, k: as in ``Cell``.
        balanced: as in ``contest``.
        metric: a key of ``paired.METRICS``, what the crossover is about.
        robust: also measure memory, other words, other orders and the second corpus, at the
            largest budget and with the first seed.

    Raises:
        TuneshotError: nothing to run, or an unknown name.
    """

    methods: tuple[str, ...]
    budgets: tuple[int, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    base: str = MINI
    lm: str = DEFAULT_LM
    k: int = 4
    balanced: bool = False
    metric: str = "balanced_accuracy"
    robust: bool = True

    def __post_init__(self) -> None:
        for what in ("methods", "budgets", "seeds"):
            if not getattr(self, what):
                raise TuneshotError(f"a comparison needs {what}; name at least one")
        for name in self.methods:
            if name not in METHODS:
                raise one_of("method", name, METHODS)
        if self.metric not in METRICS:
            raise one_of("metric", self.metric, METRICS)

    def cells(self, contest: Contest) -> tuple[Cell, ...]:
        """All budgets and methods with the first seed, then with the next.

        The longest first within a seed, so that several at a time end together.
        """
        shared: dict[str, Any] = {
            "sha256": contest.sha256, "task": contest.task.name, "k": self.k,
            "split_seed": contest.split_seed, "test_size": len(contest.test),
            "balanced": self.balanced,
        }  # fmt: skip
        largest = self.budgets[-1]
        found = {}
        for seed, budget, name in product(self.seeds, reversed(self.budgets), self.methods):
            method = METHODS[name]
            if budget > method.most:
                continue
            if not method.chooses:  # nothing depends on budget or seed
                seed, budget = self.seeds[0], 0
            more: tuple[str, ...] = ()
            if self.robust and seed == self.seeds[0] and budget in (0, largest):
                more = tuple(self._more(method, contest))
            # A model that a method does not use makes no other cell of it.
            base = self.base if method.family == "fine_tuned" else ""
            lm = self.lm if method.asks_lm else ""
            cell = Cell(
                method=name, budget=budget, seed=seed, base=base, lm=lm, more=more, **shared
            )
            found[cell.identity] = cell
        return tuple(found.values())

    def _more(self, method: Method, contest: Contest) -> Iterator[str]:
        yield "memory"
        yield "hard"
        yield from PERTURBATIONS
        if method.family == "few_shot":
            yield from (f"order {number}" for number in range(1, ORDERS + 1))
        if contest.second:
            yield "second"


def budgets_of(asked: str, pool: int) -> tuple[int, ...]:
    """The budgets of ``8,16,all``, ascending; those beyond the pool are the whole pool.

    Raises:
        TuneshotError: something else than positive numbers and ``all``.
    """
    found = set()
    for word in asked.replace(" ", "").split(","):
        if word != "all" and not (word.isascii() and word.isdecimal() and int(word) > 0):
            raise TuneshotError(
                f"--budgets wants numbers of labelled messages and all, such as 8,64,all; "
                f"not {word!r}"
            )
        found.add(pool if word == "all" else min(int(word), pool))
    return tuple(sorted(found))


# --- one cell -----------------------------------------------------------------------------------


def lesson_of(contest: Contest, cell: Cell) -> Lesson:
    """What the cell's method may learn from."""
    order = np.random.default_rng(cell.seed).permutation(len(contest.pool))
    if METHODS[cell.method].chooses == "votek":
        order = votek_order(contest.pool, cell.budget, cell.seed)
    labelled = tuple(contest.pool[row] for row in order[: cell.budget].tolist())
    return Lesson(labelled, contest.task, base=cell.base, lm=cell.lm, k=cell.k, seed=cell.seed)


def votek_order(pool: Sequence[Example], count: int, seed: int) -> np.ndarray:
    """Rows of the pool: those that vote-k would have labelled, then all others at random.

    Args:
        pool: its labels are not looked at.
        count: how many are to be labelled.
        seed: draws the messages that vote, as in the paper (Su et al. 2023, section 2.1).
    """
    order = np.random.default_rng(seed).permutation(len(pool))
    voters = np.sort(order[: math.ceil(VOTERS * len(pool))])
    unlabelled = pool_of([replace(pool[row], label="") for row in voters.tolist()])
    voted = VoteKPool(annotate=min(count, len(voters))).fit(unlabelled)
    picks = voters[voted.picks]
    return np.concatenate([picks, order[~np.isin(order, picks)]])


def run_cell(cell: Cell, contest: Contest, *, answers: Path, on_progress: Say = unheard) -> Record:
    """Learns, asks about every test message, and measures what else the cell wants.

    Args:
        cell: what.
        contest: the messages.
        answers: a file, made if need be: what was answered, one JSON object a line and message.
        on_progress: hears ("judge", messages answered, messages, the cell's name).

    Raises:
        TuneshotError: what learning or asking cannot do.
    """
    start = time.perf_counter()
    method, lesson = METHODS[cell.method], lesson_of(contest, cell)
    begin = time.perf_counter()
    classifier = method.learn(lesson)
    seconds = time.perf_counter() - begin
    if method.chooses == "votek":
        seconds += seconds_to_embed([example.text for example in contest.pool])
    elif method.embeds:
        seconds += seconds_to_embed([example.text for example in lesson.labelled])

    def ask(classifier: Classifier, examples: Sequence[Example], about: str) -> "_Asked":
        noted = Noted(classifier, examples, answers, {"asked": about})
        total = len(examples)
        found = evaluate(
            noted, examples, lambda n: on_progress("judge", n, total, cell.name), BATCH
        )
        return _Asked(found, noted)

    asked = ask(classifier, contest.test, "test")
    more: dict[str, Any] = {}
    for what in cell.more:
        if what == "memory":
            more[what] = {"megabytes": peak_memory(cell, contest)}
            continue
        again, examples = classifier, contest.hard
        if what == "second":
            examples = contest.second
        elif what in PERTURBATIONS:
            examples = tuple(perturbed(what, contest.hard, contest.words, contest.split_seed))
        elif what.startswith("order "):
            number = int(what.removeprefix("order "))
            again = method.learn(replace(lesson, order="random", seed=number))
        more[what] = {"accuracy": ask(again, examples, what).evaluation.metrics.accuracy.value}
    return {
        "config": cell.to_dict(),
        "test": asked.evaluation.to_dict(),
        "more": more,
        "labels_used": len(lesson.labelled),
        "learn_seconds": round(seconds, 3),
        "prompt_tokens": asked.noted.prompt_tokens,
        "dollars": asked.noted.dollars,
        "seconds": round(time.perf_counter() - start, 2),
        "answers": answers.name,
        **about_this_run(),
    }


@dataclass(frozen=True)
class _Asked:
    evaluation: Evaluation
    noted: Noted


# --- memory -------------------------------------------------------------------------------------


def peak_memory(cell: Cell, contest: Contest) -> float | None:
    """Megabytes that a process had at most which did nothing but learn and answer 16 messages.

    ``None`` where the system does not say (it is read from Linux's /proc).
    """
    here, there = multiprocessing.Pipe(duplex=False)
    # Not forked: the child would start with all that this process has loaded.
    child = multiprocessing.get_context("spawn").Process(
        target=_weigh, args=(replace(cell, more=()), contest, torch.get_num_threads(), there)
    )
    child.start()
    there.close()
    try:
        return float(here.recv())
    except (EOFError, TypeError):
        return None
    finally:
        child.join()


def _weigh(cell: Cell, contest: Contest, threads: int, answer: Connection) -> None:
    torch.set_num_threads(threads)  # more than there are free cores would be many times slower
    METHODS[cell.method].learn(lesson_of(contest, cell)).predict(
        [example.text for example in contest.test[:16]]
    )
    # Not getrusage's: a process inherits that one from whoever started it.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    answer.send(int(status.split("VmHWM:")[1].split()[0]) / 1000)


# --- all cells ----------------------------------------------------------------------------------


def run(
    plan: Plan,
    contest: Contest,
    out: Path,
    on_progress: Say = unheard,
    *,
    jobs: int = 1,
    ray: str | None = None,
) -> list[Record]:
    """Runs what is not recorded yet; see ``run_cells``.

    Raises:
        TuneshotError: the folder cannot be used, or there is no such cluster.
    """
    prepare(plan, contest)
    return run_cells(
        plan.cells(contest), out, partial(run_cell, contest=contest), on_progress,
        keys=KEYS, alike=_ALIKE, jobs=jobs, ray=ray,
    )  # fmt: skip


def prepare(plan: Plan, contest: Contest) -> None:
    """Has the vectors of all messages on the disk before several processes want them."""
    wanted = [METHODS[name] for name in plan.methods]
    if any(method.embeds or method.chooses == "votek" for method in wanted):
        vectors_of([example.text for example in contest.pool])
