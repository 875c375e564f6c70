"""Many people ask one model; those who wait for the same thing are answered in one call.

A model computes in one thread. Meanwhile requests gather; when the thread is free, all that have
the key of the oldest are taken together. So a single request never waits for others, and a crowd
is answered in batches. Of equal requests only one is computed: its answer is everybody's who waits
for it, and is remembered for a while. Nothing here knows what is asked.
"""

import asyncio
import contextlib
import math
from collections import OrderedDict, deque
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
REMEMBERED_ANSWERS = 1000  # the latest; with its examples, an answer has a few kilobytes
REMEMBERED_CHARACTERS = 2000  # of a text; a longer one is computed each time

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
        requests: texts by outcome: ``answered``, ``remembered`` (equal to one that was answered,
            and not computed again), ``failed`` or ``refused``.
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

    @property
    def question(self) -> tuple[Key, str]:
        """Equal ones have equal answers."""
        return self.key, self.text


class BatchQueue(Generic[Key, Result]):
    """Asks one model from asynchronous code, many requests at a time.

    Args:
        work: key and texts -> one result for each text, in order. Called in one thread only.
        max_batch: most texts of one call.
        max_waiting: most requests that wait in a lane; one more is refused.
        name: of the thread, in messages and in the figures.
        is_failure: a result that only says why there is no answer, for the figures.
        remembers: key and result -> whether it is the answer to the next equal request, too; the
            key must hold all that decides it.
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
        remembers: Callable[[Key, Result], bool] = lambda key, result: False,
        metrics: QueueMetrics | None = None,
    ) -> None:
        self.name = name
        self.max_batch = max_batch
        self.max_waiting = max_waiting
        metrics = metrics or QueueMetrics()
        # All outcomes are made now, so that each is shown before it first happens.
        self._answered, self._remembered, self._failed, self._refused = (
            metrics.requests.labels(name, outcome)
            for outcome in ("answered", "remembered", "failed", "refused")
        )
        self._seconds = metrics.seconds.labels(name)
        self._batch_size = metrics.batch_size.labels(name)
        metrics.waiting.labels(name).set_function(lambda: self.waiting)
        self._work = work
        self._is_failure = is_failure
        self._remembers = remembers
        self._memory: OrderedDict[tuple[Key, str], Result] = OrderedDict()  # newest last
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
            if request.question in self._memory:
                self._memory.move_to_end(request.question)
                self._count([request], self._remembered)
                return self._memory[request.question]
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
        """How many a new request would have before it: waiting, or being answered; equal: one."""
        with self._changed:  # may be held already
            lanes = [*self._foreground, *(self._background if background else ())]
            return self._running + len({request.question for request in lanes})

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
                # One of each text: the others have its answer, see _finish.
                of_text: dict[str, _Request[Key, Result]] = {}
                for request in lane:
                    if request.key == lane[0].key:
                        of_text.setdefault(request.text, request)
                together = list(of_text.values())[: max(1, min(self.max_batch, int(limit)))]
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
            self._batch_size.observe(len(batch))
            for request in batch:
                for each in self._finish(request, failed=True):
                    each.future.set_exception(error)
            return
        self._batch_size.observe(len(batch))
        self._measured((perf_counter() - start) / len(batch))
        for request, result in zip(batch, results, strict=True):
            with self._changed:  # who comes now waits for this answer, or finds it
                self._remember(request, result)
                waited = self._finish(request, self._is_failure(result))
            for each in waited:
                each.future.set_result(result)

    def _measured(self, seconds: float) -> None:
        with self._changed:
            if self._loaded:
                self._seconds_each += 0.2 * (seconds - self._seconds_each)

    def _remember(self, request: _Request[Key, Result], result: Result) -> None:
        short = len(request.text) <= REMEMBERED_CHARACTERS
        if short and self._remembers(request.key, result):
            self._memory[request.question] = result
            if len(self._memory) > REMEMBERED_ANSWERS:
                self._memory.popitem(last=False)

    def _finish(self, request: _Request[Key, Result], failed: bool) -> list[_Request[Key, Result]]:
        """The request, and all that are equal and wait, which leave the queue."""
        with self._changed:
            self._running -= 1
            self._loaded = self._loaded or not failed
            lanes = (self._foreground, self._background)
            equal = [each for lane in lanes for each in lane if each.question == request.question]
            for each in equal:
                (self._background if each.background else self._foreground).remove(each)
        waited = [each for each in equal if each.future.set_running_or_notify_cancel()]
        self._count([request], self._failed if failed else self._answered)
        self._count(waited, self._failed if failed else self._remembered)
        return [request, *waited]

    def _count(self, requests: list[_Request[Key, Result]], outcome: Counter) -> None:
        now = perf_counter()
        outcome.inc(len(requests))
        for request in requests:
            if not request.background:
                self._seconds.observe(now - request.came)
