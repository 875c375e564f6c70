"""A file of messages, answered by every method: read it, ask in chunks, lay the answers out.

Nothing here knows the page: ``read_messages`` -> ``BatchRun`` -> ``BatchResult``.
"""

import asyncio
from array import array
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from clfcore.errors import TuneshotError
from clfcore.types import Prediction
from icl.batch.read import Messages
from icl.batch.result import Answer, BatchResult
from icl.session.session import unexpected

CHUNK_SECONDS = 0.25  # a visitor's message waits behind one chunk at most


# --- asking -------------------------------------------------------------------------------------


class Side(Protocol):
    """One method's answer to one message, or why there is none, as in ``icl.session``."""

    @property
    def prediction(self) -> Prediction | None: ...

    @property
    def problem(self) -> str: ...


# Method and messages in, their answers out, in order.
Ask = Callable[[str, Sequence[str]], Awaitable[Sequence[Side]]]


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

    async def run(self, on_progress: Callable[[Progress], Awaitable[None]]) -> None:
        """Returns when all is answered, or soon after ``stop``.

        ``result`` has what was answered, even if this was cancelled or ``on_progress`` failed.

        Args:
            on_progress: called with the progress; not again while it is busy, but the asking goes
                on.
        """
        asking = [asyncio.create_task(self._ask_all(method)) for method in self._answers]
        for task in asking:
            task.add_done_callback(lambda _: self._news.set())
        try:
            while not (self._stopped or all(task.done() for task in asking)):
                await self._news.wait()
                self._news.clear()
                await on_progress(self.progress())
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
            await asyncio.sleep(
                0
            )  # an ``ask`` that never waits must not keep ``on_progress`` waiting

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
