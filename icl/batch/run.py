"""Asks every method about a file of messages, in chunks.

Nothing here knows the page: ``read_messages`` -> ``BatchRun`` -> ``BatchResult``.
"""

import asyncio
from array import array
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

from icl.batch.read import Messages
from icl.batch.result import BatchResult, RowAnswer
from icl.session.session import MethodResult, error_line

CHUNK_SECONDS = 0.25  # a visitor's message waits behind one chunk at most

# Method and messages in, their results out, in order.
Ask = Callable[[str, Sequence[str]], Awaitable[Sequence[MethodResult]]]


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """How far a run is.

    Attributes:
        done: method -> rows that it has been asked.
        rows: of the file.
        seconds_left: until the slowest method has finished, at its present pace; ``None`` while
            that is unknown.
    """

    done: Mapping[str, int]
    rows: int
    seconds_left: float | None


class BatchRun:
    """Asks every method about every message, all methods at the same time.

    A method gets a chunk when it has answered the one before, and as many messages as it answers
    in ``CHUNK_SECONDS``; so other people's messages get their turn, and so does the stop button.

    Args:
        messages: what to ask.
        ask: the models. What it raises is the problem of that chunk's rows only.
        methods: their names, in the order of the result.
        chunk: the most messages in one call of ``ask``.
    """

    def __init__(
        self, messages: Messages, ask: Ask, *, methods: Sequence[str], chunk: int = 32
    ) -> None:
        self.messages = messages
        self._ask = ask
        self._chunk = chunk
        self._answers: dict[str, list[RowAnswer]] = {method: [] for method in methods}
        # When how many rows were done, lately. The first chunk, in which a model may be loaded,
        # ends where the measuring starts.
        self._marks: dict[str, deque[tuple[float, int]]] = {m: deque(maxlen=20) for m in methods}
        self._news = asyncio.Event()

    async def run(self, on_progress: Callable[[BatchProgress], Awaitable[None]]) -> None:
        """Returns when all is answered.

        ``result`` has what was answered, even if this was cancelled or ``on_progress`` failed.

        Args:
            on_progress: called with the progress; not again while it is busy, but the methods keep
                working.
        """
        asking = [asyncio.create_task(self._ask_all(method)) for method in self._answers]
        for task in asking:
            task.add_done_callback(lambda _: self._news.set())
        try:
            while not all(task.done() for task in asking):
                await self._news.wait()
                self._news.clear()
                await on_progress(self.progress())
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    def progress(self) -> BatchProgress:
        """How far it is now."""
        left = [self._seconds_left(method) for method in self._answers]
        known = [seconds for seconds in left if seconds is not None]
        return BatchProgress(
            done={method: len(answers) for method, answers in self._answers.items()},
            rows=len(self.messages.texts),
            seconds_left=max(known) if len(known) == len(left) else None,
        )

    def result(self) -> BatchResult:
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
            self._marks[method].append((perf_counter(), len(answers)))
            self._news.set()
            await asyncio.sleep(0)  # also an ``ask`` that never waits lets ``on_progress`` run

    async def _ask_chunk(self, method: str, texts: Sequence[str]) -> list[RowAnswer]:
        try:
            results = await self._ask(method, texts)
            return [self._row_answer(result) for _, result in zip(texts, results, strict=True)]
        except Exception as error:
            return [RowAnswer(problem=error_line(error))] * len(texts)

    def _row_answer(self, result: MethodResult) -> RowAnswer:
        if (prediction := result.prediction) is None:
            return RowAnswer(problem=result.problem)
        p = prediction.probabilities
        in_order = array("d", [p[label] for label in self.messages.labels])
        if prediction.label is None:
            return RowAnswer(probabilities=in_order, problem=result.why_none)
        return RowAnswer(prediction.label, p[prediction.label], in_order)

    def _seconds_left(self, method: str) -> float | None:
        marks = self._marks[method]
        if (left := len(self.messages.texts) - len(self._answers[method])) == 0:
            return 0.0
        if len(marks) < 2:
            return None
        (began, first), (now, last) = marks[0], marks[-1]
        return left * (now - began) / (last - first)
