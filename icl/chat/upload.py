"""A file in the chat: read, classified with progress and a stop, shown, given back."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import chainlit as cl

from clfcore.errors import TuneshotError
from icl.batch import BatchResult, BatchRun, Progress, Summary, read_messages
from icl.chat.cards import TITLES, percent, plain, share
from icl.chat.conversation import picture
from icl.chat.worker import Workers, classify
from icl.figures import confusion
from icl.session import Settings, Side
from icl.tasks import TASKS
from icl.views import word

SHOWN = 50  # rows of the table
EVERY = 0.5  # seconds between two lines of progress


async def classify_file(
    workers: Workers, path: Path, name: str, methods: Sequence[str], settings: Settings
) -> None:
    """Sends answers to all messages of a file: figures, the rows worth reading, a file of results.

    Stopping it shows what was answered by then.

    Args:
        workers: what answers, after everybody who types.
        path: where the upload is.
        name: what the visitor calls it.
        methods: those to ask.
        settings: how.

    Raises:
        TuneshotError: the file cannot be read.
    """
    labels = TASKS[settings.task].labels
    messages = await asyncio.to_thread(read_messages, path, name, labels)

    async def ask(method: str, texts: Sequence[str]) -> Sequence[Side]:
        asked = (workers.do(classify, method, settings, text, background=True) for text in texts)
        return await asyncio.gather(*asked)

    run = BatchRun(messages, ask, methods=methods)
    said = await cl.Message(content=plain(_line(run.progress()))).send()
    told = time.monotonic()

    async def heard(progress: Progress) -> None:
        nonlocal told
        if time.monotonic() - told > EVERY:
            told = time.monotonic()
            said.content = plain(_line(progress))
            await said.update()

    try:
        await run.run(heard)
    finally:  # stopped or not
        await said.remove()
        await _show(run.result(), name)


def _line(progress: Progress) -> str:
    done = ", ".join(
        f"{TITLES[method].lower()} {count:,}" for method, count in progress.done.items()
    )
    left = progress.seconds_left
    when = "" if left is None else f" About {_duration(left)} left."
    return f"Of {progress.rows:,} messages: {done}.{when} The stop button shows what is there."


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} minutes"


async def _show(result: BatchResult, name: str) -> None:
    summary = await asyncio.to_thread(result.summary)
    content = await asyncio.to_thread(result.to_csv)
    rows = result.table(SHOWN)
    given = result.messages.given is not None
    methods = list(result.answers)
    columns = ["Row", "Message", *(["Label"] if given else []), *(TITLES[m] for m in methods)]
    table = {
        "caption": f"Disagreements first; {len(rows)} of {len(result.messages.texts):,} rows",
        "columns": [*columns, "Why here"],
        "rows": [
            [
                str(row.number),
                row.text[:200],
                *([word(row.given)] if given else []),
                *(_said(row.answers.get(method)) for method in methods),
                row.reason,
            ]
            for row in rows
        ],
    }
    elements = [
        cl.CustomElement(name="AnswersTable", props=table, display="inline"),
        cl.File(name=_results_name(name), content=content, mime="text/csv", display="inline"),
        *(
            picture(
                confusion(
                    figures.confusion, [word(label) for label in result.messages.labels],
                    TITLES[method],
                ),
                f"confusion {method}",
            )
            for method, figures in summary.figures.items()
        ),
    ]  # fmt: skip
    lines = [*([f"It was {result.stopped}."] if result.stopped else []), *_lines(summary)]
    if result.messages.empty:
        lines.append(f"{result.messages.empty} rows without a text were skipped.")
    await cl.Message(content="\n\n".join(plain(line) for line in lines), elements=elements).send()


def _said(answer: object) -> str:
    label, p = getattr(answer, "label", ""), getattr(answer, "p", 0.0)
    return f"{word(label)} {percent(p)}" if label else "–"


def _lines(summary: Summary) -> list[str]:
    """The figures in sentences."""
    lines = []
    for method, counts in summary.counts.items():
        answers = ", ".join(f"{count:,} {word(label)}" for label, count in counts.items())
        problems = summary.problems[method]
        silent = f", {problems:,} without an answer" if problems else ""
        lines.append(f"{TITLES[method]}: {answers}{silent}.")
    if summary.agreement:
        lines.append(f"They agree on {share(summary.agreement.value)} of the messages.")
    for method, figures in summary.figures.items():
        found = figures.accuracy
        lines.append(
            f"{TITLES[method]}: accuracy {share(found.value)} ({share(found.low)} to "
            f"{share(found.high)}), balanced {share(figures.balanced_accuracy)}."
        )
    if summary.majority:
        lines.append(
            f"Always giving the commonest label would be right in {share(summary.majority.value)}."
        )
    if summary.right_alone:
        alone = ", ".join(f"{TITLES[m].lower()} {n}" for m, n in summary.right_alone.items())
        lines.append(f"Right where the other is wrong: {alone}.")
    return lines


def _results_name(name: str) -> str:
    """What the file of results is called: ASCII letters only, whatever the upload was called."""
    stem = "".join(
        c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in Path(name).stem
    )
    return f"{stem[:60] or 'messages'}_answers.csv"


async def ask_for_file() -> tuple[Path, str]:
    """Asks for a file, for five minutes.

    Raises:
        TuneshotError: none came.
    """
    answer = await cl.AskFileMessage(
        content="Send a .csv, .tsv or .txt file with messages, labelled or not.",
        accept=ACCEPT,
        max_size_mb=2,
        timeout=300,
    ).send()
    if not answer:
        raise TuneshotError("no file came; send /batch again when you have one")
    return Path(answer[0].path), answer[0].name


# Browsers do not agree on what a CSV is.
ACCEPT = {
    "text/csv": [".csv"],
    "text/plain": [".csv", ".tsv", ".txt"],
    "text/tab-separated-values": [".tsv"],
    "application/vnd.ms-excel": [".csv"],
}
