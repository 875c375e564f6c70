"""Fine-tune or few-shot? Methods × label budgets × seeds, all asked about the same messages.

    records.jsonl, answers/  see ``clfcore.evaluation.runner``
    summary.json             all figures, see ``summary.py``
    table.md, report.html    the same for people, see ``icl.report``

At one seed and budget, all methods see the same labelled messages: the first of one random order
of the pool; the largest budget may be the whole pool. Where vote-k chooses what to label, it votes
among three quarters of the pool, drawn with the seed, and looks at no label.
"""

import math
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clfcore.evaluation.answers import BATCH, Recorded
from clfcore.evaluation.evaluate import Evaluation, evaluate
from clfcore.evaluation.perturb import PERTURBATIONS, perturbed
from clfcore.evaluation.provenance import about_this_run
from clfcore.evaluation.records import Record
from clfcore.evaluation.runner import RecordFormat, run_cells
from clfcore.types import Classifier, Example, OnProgress, ignore
from icl.compare.learn.embedding import pool_of, seconds_to_embed, vectors_of
from icl.compare.learn.inputs import MethodInput
from icl.compare.methods import METHODS
from icl.compare.plan import HELD_OUT, ComparisonCell, Plan, held_out_of
from icl.compare.task_split import TaskSplit
from icl.pool.embed import DEFAULT_EMBEDDER
from icl.selectors.votek import VoteKPool

VOTER_SHARE = 0.75  # share of the pool that vote-k looks at
MEMORY_MESSAGES = 16  # answered while the memory of a method is measured


COMPARISON = RecordFormat(
    # Another seed takes about as long.
    lambda record: str([record["config"][name] for name in ("method", "budget", "more")]),
    config_keys=("method", "budget", "seed", "test_size"),
)


# --- one cell -----------------------------------------------------------------------------------


def method_input(
    split: TaskSplit, cell: ComparisonCell, chosen: Mapping[str, Any] | None = None
) -> MethodInput:
    """What the method of a cell may learn from, and with; and what it has chosen from it before."""
    order = np.random.default_rng(cell.seed).permutation(len(split.pool))
    if METHODS[cell.method].chooses == "votek":
        order = votek_order(split.pool, cell.budget, cell.seed, cell.embedder)
    rows = tuple(order[: cell.budget].tolist())
    return MethodInput(
        tuple(split.pool[row] for row in rows), split.task, base=cell.base, lm=cell.lm, k=cell.k,
        embedder=cell.embedder, seed=cell.seed, chat=cell.chat, prompt_tokens=cell.prompt_tokens,
        connection=cell.connection, rows=rows, chosen=chosen,
    )  # fmt: skip


def votek_order(
    pool: Sequence[Example], count: int, seed: int, embedder: str = DEFAULT_EMBEDDER
) -> np.ndarray:
    """Rows of the pool: those that vote-k would have labelled, then all others at random.

    Args:
        pool: its labels are not looked at.
        count: how many are to be labelled.
        seed: draws the messages that vote, as in the paper (Su et al. 2023, section 2.1).
        embedder: what says which messages are similar.
    """
    order = np.random.default_rng(seed).permutation(len(pool))
    voters = np.sort(order[: math.ceil(VOTER_SHARE * len(pool))])
    unlabelled = pool_of([replace(pool[row], label="") for row in voters.tolist()], embedder)
    voted = VoteKPool(annotate=min(count, len(voters))).fit(unlabelled)
    picks = voters[voted.picks]
    return np.concatenate([picks, order[~np.isin(order, picks)]])


def run_cell(
    cell: ComparisonCell, split: TaskSplit, *, answers: Path, on_progress: OnProgress = ignore
) -> Record:
    """Learns, asks about every test message, and measures what else the cell asks for.

    Args:
        cell: what.
        split: the messages.
        answers: a file, made if need be: what was answered, one JSON object a line and message.
        on_progress: called with ("evaluate", messages answered, messages, the cell's name).

    Raises:
        TuneshotError: the method cannot learn or answer, or the disk cannot be written.
    """
    start = time.perf_counter()
    method, inputs = METHODS[cell.method], method_input(split, cell)
    begin = time.perf_counter()
    classifier = method.learn(inputs)
    seconds = time.perf_counter() - begin
    chosen = getattr(classifier, "chosen", None)
    if method.chooses == "votek":
        seconds += seconds_to_embed([example.text for example in split.pool], cell.embedder)
    elif method.embeds:
        seconds += seconds_to_embed([example.text for example in inputs.labelled], cell.embedder)

    def ask(
        classifier: Classifier, examples: Sequence[Example], about: str, rows: Sequence[int]
    ) -> tuple[Evaluation, Recorded]:
        recorded = Recorded(classifier, examples, answers, {"asked": about}, rows)
        total = len(examples)
        result = evaluate(
            recorded, examples, lambda n: on_progress("evaluate", n, total, cell.name), BATCH
        )
        return result, recorded

    test, recorded = ask(classifier, split.test, "test", inputs.rows)
    more: dict[str, Any] = {}
    for what in cell.more:
        if what == "memory":
            more[what] = {"megabytes": peak_memory(cell, split, chosen)}
            continue
        again, examples, rows = classifier, split.balanced_sample, inputs.rows
        if what == HELD_OUT:
            rest, examples = hold_out(inputs)
            again, rows = method.learn(rest), rest.rows
        elif what == "second":
            examples = split.second
        elif what in PERTURBATIONS:
            examples = tuple(perturbed(what, examples, split.words, split.split_seed, split.fields))
        elif what.startswith("order "):
            number = int(what.removeprefix("order "))
            again = method.learn(replace(inputs, order="random", seed=number, chosen=chosen))
        result, _ = ask(again, examples, what, rows)
        more[what] = {"accuracy": result.metrics.accuracy.value}
    return {
        **cell.record,
        "test": test.to_dict(),
        "more": more,
        "labels_used": len(inputs.labelled),
        "learn_seconds": round(seconds, 3),
        "chosen": chosen,
        "shown": recorded.shown,
        **recorded.costs,
        "seconds": round(time.perf_counter() - start, 2),
        "answers": answers.name,
        **about_this_run(),
    }


def hold_out(inputs: MethodInput) -> tuple[MethodInput, tuple[Example, ...]]:
    """What is left to learn from when some labelled messages are put aside, and these."""
    order = np.random.default_rng(inputs.seed).permutation(len(inputs.labelled)).tolist()
    aside = set(order[: held_out_of(len(order))])
    kept = [row for row in range(len(order)) if row not in aside]
    rest = replace(
        inputs,
        labelled=tuple(inputs.labelled[row] for row in kept),
        rows=tuple(inputs.rows[row] for row in kept),
    )
    return rest, tuple(inputs.labelled[row] for row in sorted(aside))


# --- memory -------------------------------------------------------------------------------------


def peak_memory(
    cell: ComparisonCell, split: TaskSplit, chosen: Mapping[str, Any] | None = None
) -> float | None:
    """Peak megabytes of a process that does nothing but learn and answer ``MEMORY_MESSAGES``.

    ``None`` where the system does not say (it is read from Linux's /proc).
    """
    here, there = multiprocessing.Pipe(duplex=False)
    # Not forked: the child would start with all that this process has loaded.
    child = multiprocessing.get_context("spawn").Process(
        target=_measure_memory,
        args=(replace(cell, more=()), split, chosen, torch.get_num_threads(), there),
    )
    child.start()
    there.close()
    try:
        return float(here.recv())
    except (EOFError, TypeError):
        return None
    finally:
        child.join()


def _measure_memory(
    cell: ComparisonCell,
    split: TaskSplit,
    chosen: Mapping[str, Any] | None,
    threads: int,
    answer: Connection,
) -> None:
    torch.set_num_threads(threads)  # more than there are free cores would be many times slower
    METHODS[cell.method].learn(method_input(split, cell, chosen)).predict(
        [example.text for example in split.test[:MEMORY_MESSAGES]]
    )
    # Not getrusage's: a process inherits that one from its parent.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    answer.send(int(status.split("VmHWM:")[1].split()[0]) / 1000)


# --- all cells ----------------------------------------------------------------------------------


def run(
    plan: Plan,
    split: TaskSplit,
    out: Path,
    on_progress: OnProgress = ignore,
    *,
    note: Callable[[str], object] = ignore,
    jobs: int = 1,
    ray: str | None = None,
) -> list[Record]:
    """Runs what is not recorded yet; see ``run_cells``.

    Raises:
        TuneshotError: the folder cannot be used, or there is no such cluster.
    """
    methods = [METHODS[name] for name in plan.methods]
    if any(method.uses_vectors for method in methods):
        # On the disk before several processes want them.
        vectors_of([e.text for e in split.pool], plan.embedder)
    return run_cells(
        plan.cells(split), out, partial(run_cell, split=split), COMPARISON, on_progress,
        note=note, jobs=jobs, ray=ray,
    )  # fmt: skip
