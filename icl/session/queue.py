"""Many people ask one model; those who wait for the same thing are answered in one call.

A model computes in one thread. Meanwhile requests gather; when the thread is free, all that have
the key of the oldest are taken together. So a single request never waits for others, and a crowd
is answered in batches. Nothing here knows what is asked.
"""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread
from time import perf_counter
from typing import Generic, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from clfcore.errors import TuneshotError

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")

BACKGROUND_SECONDS = 0.25  # a call for the background takes about this long: others come meanwhile
CLOSE_SECONDS = 5.0  # how long closing waits for the call that is running

disable_created_metrics()  # else each figure has a second one: when it was first counted


class Busy(TuneshotError):
    """Nothing is wrong with the request, but it cannot be taken now.

    Args:
        why: for the reader, without what to do.
        seconds: after which it is worth trying again.
    """

    def __init__(self, why: str, seconds: int) -> None:
        super().__init__(f"{why}; try again in about {seconds} seconds")
        self.seconds = seconds


class QueueMetrics:
    """What Prometheus reads of some queues; each figure has the label ``method``, a queue's name.

    Attributes:
        registry: the figures together.
        requests: texts by outcome: ``answered``, ``failed`` or ``refused``.
        waiting: texts in the queue now.
        seconds: from the request to its answer, foreground only.
        batch_size: texts of each call.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "tuneshot_requests",
            "Texts asked, of page and API.",
            ("method", "outcome"),
            registry=registry,
        )
        self.waiting = Gauge(
            "tuneshot_waiting", "Texts in the queue.", ("method",), registry=registry
        )
        self.seconds = Histogram(
            "tuneshot_seconds",
            "From a text to its answer; no files.",
            ("method",),
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
            registry=registry,
        )
        self.batch_size = Histogram(
            "tuneshot_batch_size",
            "Texts of one call of the model.",
            ("method",),
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )


@dataclass(eq=False, slots=True)
class _Request(Generic[Key, Result]):
    key: Key
    text: str
    background: bool
    came: float = field(default_factory=perf_counter)
    future: "Future[Result]" = field(default_factory=Future)


class BatchQueue(Generic[Key, Result]):
    """Asks one model from asynchronous code, many requests at a time.

    Args:
        work: key and texts -> one result for each text, in order. Called in one thread only.
        max_batch: most texts of one call.
        max_waiting: most requests that wait in a lane; one more is refused.
        name: of the thread, in messages and in the figures.
        is_failure: a result that only says why there is no answer, for the figures.
        metrics: where requests are counted; a request has failed if its call raised or its result
            is a failure.
    """

    def __init__(
        self,
        work: Callable[[Key, Sequence[str]], Sequence[Result]],
        *,
        max_batch: int = 32,
        max_waiting: int = 200,
        name: str,
        is_failure: Callable[[Result], bool] = lambda result: False,
        metrics: QueueMetrics | None = None,
    ) -> None:
        self.name = name
        self.max_batch = max_batch
        self.max_waiting = max_waiting
        metrics = metrics or QueueMetrics()
        # All outcomes are made now, so that each is shown before it first happens.
        self._answered, self._failed, self._refused = (
            metrics.requests.labels(name, outcome) for outcome in ("answered", "failed", "refused")
        )
        self._seconds = metrics.seconds.labels(name)
        self._batch_size = metrics.batch_size.labels(name)
        metrics.waiting.labels(name).set_function(lambda: self.waiting)
        self._work = work
        self._is_failure = is_failure
        self._foreground: deque[_Request[Key, Result]] = deque()
        self._background: deque[_Request[Key, Result]] = deque()
        self._changed = Condition()  # guards all that both threads touch
        self._running = 0
        self._seconds_each = 0.1  # of a text, a running mean; a guess until there is a measurement
        self._loaded = False  # the first call loads the model, so its time says nothing
        self._closed = False
        self._thread = Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    # --- in the threads of those who ask --------------------------------------------------------

    async def ask(self, key: Key, text: str, *, background: bool = False) -> Result:
        """The result for ``text``. Cancelling takes a request back that has not started.

        Args:
            key: only requests with equal keys share a call.
            text: what is asked.
            background: give way to everybody who is not in the background.

        Raises:
            Busy: too many wait already, or the queue is closed.
            Exception: what ``work`` raised for this request.
        """
        request = _Request[Key, Result](key, text, background)
        lane = self._background if background else self._foreground
        with self._changed:
            if self._closed:
                raise self._shutting_down()
            if len(lane) >= self.max_waiting:
                self._refused.inc()
                seconds = max(2, math.ceil(self.ahead(background) * self._seconds_each))
                raise Busy(f"{len(lane)} messages are waiting already", seconds)
            lane.append(request)
            self._changed.notify()
        try:
            return await asyncio.wrap_future(request.future)
        finally:
            if request.future.cancelled():
                with self._changed, contextlib.suppress(ValueError):  # it is being taken out
                    lane.remove(request)

    async def ask_all(
        self, key: Key, texts: Sequence[str], *, background: bool = True
    ) -> list[Result]:
        """Results for many texts of one caller, in order.

        At most ``max_batch`` of them wait at a time, so that such callers take turns.

        Raises:
            Busy: see ``ask``.
            Exception: what ``work`` raised for one of them.
        """
        results: list[Result] = []
        for start in range(0, len(texts), self.max_batch):
            tasks = [
                asyncio.create_task(self.ask(key, text, background=background))
                for text in texts[start : start + self.max_batch]
            ]
            try:
                results += await asyncio.gather(*tasks)
            finally:
                for task in tasks:  # if one failed, the others leave the queue
                    task.cancel()
        return results

    def ahead(self, background: bool = False) -> int:
        """How many a new request would have before it: waiting, or being answered."""
        with self._changed:  # may be held already
            return self._running + (self.waiting if background else len(self._foreground))

    @property
    def waiting(self) -> int:
        """How many requests wait, both lanes together."""
        return len(self._foreground) + len(self._background)

    def close(self) -> None:
        """Ends the thread after the call that is running; requests that wait get an error."""
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

    def _shutting_down(self) -> Busy:
        return Busy(f"{self.name} is shutting down", 30)

    # --- the thread -----------------------------------------------------------------------------

    def _serve(self) -> None:
        while batch := self._next():
            self._answer(batch)

    def _next(self) -> list[_Request[Key, Result]]:
        """The requests of the next call, waited for; none when closed."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._closed or self.waiting)
                if self._closed:
                    return []
                lane = self._foreground or self._background
                background = lane is self._background
                limit = BACKGROUND_SECONDS / self._seconds_each if background else self.max_batch
                same_key = [request for request in lane if request.key == lane[0].key]
                together = same_key[: max(1, min(self.max_batch, int(limit)))]
                for request in together:
                    lane.remove(request)
                batch = [r for r in together if r.future.set_running_or_notify_cancel()]
                if batch:
                    self._running = len(batch)
                    return batch

    def _answer(self, batch: list[_Request[Key, Result]]) -> None:
        start = perf_counter()
        try:
            results = self._work(batch[0].key, [request.text for request in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"{self.name}: {len(results)} answers to {len(batch)} texts")
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, TuneshotError):
                for request in batch:  # one bad message must not spoil the others'
                    self._answer([request])
                return
            self._count(batch, failed=len(batch))
            for request in batch:
                request.future.set_exception(error)
            return
        failed = sum(map(self._is_failure, results))
        self._count(batch, failed, (perf_counter() - start) / len(batch))
        for request, result in zip(batch, results, strict=True):
            request.future.set_result(result)

    def _count(
        self, batch: list[_Request[Key, Result]], failed: int, seconds_each: float | None = None
    ) -> None:
        now = perf_counter()
        with self._changed:
            self._running -= len(batch)
            if seconds_each is not None and self._loaded:
                self._seconds_each += 0.2 * (seconds_each - self._seconds_each)
            self._loaded = self._loaded or failed < len(batch)
        self._failed.inc(failed)
        self._answered.inc(len(batch) - failed)
        self._batch_size.observe(len(batch))
        for request in batch:
            if not request.background:
                self._seconds.observe(now - request.came)
