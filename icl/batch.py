"""A file of messages, answered by every method: read it, ask in chunks, lay the answers out.

Nothing here knows the page: ``read_messages`` -> ``BatchRun`` -> ``BatchResult``.
"""

import asyncio
import codecs
import csv
import io
import re
from array import array
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten
from time import perf_counter
from typing import NamedTuple, Protocol

from clfcore.errors import TuneshotError
from clfcore.metrics import Metrics, Share, measure
from clfcore.tables import ALIASES, READERS, Row, read_texts, to_examples
from clfcore.types import Prediction
from icl.session import MAX_CHARACTERS, unexpected

MAX_BYTES = 2_000_000
MAX_ROWS = 10_000
FORMS = (".csv", ".tsv", ".txt", "")  # endings of files; "" as the SMS corpus has it

CHUNK_SECONDS = 0.25  # a visitor's message waits behind one chunk at most


# --- reading ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Messages:
    """What was in a file.

    Attributes:
        texts: the messages, in the file's order.
        numbers: the row each of them has in the file, as a person counts.
        given: their labels, if the file has any.
        labels: the labels of the task, in its order.
        empty: how many rows without a text were skipped.
    """

    texts: tuple[str, ...]
    numbers: tuple[int, ...]
    given: tuple[str, ...] | None
    labels: tuple[str, ...]
    empty: int


def read_messages(source: Path | bytes, name: str, labels: Sequence[str]) -> Messages:
    """Messages out of an uploaded file, and their labels if there is a column of them.

    A ``.csv`` (commas or semicolons) or ``.tsv`` names its columns in the first line, as for
    ``read_labelled``. So may a ``.txt`` with tabs; else its lines are label, tab and text, or,
    without a tab in the first line, one message each. UTF-8, or UTF-16 as spreadsheets save it.
    A file that ``BatchResult.to_csv`` wrote gives the messages it was made of.

    Args:
        source: the file, or its content.
        name: what the user calls it; its ending tells the form.
        labels: of the task.

    Raises:
        TuneshotError: another form, too large, unreadable; no message, or one that is too long;
            a label that the task does not have.
    """
    name = " ".join(Path(name).name.split())[-60:]  # one short line, with the ending
    if (suffix := Path(name).suffix.lower()) not in FORMS:
        raise TuneshotError(f"{name} is no table of text; send a .csv, .tsv or .txt file")
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size > MAX_BYTES:
        raise TuneshotError(
            f"{name} has {size / 1e6:.1f} MB; send at most {MAX_BYTES / 1e6:.0f} MB: split it"
        )
    raw = source if isinstance(source, bytes) else source.read_bytes()
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"messages{suffix}"  # never the user's own name
        try:
            rows = list(_rows(_utf8(raw, name), path, name))
            filled = [(number, row) for number, row in rows if str(row[0]).strip()]
            given = None
            if filled and len(filled[0][1]) == 2:
                given = tuple(example.label for example in to_examples(filled, name))
        except TuneshotError as error:
            raise TuneshotError(str(error).replace(str(path), name)) from error
    messages = Messages(
        texts=tuple(str(row[0]) for _, row in filled),
        numbers=tuple(number for number, _ in filled),
        given=given,
        labels=tuple(labels),
        empty=len(rows) - len(filled),
    )
    _check(messages, name)
    return messages


def _check(messages: Messages, name: str) -> None:
    if not messages.texts:
        raise TuneshotError(f"{name} holds no messages; give at least one")
    if (count := len(messages.texts)) > MAX_ROWS:
        raise TuneshotError(f"{name} has {count:,} rows; send at most {MAX_ROWS:,}: split it")
    for number, text in zip(messages.numbers, messages.texts, strict=True):
        if len(text) > MAX_CHARACTERS:
            raise TuneshotError(
                f"{name}, row {number} has {len(text):,} characters; a message has at most "
                f"{MAX_CHARACTERS:,}"
            )
    for number, label in zip(messages.numbers, messages.given or (), strict=False):
        if label not in messages.labels:
            raise TuneshotError(
                f"{name}, row {number}: unknown label {label[:60]!r}; "
                f"use {shorten(', '.join(messages.labels), 200, placeholder=' …')}, or remove "
                "the column"
            )


def _utf8(raw: bytes, name: str) -> bytes:
    """UTF-16 with its mark becomes UTF-8; all else is left to the readers."""
    if not raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw
    try:
        return raw.decode("utf-16").encode()
    except UnicodeError as error:
        raise TuneshotError(f"{name} is no well-formed UTF-16; save it as UTF-8") from error


def _rows(raw: bytes, path: Path, name: str) -> Iterator[Row]:
    """Row number and text, or text and label, by the readers of ``clfcore.tables``.

    Args:
        raw: the content.
        path: where it may be put for a reader; the ending tells the form.
        name: for the error message.
    """
    first = raw.partition(b"\n")[0].decode("utf-8-sig", "replace").rstrip("\r")
    if path.suffix == ".csv":
        separator = ";" if ";" in first and "," not in first else ","
        raw = _with_commas(raw, name) if separator == ";" else raw
    else:
        separator = "\t"
        raw = _without_blank_lines(raw, first.count("\t"))
    path.write_bytes(raw)
    header = [cell.strip().strip('"') for cell in first.split(separator)]
    if path.suffix not in (".csv", ".tsv") and len(header) == 1:
        for number, text in enumerate(read_texts(path), start=1):
            yield number, [text]
        return
    lowered = [cell.lower() for cell in header]
    named = [role for role in ALIASES if {role, *ALIASES[role]} & set(lowered)]
    if "text" not in named:
        # A .tsv of three columns and more has a header; so do all that are not label, tab, text.
        if path.suffix == ".csv" or (path.suffix == ".tsv" and len(header) != 2):
            raise TuneshotError(
                f"{name} has no column 'text'; its first row is: "
                f"{shorten(', '.join(header), 200, placeholder=' …')}; name the column with the "
                "messages text, and the one with the labels, if any, label"
            )
        named = list(ALIASES)
    read = READERS.get(path.suffix, READERS[".tsv"])
    restored = _unguarded if lowered[:2] == _OURS else str
    for number, values in read(path, dict.fromkeys(named)):
        yield number, [restored(str(value)) for value in values]


def _with_commas(raw: bytes, name: str) -> bytes:
    """Where the comma is in numbers, spreadsheets separate columns by semicolons."""
    text = raw.decode("utf-8-sig", "surrogateescape")  # the reader says what is not UTF-8
    csv.field_size_limit(2**31 - 1)
    commas = io.StringIO(newline="")
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=";", strict=True)
        csv.writer(commas).writerows(rows)
    except csv.Error as error:
        raise TuneshotError(f"{name} is not a well-formed CSV: {error}; export it again") from error
    return commas.getvalue().encode("utf-8", "surrogateescape")


def _without_blank_lines(raw: bytes, tabs: int) -> bytes:
    """A blank line gets the table's tabs: a row of empty cells, which is skipped and counted."""
    lines = raw.removesuffix(b"\n").split(b"\n")
    return b"\n".join(line if line.strip() else b"\t" * tabs for line in lines)


# --- asking -------------------------------------------------------------------------------------


class Side(Protocol):
    """One method's answer to one message, or why there is none; ``icl.session.Side`` is one."""

    @property
    def prediction(self) -> Prediction | None: ...

    @property
    def problem(self) -> str: ...


# Method and messages in, their answers out, in order.
Ask = Callable[[str, Sequence[str]], Awaitable[Sequence[Side]]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is kept of an answer: without prompt and examples, 10,000 of them stay small.

    Attributes:
        label: empty if there is none.
        p: its probability.
        probabilities: of all labels, in the task's order.
        problem: one line, if there is no label.
    """

    label: str = ""
    p: float = float("nan")
    probabilities: Sequence[float] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        done: method -> rows that it has been asked.
        rows: of the file.
        problems: method -> rows among ``done`` without an answer.
        last_problem: why the last of them has none.
        seconds_left: until the slowest method is through, at its present pace; ``None`` while
            nobody can know.
    """

    done: Mapping[str, int]
    rows: int
    problems: Mapping[str, int]
    last_problem: str
    seconds_left: float | None


class BatchRun:
    """Asks every method about every message, all methods at the same time.

    A method gets a chunk when it has answered the one before, and as many messages as it answers
    in ``CHUNK_SECONDS``; so other people's messages find their turn, and so does Stop.

    Args:
        messages: what to ask.
        ask: the models. What it raises is the problem of that chunk's rows; the others go on.
        methods: their names, in the order of the result.
        chunk: the most messages in one call of ``ask``.
    """

    def __init__(
        self, messages: Messages, ask: Ask, *, methods: Sequence[str], chunk: int = 32
    ) -> None:
        self.messages = messages
        self._ask = ask
        self._chunk = chunk
        self._answers: dict[str, list[Answer]] = {method: [] for method in methods}
        # When how many rows were done, lately. The first chunk, in which a model may be loaded,
        # ends where the measuring starts.
        self._marks: dict[str, deque[tuple[float, int]]] = {m: deque(maxlen=20) for m in methods}
        self._problems: Counter[str] = Counter()
        self._last_problem = ""
        self._news = asyncio.Event()
        self._stopped = False

    async def run(self, heard: Callable[[Progress], Awaitable[None]]) -> None:
        """Returns when all is answered, or soon after ``stop``.

        What was answered is in ``result`` then, and also if this was cancelled or ``heard`` failed.

        Args:
            heard: is told of progress; while it is busy, no more news is sent but the asking
                goes on.
        """
        asking = [asyncio.create_task(self._ask_all(method)) for method in self._answers]
        for task in asking:
            task.add_done_callback(lambda _: self._news.set())
        try:
            while not (self._stopped or all(task.done() for task in asking)):
                await self._news.wait()
                self._news.clear()
                await heard(self.progress())
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    def stop(self) -> None:
        """Ends ``run`` at once; the chunks that are being answered do not count."""
        self._stopped = True
        self._news.set()

    def progress(self) -> Progress:
        """How far it is now."""
        left = [self._seconds_left(method) for method in self._answers]
        known = [seconds for seconds in left if seconds is not None]
        return Progress(
            done={method: len(answers) for method, answers in self._answers.items()},
            rows=len(self.messages.texts),
            problems={method: self._problems[method] for method in self._answers},
            last_problem=self._last_problem,
            seconds_left=max(known) if len(known) == len(left) else None,
        )

    def result(self) -> "BatchResult":
        """What has been answered so far."""
        return BatchResult(self.messages, {m: tuple(a) for m, a in self._answers.items()})

    async def _ask_all(self, method: str) -> None:
        texts, answers = self.messages.texts, self._answers[method]
        size = 1
        while len(answers) < len(texts):
            start = perf_counter()
            new = await self._ask_chunk(method, texts[len(answers) : len(answers) + size])
            pace = len(new) / max(perf_counter() - start, 1e-6)  # rows a second
            size = max(1, min(self._chunk, int(CHUNK_SECONDS * pace)))
            answers += new
            self._problems[method] += sum(1 for answer in new if answer.problem)
            self._marks[method].append((perf_counter(), len(answers)))
            self._news.set()
            await asyncio.sleep(0)  # an ``ask`` that never waits must not keep ``heard`` waiting

    async def _ask_chunk(self, method: str, texts: Sequence[str]) -> list[Answer]:
        try:
            sides = await self._ask(method, texts)
            return [self._kept(side) for _, side in zip(texts, sides, strict=True)]
        except TuneshotError as error:
            self._last_problem = str(error)
        except Exception:
            self._last_problem = unexpected()
        return [Answer(problem=self._last_problem)] * len(texts)

    def _kept(self, side: Side) -> Answer:
        if (prediction := side.prediction) is None:
            self._last_problem = side.problem
            return Answer(problem=side.problem)
        p = prediction.probabilities
        in_order = array("d", [p[label] for label in self.messages.labels])
        return Answer(prediction.label, p[prediction.label], in_order)

    def _seconds_left(self, method: str) -> float | None:
        marks = self._marks[method]
        if (left := len(self.messages.texts) - len(self._answers[method])) == 0:
            return 0.0
        if len(marks) < 2:
            return None
        (began, first), (now, last) = marks[0], marks[-1]
        return left * (now - began) / (last - first)


# --- the result ---------------------------------------------------------------------------------


class TableRow(NamedTuple):
    """A message, what each method says, and why it stands where it stands.

    Attributes:
        number: of the row in the file.
        given: the file's label; empty if there is none.
        answers: method -> answer; without the methods that were not asked.
        reason: in words.
    """

    number: int
    text: str
    given: str
    answers: Mapping[str, Answer]
    reason: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of a result. Each method's are over the rows that it answered.

    Attributes:
        counts: method -> label -> rows, in the task's order.
        problems: method -> rows without an answer.
        agreement: share of the rows answered by every method on which all say the same; ``None``
            for one method.
        figures: method -> metrics against the given labels; empty without labels.
        majority: what always giving the commonest label would score; ``None`` without labels.
        right_alone: method -> rows, of those answered by every method, on which it alone is right
            (for two methods, McNemar's discordant pairs); empty without labels.
    """

    counts: Mapping[str, Mapping[str, int]]
    problems: Mapping[str, int]
    agreement: Share | None
    figures: Mapping[str, Metrics]
    majority: Share | None
    right_alone: Mapping[str, int]


@dataclass(frozen=True)
class BatchResult:
    """The answers to a file.

    Attributes:
        messages: what was asked.
        answers: method -> answers to the first rows: all, unless it was stopped.
    """

    messages: Messages
    answers: Mapping[str, Sequence[Answer]]

    @property
    def complete(self) -> bool:
        """Whether every method was asked about every row."""
        return all(len(found) == len(self.messages.texts) for found in self.answers.values())

    @property
    def stopped(self) -> str:
        """Where it was stopped, in words; empty if it was not."""
        if self.complete:
            return ""
        done = {method: f"{len(found):,}" for method, found in self.answers.items()}
        each = " and ".join(f"{count} ({_spoken(method)})" for method, count in done.items())
        after = each if len(set(done.values())) > 1 else next(iter(done.values()))
        return f"stopped after {after} of {len(self.messages.texts):,}"

    def table(self, limit: int) -> list[TableRow]:
        """The rows worth reading first: where the methods disagree, then where one is wrong, then
        those without an answer, then the others; in the file's order within each.
        """
        return [self._row(row, reason) for row, (_, reason) in self._order[:limit]]

    def summary(self) -> Summary:
        """Counts, agreement and, where labels are given, how well each method does."""
        labels, given = self.messages.labels, self.messages.given
        rows = [self._answered(row) for row in range(len(self.messages.texts))]
        by_all = [row for row, found in enumerate(rows) if len(found) == len(self.answers)]
        same = sum(len(set(rows[row].values())) == 1 for row in by_all)
        counts = {m: Counter(a.label for a in found) for m, found in self.answers.items()}
        right: Counter[str] = Counter()
        if given:
            for row in by_all:
                hits = [method for method, label in rows[row].items() if label == given[row]]
                right.update(hits if len(hits) == 1 else ())
        return Summary(
            counts={m: {label: counts[m][label] for label in labels} for m in self.answers},
            problems={method: counts[method][""] for method in self.answers},
            agreement=Share.count(same, len(by_all)) if len(self.answers) > 1 else None,
            figures={m: f for m in self.answers if (f := self._figures(m)) is not None},
            majority=Share.count(max(Counter(given).values()), len(given)) if given else None,
            right_alone={method: right[method] for method in self.answers} if given else {},
        )

    def to_csv(self) -> bytes:
        """All rows in the file's order, for spreadsheets and for ``read_messages``.

        UTF-8 with a mark. A cell that a spreadsheet could take for a formula begins with an
        apostrophe, which ``read_messages`` takes away. The text comes first and in quotes, so that
        a spreadsheet that separates by semicolons or tabs does not cut it into cells either.
        """
        given = self.messages.given
        kinds = ("", "_p", "_problem")
        file = io.StringIO(newline="")
        write = csv.writer(file, quoting=csv.QUOTE_ALL).writerow
        write(
            [*_OURS, *(["label"] if given else []), *(m + k for m in self.answers for k in kinds)]
        )
        for row, text in enumerate(self.messages.texts):
            cells = [text, str(self.messages.numbers[row]), *([given[row]] if given else [])]
            for found in self.answers.values():
                answer = found[row] if row < len(found) else Answer(problem="not asked")
                p = f"{answer.p:.4f}" if answer.label else ""
                cells += [answer.label, p, answer.problem]
            write(map(_guarded, cells))
        return file.getvalue().encode("utf-8-sig")

    def _answered(self, row: int) -> dict[str, str]:
        """Method -> label, of the methods that have one."""
        return {
            method: found[row].label
            for method, found in self.answers.items()
            if row < len(found) and found[row].label
        }

    def _figures(self, method: str) -> Metrics | None:
        labels, given = self.messages.labels, self.messages.given
        answered = [(row, a) for row, a in enumerate(self.answers[method]) if a.label]
        if given is None or not answered:
            return None
        predictions = [
            Prediction(a.label, dict(zip(labels, a.probabilities, strict=True)), ms=0.0)
            for _, a in answered
        ]
        return measure([given[row] for row, _ in answered], predictions, labels)

    @cached_property
    def _order(self) -> list[tuple[int, tuple[int, str]]]:
        """Row, rank and reason, the best to read first."""
        reasons = [(row, self._reason(row)) for row in range(len(self.messages.texts))]
        return sorted(reasons, key=lambda each: each[1][0])

    def _reason(self, row: int) -> tuple[int, str]:
        said = self._answered(row)
        wrong: list[str] = []
        if given := self.messages.given:
            wrong = [_spoken(method) for method, label in said.items() if label != given[row]]
        blame = f"wrong: {' and '.join(wrong)}" if wrong else ""
        if len(set(said.values())) > 1:
            return 0, "; ".join(filter(None, ["the methods disagree", blame]))
        if blame:
            return 1, blame
        for method, found in self.answers.items():
            if row < len(found) and found[row].problem:
                return 2, f"{_spoken(method)}: {found[row].problem}"
        if len(said) < len(self.answers):
            return 3, "not asked"
        return 3, "right" if given else "the methods agree" if len(said) > 1 else ""

    def _row(self, row: int, reason: str) -> TableRow:
        return TableRow(
            number=self.messages.numbers[row],
            text=self.messages.texts[row],
            given=self.messages.given[row] if self.messages.given else "",
            answers={m: found[row] for m, found in self.answers.items() if row < len(found)},
            reason=reason,
        )


def _spoken(method: str) -> str:
    return method.replace("_", "-")


# --- the results file ---------------------------------------------------------------------------

_OURS = ["text", "row"]  # how its header begins

# Full-width signs too, and after white space: some spreadsheets are generous.
_FORMULA = re.compile(r"'*(\s*[=+\-@＝＋－＠]|[\t\r\n])")


def _guarded(cell: str) -> str:
    """``cell`` with an apostrophe before what could be a formula, and before its like with one."""
    return "'" + cell if _FORMULA.match(cell) else cell


def _unguarded(cell: str) -> str:
    """What ``_guarded`` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
