"""The few-shot classifier that a command line asks for. Models are imported after all checks."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from clfcore.cli.terminal import ProgressBars, print_note, stderr
from clfcore.data.columns import Columns
from clfcore.data.messages import load_pool
from clfcore.data.quality import conflict_note
from clfcore.data.split import UnusableInput, grouped_stratified_split, normal_form
from clfcore.errors import TuneshotError, unknown_choice
from clfcore.evaluation.records import Record
from clfcore.types import Example, OnProgress, ignore
from clfcore.wording import printable
from icl.cli.options import FewShotOptions, ModelChoice, TaskSource
from icl.lm.open import check_lm, open_lm
from icl.prompt.tasks import TASKS, Task, task_from_file
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig

if TYPE_CHECKING:
    from icl.few_shot import FewShot


def task_named(name: str, columns: Columns) -> Task:
    """A task of ``TASKS``, or that of a labelled file with these columns.

    Raises:
        TuneshotError: neither.
    """
    if name in TASKS:
        return TASKS[name]
    if "/" in name or Path(name).exists():
        return task_from_file(name, columns=columns)
    raise unknown_choice("task", name, TASKS)


def check_models(models: ModelChoice, settings: FewShotConfig) -> None:
    """Refuses, before messages are read, models that are not there or not what they say.

    Raises:
        TuneshotError: as ``check_lm``, of a language model that is asked; as ``check_embedder``.
    """
    from icl.pool.embed import check_embedder

    check_embedder(models.embedder)
    if SELECTORS[settings.selector].asks_lm:
        check_lm(models.lm, models.base_url)


def load_few_shot(
    source: TaskSource, models: ModelChoice, settings: FewShotOptions, *, answers: bool = True
) -> "FewShot":
    """The classifier of ``icl classify`` and the like; says on stderr where its pool is from.

    Args:
        source: the task, and what is shown.
        models: what reads prompts and embeds messages.
        settings: of the prompt and the answer.
        answers: whether it is to answer; to look at prompts, nothing has to be read.

    Raises:
        TuneshotError: no such task, pool or language model, or settings that do not suit them.
    """
    check_models(models, settings)
    task = task_named(source.task, source)
    settings.check_task(task)
    if source.pool is not None:
        examples, name, *_ = task.read(source.pool, source)
    elif source.task == "sms_spam":
        examples, name, *_ = load_pool()
    else:
        examples, name = task.load("train", source.folder), f"{task.name}, training part"
    with ProgressBars() as bars:
        few_shot = build_few_shot(task, examples, models, settings, bars, read_prior=answers)
    stderr.print(f"examples from: {printable(name)} ({len(examples):,} messages)")
    print_conflicts(examples)
    return few_shot


def build_few_shot(
    task: Task,
    pool: Sequence[Example],
    models: ModelChoice,
    settings: FewShotConfig,
    on_progress: OnProgress = ignore,
    *,
    read_prior: bool = True,
) -> "FewShot":
    """A classifier that shows messages of ``pool``; the last two are as for ``FewShot.fit``.

    Raises:
        TuneshotError: no such language model, or settings that suit neither it nor the pool.
    """
    if settings.k > len(pool):
        raise TuneshotError(
            f"cannot show k={settings.k} examples: the pool has {len(pool)} messages; choose k "
            f"from 0 to {len(pool)}"
        )
    if SELECTORS[settings.selector].asks_lm:
        task.check_prompt()
    from icl.few_shot import FewShot
    from icl.pool.embed import SentenceEmbedder

    lm = None
    if SELECTORS[settings.selector].asks_lm:
        lm = open_lm(models.lm, chat=settings.chat, **models.given)
    values = {field.name: getattr(settings, field.name) for field in fields(FewShotConfig)}
    few_shot = FewShot(task, lm=lm, embedder=SentenceEmbedder(models.embedder), **values)
    return few_shot.fit(pool, on_progress, read_prior=read_prior)


def pool_and_questions(
    task: Task, source: TaskSource, data: Path | None, *, may_lack_questions: bool = False
) -> tuple[list[Example], list[Example]]:
    """Messages to show and messages to ask about, of which none is a copy of another.

    Args:
        task: what is asked.
        source: where messages to show come from.
        data: messages to ask about; ``None``: the task's test part.
        may_lack_questions: whether a pool of the user's does for a task that is too small to have
            a test part.

    Raises:
        TuneshotError: they cannot be read.
    """
    if data is None:
        try:
            questions = task.load("test", source.folder)
        except UnusableInput:
            if source.pool is None or not may_lack_questions:
                raise
            questions = []
    else:
        questions = task.read(data, source).examples
    if source.pool is not None:
        examples = task.read(source.pool, source).examples
    elif data is not None:  # one data set, split
        split = grouped_stratified_split(questions)
        examples = [questions[row] for row in split.train]
        questions = [questions[row] for row in split.test]
    else:
        examples = task.load("train", source.folder)
    labels = {normal_form(question.text): question.label for question in questions}
    kept = [example for example in examples if normal_form(example.text) not in labels]
    if len(kept) < len(examples):
        others = sum(
            example.label != labels.get(normal_form(example.text), example.label)
            for example in examples
        )
        stderr.print(
            f"copies of questions taken out of the pool: {len(examples) - len(kept):,}"
            + (f"; with another label there: {others:,}" if others else "")
        )
    if examples and not kept:
        raise TuneshotError(
            "every message to show is a copy of one to ask about; give others with --pool"
        )
    print_conflicts(kept)
    return kept, questions


def print_conflicts(pool: Sequence[Example]) -> None:
    """Says on stderr which texts of a pool have more than one label."""
    if note := conflict_note(pool):
        print_note(f"pool: {note}")


def note_unanswered(no_answer: int, asked: int, chat: bool) -> None:
    """Says on stderr how many answers named no label, if any, and what may help.

    Args:
        no_answer: how many.
        asked: of how many.
        chat: whether the prompt was a chat.
    """
    if no_answer:
        advice = "show more examples, or choose another model" if chat else "try --chat"
        line = f"note: {no_answer:,} of {asked:,} answers named no label; {advice}"
        stderr.print(line, soft_wrap=True)


def note_unanswered_records(records: Iterable[Record]) -> None:
    """The same of all that language models were asked in a grid or a comparison."""
    silent = [
        (record["test"], record["config"])
        for record in records
        if record.get("test", {}).get("no_answer")
    ]
    note_unanswered(
        sum(test["no_answer"] for test, _ in silent),
        sum(test["messages"] for test, _ in silent),
        all(config.get("chat") is not False for _, config in silent),
    )
