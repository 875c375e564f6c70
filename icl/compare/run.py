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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clfcore.evaluation.evaluate import Evaluation, evaluate
from clfcore.evaluation.perturb import PERTURBATIONS, perturbed
from clfcore.evaluation.provenance import about_this_run
from clfcore.evaluation.records import Record
from clfcore.evaluation.runner import BATCH, Noted, run_cells
from clfcore.types import Classifier, Example, OnProgress, ignore
from icl.compare.methods import METHODS, Lesson, pool_of, seconds_to_embed, vectors_of
from icl.compare.plan import KEYS, Cell, Plan
from icl.compare.task_split import Contest
from icl.selectors.votek import VoteKPool

VOTERS = 0.75  # share of the pool that vote-k looks at
_ALIKE = ("method", "budget", "more")  # another seed takes about as long


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


def run_cell(
    cell: Cell, contest: Contest, *, answers: Path, on_progress: OnProgress = ignore
) -> Record:
    """Learns, asks about every test message, and measures what else the cell wants.

    Args:
        cell: what.
        contest: the messages.
        answers: a file, made if need be: what was answered, one JSON object a line and message.
        on_progress: called with ("judge", messages answered, messages, the cell's name).

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
    on_progress: OnProgress = ignore,
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
