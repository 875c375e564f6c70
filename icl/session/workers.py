"""Keeps models off the event loop: one thread and one queue for each method.

People who wait for one method never wait for the other. Fine-tuned answers to a crowd are
computed together; a prompt is read alone, as two in one pass take as long as two. PyTorch
releases the interpreter while it computes, so the page stays responsive.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from icl.prompt.calibration import CALIBRATIONS
from icl.session.queue import BatchQueue, Busy, QueueMetrics
from icl.session.session import MethodResult, Reply, Session
from icl.session.settings import Settings

log = logging.getLogger("tuneshot")

WARM_UP_TEXT = "Warm up: see you at eight?"
WARM_UP_RETRY_SECONDS = 30.0
MAX_BATCH = {"fine_tuned": 32, "few_shot": 1}  # messages computed together

T = TypeVar("T")
Job = Callable[[Session, Settings, str], T]


class Workers:
    """Asks a ``Session`` from asynchronous code.

    Args:
        session: what answers.

    Attributes:
        metrics: figures of the queues.
        queues: the queue of each method. A key is a job, ``None`` to classify, and settings.
        warm_up: loads the models.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.metrics = QueueMetrics()
        self.queues = {method: self._queue(method) for method in session.methods}
        self._idle: set[asyncio.Task[None]] = set()
        self.warm_up = WarmUp(self)

    def ahead(self, methods: Sequence[str]) -> int:
        """How many messages a new one for these methods would wait for, at the longest queue."""
        return max(self.queues[method].ahead() for method in methods)

    async def reply(self, text: str, methods: Sequence[str], settings: Settings) -> Reply:
        """The answers of ``methods``, computed at the same time; cancelling drops what waits."""
        asking = (self.classify(method, settings, [text], background=False) for method in methods)
        return Reply(tuple(result for (result,) in await asyncio.gather(*asking)))

    async def classify(
        self, method: str, settings: Settings, texts: Sequence[str], *, background: bool
    ) -> list[MethodResult]:
        """A method's results for ``texts``, in order.

        Args:
            method: whose thread and queue.
            settings: what the model is made for.
            texts: the messages.
            background: give way to everybody who is not in the background.

        Raises:
            Busy: too many wait already.
        """
        if background:  # nobody waits, and all are answered alike
            await self._read_prior(method, settings)
        key = (None, settings.relevant_to(method))
        results = await self.queues[method].ask_all(key, texts, background=background)
        if any(getattr(result.prediction, "provisional", False) for result in results):
            task = asyncio.create_task(self._read_prior(method, settings))
            self._idle.add(task)
            task.add_done_callback(self._idle.discard)
        return results

    async def _read_prior(self, method: str, settings: Settings) -> None:
        """Reads what calibrates a prompt, a message at a time, while nobody else asks.

        A visitor does not wait for it: the first answers do without and say so.
        """
        if method == "few_shot" and CALIBRATIONS[settings.calibration].batch:
            with contextlib.suppress(Busy):
                while await self.run(read_of_prior, method, settings, "", background=True):
                    pass

    async def run(
        self, job: Job[T], method: str, settings: Settings, text: str, *, background: bool = False
    ) -> T:
        """Does ``job`` in the method's thread.

        Args:
            job: what to do with session, settings and text.
            method: whose thread and queue.
            settings: what the model is made for.
            text: the message.
            background: give way to everybody who is not in the background.

        Raises:
            Busy: too many wait already.
            Exception: what ``job`` raised.
        """
        key = (job, settings.relevant_to(method))
        result: T = await self.queues[method].ask(key, text, background=background)
        return result

    def close(self) -> None:
        """Ends the threads; requests that wait are told so."""
        for queue in self.queues.values():
            queue.close()

    def _queue(self, method: str) -> BatchQueue[tuple[Job[Any] | None, Settings], Any]:
        def work(key: tuple[Job[Any] | None, Settings], texts: Sequence[str]) -> Sequence[Any]:
            job, settings = key
            if job is None:
                return self.session.classify(method, settings, texts)
            return [job(self.session, settings, text) for text in texts]

        return BatchQueue(
            work,
            max_batch=MAX_BATCH[method],
            name=method,
            is_failure=lambda result: isinstance(result, MethodResult) and bool(result.problem),
            # The settings name all that decides an answer: what was taught and trained, too.
            remembers=lambda key, result: key[0] is None and _is_final(result),
            metrics=self.metrics,
        )


def read_of_prior(session: Session, settings: Settings, _: str) -> int:
    """Reads the next of the messages that calibrate the prompt of some settings.

    Returns:
        How many are left; none, if something prevents it: the answers themselves say what.
    """
    try:
        prior = getattr(session.methods["few_shot"](settings).classifier, "batch_prior", None)
        if prior is None:
            return 0
        prior.read_next()
        return int(prior.left)
    except Exception as error:
        log.warning("the prior of a calibration cannot be read: %s", error)
        return 0


def _is_final(result: MethodResult) -> bool:
    """Whether the next one who asks may have the same answer."""
    return result.label is not None and not getattr(result.prediction, "provisional", False)


class WarmUp:
    """Asks every method until it has answered once, so that no visitor waits for a model to load.

    Args:
        workers: whose methods.

    Attributes:
        loading: the methods whose first answer is being computed.
        reasons: method -> why it is not ready yet; empty when all are.
        retry_seconds: until a method that cannot answer is asked again.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self.loading: set[str] = set()
        self.reasons = dict.fromkeys(workers.queues, "its model is being loaded")
        self.retry_seconds = WARM_UP_RETRY_SECONDS

    async def run(self) -> None:
        """Returns when all methods are ready."""
        self.loading = set(self.reasons)
        await asyncio.gather(*map(self._run, self._workers.queues))

    async def _run(self, method: str) -> None:
        while reason := await self._problem(method):
            self.reasons[method] = reason
            await asyncio.sleep(self.retry_seconds)
        del self.reasons[method]

    async def _problem(self, method: str) -> str:
        try:
            reply = await self._workers.reply(WARM_UP_TEXT, (method,), self._workers.session.usual)
            return reply.results[0].problem
        except Busy as busy:
            return str(busy)
        finally:
            self.loading.discard(method)
