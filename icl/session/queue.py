"""Many people ask one model; whoever waits for the same thing is answered in one call.

A model computes in one thread. Meanwhile requests gather; when the thread is free, all that have
the key of the oldest go together. So a lone request never waits for company, and a crowd is
answered in batches. Nothing here knows what is asked.
"""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread
from time import perf_counter
from typing import Any, Generic, TypeVar

from clfcore.errors import TuneshotError
from clfcore.types import ignore

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")

BACKGROUND_SECONDS = 0.25  # a call for the background takes about this long: others come meanwhile
CLOSE_SECONDS = 5.0  # how long closing waits for the call under way


class Busy(TuneshotError):
    """Nothing is wrong with the request, but it cannot be taken now.

    Args:
        why: for the reader, without what to do.
        seconds: after which it is worth trying again.
    """

    def __init__(self, why: str, seconds: int) -> None:
        super().__init__(f"{why}; try again in about {seconds} seconds")
        self.seconds = seconds


class Histogram:
    """How many values were at most so large, for each of some bounds.

    Args:
        bounds: ascending.
    """

    def __init__(self, *bounds: float) -> None:
        self.bounds = (*bounds, math.inf)
        self.counts = [0] * len(self.bounds)  # not cumulative
        self.total = 0.0

    def add(self, value: float) -> None:
        """Counts ``value`` under the smallest bound that it does not exceed."""
        self.counts[next(i for i, bound in enumerate(self.bounds) if value <= bound)] += 1
        self.total += value


@dataclass(eq=False, slots=True)
class _Request(Generic[Key, Answer]):
    key: Key
    text: str
    background: bool
    came: float = field(default_factory=perf_counter)
    future: "Future[Answer]" = field(default_factory=Future)


class Batcher(Generic[Key, Answer]):
    """Asks one model from asynchronous code, many requests at a time.

    Args:
        work: key and texts -> one answer for each text, in order. Called in one thread only.
        largest: most texts of one call.
        waiting_limit: most requests that wait in a lane; one more is refused.
        name: of the thread, and in messages.
        is_failure: an answer that only says why there is none, for the figures.

    Attributes:
        answered: requests with an answer so far.
        failed: requests without: their call raised, or their answer is a failure.
        refused: requests that found the lane full.
        sizes: texts of each call.
        seconds: from the request to its answer, foreground only.
    """

    def __init__(
        self,
        work: Callable[[Key, Sequence[str]], Sequence[Answer]],
        *,
        largest: int = 32,
        waiting_limit: int = 200,
        name: str,
        is_failure: Callable[[Answer], bool] = lambda answer: False,
    ) -> None:
        self.name = name
        self.largest = largest
        self.waiting_limit = waiting_limit
        self.answered = self.failed = self.refused = 0
        self.sizes = Histogram(1, 2, 4, 8, 16, 32, 64)
        self.seconds = Histogram(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
        self._work = work
        self._is_failure = is_failure
        self._foreground: deque[_Request[Key, Answer]] = deque()
        self._background: deque[_Request[Key, Answer]] = deque()
        self._changed = Condition()  # guards all that both threads touch
        self._running = 0
        self._seconds_each = 0.1  # of a text, a running mean; a guess until there is a measurement
        self._closed = False
        self._thread = Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    # --- for those who ask ----------------------------------------------------------------------

    def submit(
        self,
        key: Key,
        text: str,
        *,
        background: bool = False,
        tell_ahead: Callable[[int], object] = ignore,
    ) -> "Future[Answer]":
        """The answer to ``text``, later. Cancelling takes a request back that has not started.

        Args:
            key: only requests with equal keys share a call.
            text: what is asked.
            background: give way to everybody who is not in the background.
            tell_ahead: called once, at once, with how many are before this request.

        Raises:
            Busy: too many wait already, or the batcher is closed.
        """
        request = _Request[Key, Answer](key, text, background)
        lane = self._background if background else self._foreground
        with self._changed:
            ahead = self._ahead(background)
            if self._closed:
                raise self._shutting_down()
            if len(lane) >= self.waiting_limit:
                self.refused += 1
                seconds = max(2, math.ceil(ahead * self._seconds_each))
                raise Busy(f"{len(lane)} messages are waiting already", seconds)
            lane.append(request)
            self._changed.notify()
        request.future.add_done_callback(lambda future: self._forget(request, lane))
        tell_ahead(ahead)
        return request.future

    def _forget(self, request: _Request[Key, Answer], lane: deque[_Request[Key, Answer]]) -> None:
        """Takes a cancelled request out of its lane."""
        if request.future.cancelled():
            with self._changed, contextlib.suppress(ValueError):  # it is being taken out
                lane.remove(request)

    async def ask(
        self,
        key: Key,
        text: str,
        *,
        background: bool = False,
        tell_ahead: Callable[[int], object] = ignore,
    ) -> Answer:
        """Awaits what ``submit`` promises; cancelling takes a request back that has not started.

        Raises:
            Busy: see ``submit``.
            Exception: what ``work`` raised for this request.
        """
        future = self.submit(key, text, background=background, tell_ahead=tell_ahead)
        return await asyncio.wrap_future(future)

    async def ask_all(
        self, key: Key, texts: Sequence[str], *, background: bool = True
    ) -> AsyncIterator[Answer | Exception]:
        """Answers to many texts of one caller, in order, piece by piece.

        At most ``largest`` of them wait at a time, so that such callers take turns.

        Yields:
            The answer, or what ``work`` raised for this text.

        Raises:
            Busy: see ``ask``.
        """

        async def outcome(text: str) -> Answer | Exception:
            try:
                return await self.ask(key, text, background=background)
            except Busy:
                raise
            except Exception as error:
                return error

        for start in range(0, len(texts), self.largest):
            piece = texts[start : start + self.largest]
            asked = [asyncio.create_task(outcome(text)) for text in piece]
            try:
                answers = await asyncio.gather(*asked)
            finally:
                for task in asked:  # if one was refused, the others leave the queue
                    task.cancel()
            for answer in answers:
                yield answer

    def ahead(self) -> int:
        """How many a new request would have before it: waiting, or being answered."""
        with self._changed:
            return self._ahead(background=False)

    @property
    def waiting(self) -> int:
        """How many requests wait, both lanes together."""
        return len(self._foreground) + len(self._background)

    def close(self) -> None:
        """Ends the thread after the call under way; whoever waits gets an error."""
        with self._changed:
            self._closed = True
            left = [*self._foreground, *self._background]
            self._foreground.clear()
            self._background.clear()
            self._changed.notify()
        for request in left:
            if request.future.set_running_or_notify_cancel():
                request.future.set_exception(self._shutting_down())
        self._thread.join(CLOSE_SECONDS)

    def _ahead(self, background: bool) -> int:
        return self._running + (self.waiting if background else len(self._foreground))

    def _shutting_down(self) -> Busy:
        return Busy(f"{self.name} is shutting down", 30)

    # --- the thread -----------------------------------------------------------------------------

    def _serve(self) -> None:
        while batch := self._next():
            self._answer(batch)

    def _next(self) -> list[_Request[Key, Answer]]:
        """The requests of the next call, waited for; none when closed."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._closed or self.waiting)
                if self._closed:
                    return []
                lane = self._foreground or self._background
                together = [r for r in lane if r.key == lane[0].key][: self._most(lane[0])]
                for request in together:
                    lane.remove(request)
                batch = [r for r in together if r.future.set_running_or_notify_cancel()]
                if batch:
                    self._running = len(batch)
                    return batch

    def _most(self, oldest: _Request[Key, Answer]) -> int:
        if not oldest.background:
            return self.largest
        return min(self.largest, max(1, int(BACKGROUND_SECONDS / self._seconds_each)))

    def _answer(self, batch: list[_Request[Key, Answer]]) -> None:
        start = perf_counter()
        try:
            answers = self._work(batch[0].key, [request.text for request in batch])
            if len(answers) != len(batch):
                raise RuntimeError(f"{self.name}: {len(answers)} answers to {len(batch)} texts")
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, TuneshotError):
                for request in batch:  # one bad message must not spoil the others'
                    self._answer([request])
                return
            self._count(batch, failed=len(batch))
            for request in batch:
                request.future.set_exception(error)
            return
        failed = sum(map(self._is_failure, answers))
        self._count(batch, failed, (perf_counter() - start) / len(batch))
        for request, answer in zip(batch, answers, strict=True):
            request.future.set_result(answer)

    def _count(
        self, batch: list[_Request[Key, Answer]], failed: int, seconds_each: float | None = None
    ) -> None:
        now = perf_counter()
        with self._changed:
            self._running -= len(batch)
            if seconds_each is not None and self.answered:  # the first call loads the model
                self._seconds_each += 0.2 * (seconds_each - self._seconds_each)
            self.failed += failed
            self.answered += len(batch) - failed
            self.sizes.add(len(batch))
            for request in batch:
                if not request.background:
                    self.seconds.add(now - request.came)


Queues = Mapping[str, Batcher[Any, Any]]  # method -> its queue
