"""``/batch``: a file is read and classified; the chat shows progress, figures and the results."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import chainlit as cl

from clfcore.errors import TuneshotError
from clfcore.types import NO_ANSWER
from icl.batch.read import read_messages
from icl.batch.result import BatchResult, BatchSummary, RowAnswer
from icl.batch.run import BatchProgress, BatchRun
from icl.chat.cards import (
    escape_markdown,
    method_name,
    method_title,
    percent,
    share,
    time_left,
    translated_label,
)
from icl.chat.conversation import paragraphs, picture, table_element
from icl.chat.language import numeral, say
from icl.figures.answers import confusion
from icl.prompt.tasks import TASKS
from icl.session.settings import Settings
from icl.session.workers import Workers

MAX_TABLE_ROWS = 50
REFRESH_SECONDS = 0.5  # between two lines of progress


async def classify_file(
    workers: Workers, path: Path, name: str, methods: Sequence[str], settings: Settings
) -> None:
    """Sends answers to all messages of a file: figures, the rows worth reading, a file of results.

    Stopping it shows what was answered by then.

    Args:
        workers: what answers; people who type come first.
        path: where the upload is.
        name: what the visitor calls it.
        methods: those to ask.
        settings: how.

    Raises:
        TuneshotError: the file cannot be read.
    """
    labels = TASKS[settings.task].labels
    messages = await asyncio.to_thread(read_messages, path, name, labels)
    run = BatchRun(
        messages,
        lambda method, texts: workers.classify(method, settings, texts, background=True),
        methods=methods,
    )
    notice = await cl.Message(content=escape_markdown(_progress(run.progress()))).send()
    last_refresh = time.monotonic()

    async def on_progress(progress: BatchProgress) -> None:
        nonlocal last_refresh
        if time.monotonic() - last_refresh > REFRESH_SECONDS:
            last_refresh = time.monotonic()
            notice.content = escape_markdown(_progress(progress))
            await notice.update()

    try:
        await run.run(on_progress)
    finally:  # stopped or not
        await notice.remove()
        await _show(run.result(), name)


def _progress(progress: BatchProgress) -> str:
    done = ", ".join(
        f"{method_name(method)} {numeral(f'{count:,}')}" for method, count in progress.done.items()
    )
    sentences = [
        say("Of {rows} messages: {done}.", rows=numeral(f"{progress.rows:,}"), done=done),
        *time_left(progress.seconds_left),
        say("The stop button shows what is there."),
    ]
    return " ".join(sentences)


async def _show(result: BatchResult, name: str) -> None:
    summary = await asyncio.to_thread(result.summary)
    content = await asyncio.to_thread(result.to_csv)
    rows = result.table(MAX_TABLE_ROWS)
    has_labels = result.messages.true_labels is not None
    count = numeral(f"{len(result.messages.texts):,}")
    columns = [
        *(say("Row"), say("Message")),
        *([say("Label")] if has_labels else []),
        *map(method_title, result.answers),
        say("Why here"),
    ]
    shown = [
        [
            str(row.number),
            row.text[:200],
            *([translated_label(row.true_label)] if has_labels else []),
            *(_answer(row.answers.get(method)) for method in result.answers),
            row.reason,
        ]
        for row in rows
    ]
    caption = say("Disagreements first; {shown} of {count} rows", shown=len(rows), count=count)
    elements = [
        table_element(caption, columns, shown),
        cl.File(name=_results_name(name), content=content, mime="text/csv", display="inline"),
        *(
            picture(
                confusion(
                    figures.confusion, list(map(translated_label, result.messages.labels)),
                    method_title(method), say(NO_ANSWER),
                ),
                f"confusion {method}",
            )
            for method, figures in summary.figures.items()
        ),
    ]  # fmt: skip
    stopped = [say("It was {stopped}.", stopped=result.stopped)] if result.stopped else []
    lines = [*stopped, *_lines(summary)]
    lines += [say("Note: {note}.", note=note) for note in result.messages.notes]
    if result.messages.empty:
        lines.append(say("{count} rows without a text were skipped.", count=result.messages.empty))
    await cl.Message(content=paragraphs(*lines), elements=elements).send()


def _answer(answer: RowAnswer | None) -> str:
    if answer is None or not answer.probabilities:
        return "–"  # it could not be asked
    if not answer.label:
        return say(NO_ANSWER)
    return f"{translated_label(answer.label)} {percent(answer.p)}"


def _lines(summary: BatchSummary) -> list[str]:
    """The figures in sentences."""
    lines = []
    for method, counts in summary.counts.items():
        answers = [f"{numeral(f'{n:,}')} {translated_label(label)}" for label, n in counts.items()]
        if problems := summary.problems[method]:
            answers.append(say("{count} without an answer", count=numeral(f"{problems:,}")))
        lines.append(f"{method_title(method)}: {', '.join(answers)}.")
    if summary.agreement and summary.agreement.of:
        lines.append(
            say("They agree on {share} of the messages.", share=share(summary.agreement.value))
        )
    for method, figures in summary.figures.items():
        lines.append(
            say(
                "{method}: accuracy {accuracy} ({low} to {high}), balanced {balanced}.",
                method=method_title(method),
                accuracy=share(figures.accuracy.value),
                low=share(figures.accuracy.low),
                high=share(figures.accuracy.high),
                balanced=share(figures.figures["balanced_accuracy"]),
            )
        )
        if figures.no_answer:
            lines.append(
                say(
                    "{method}: {count} of {asked} answers named no label and count as wrong.",
                    method=method_title(method),
                    count=numeral(f"{figures.no_answer:,}"),
                    asked=numeral(f"{figures.messages:,}"),
                )
            )
    if summary.majority:
        lines.append(
            say(
                "Always giving the commonest label would be right in {share}.",
                share=share(summary.majority.value),
            )
        )
    if summary.right_alone:
        alone = ", ".join(f"{method_name(m)} {n}" for m, n in summary.right_alone.items())
        lines.append(say("Right where the other is wrong: {alone}.", alone=alone))
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
        content=say(
            "Send a .csv, .tsv, .txt, .xlsx or .jsonl file with messages, labelled or not."
        ),
        accept=ACCEPT,
        max_size_mb=2,
        timeout=300,
    ).send()
    if not answer:
        raise TuneshotError(say("no file came; send /batch again when you have one"))
    return Path(answer[0].path), answer[0].name


# Browsers do not agree on what a CSV is. An .xls is told how to become one.
ACCEPT = {
    "text/csv": [".csv"],
    "text/plain": [".csv", ".tsv", ".txt"],
    "text/tab-separated-values": [".tsv"],
    "application/vnd.ms-excel": [".csv", ".xls"],
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": [".xlsx"],
    "application/gzip": [".gz"],
    "application/x-gzip": [".gz"],
    "application/octet-stream": [".tsv", ".jsonl", ".gz"],
}
