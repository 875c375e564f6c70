"""Keeps models off the event loop: one thread and one queue for each method.

People who wait for one method never wait for the other. Fine-tuned answers to a crowd are
computed together; a prompt is read alone, as two in one pass take as long as two. PyTorch
releases the interpreter while it computes, so the page stays responsive.
"""

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from icl.session.queue import Batcher
from icl.session.session import Reply, Session, Side
from icl.session.settings import Settings

WARM_UP = "Warm up: see you at eight?"
LARGEST = {"fine_tuned": 32, "few_shot": 1}  # messages computed together

T = TypeVar("T")
Job = Callable[[Session, str, Settings, Sequence[str]], Sequence[T]]


def classify(
    session: Session, method: str, settings: Settings, texts: Sequence[str]
) -> Sequence[Side]:
    """The everyday job: the method's answers."""
    return session.ask_all(method, texts, settings)


class Workers:
    """Asks a ``Session`` from asynchronous code.

    Args:
        session: what answers.

    Attributes:
        queues: the queue of each method. Its keys are settings, to classify, as the service asks;
            or a job and settings.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.queues: Mapping[str, Batcher[Hashable, Any]] = {
            method: self._queue(method) for method in session.methods
        }
        self._warm: dict[str, Future[Side]] = {}

    def warm_up(self) -> None:
        """Starts loading every model and sends it a first message; returns at once."""
        for method, queue in self.queues.items():
            self._warm[method] = queue.submit(Settings(), WARM_UP)

    def loading(self, methods: Sequence[str]) -> bool:
        """Whether a message for these methods would wait for a model that is being loaded."""
        return any(m in self._warm and not self._warm[m].done() for m in methods)

    def ahead(self, methods: Sequence[str]) -> int:
        """How many messages a new one for these methods would wait for, at the longest queue."""
        return max(self.queues[method].ahead() for method in methods)

    async def reply(self, text: str, methods: Sequence[str], settings: Settings) -> Reply:
        """The answers of ``methods``, sought at the same time; cancelling drops what waits."""
        asking = (self.do(classify, method, settings, text) for method in methods)
        return Reply(tuple(await asyncio.gather(*asking)))

    async def do(
        self,
        job: Job[T],
        method: str,
        settings: Settings,
        text: str,
        *,
        background: bool = False,
    ) -> T:
        """Does ``job`` for one text in the method's thread, together with others' if it can.

        Args:
            job: gives a result for each text.
            method: whose thread and queue.
            settings: what the model is made for.
            text: the message.
            background: give way to everybody who is not in the background.

        Raises:
            Busy: too many wait already.
            Exception: what ``job`` raised.
        """
        mattering = settings.that_matter_to(method)
        key = mattering if job is classify else (job, mattering)
        answer: T = await self.queues[method].ask(key, text, background=background)
        return answer

    def close(self) -> None:
        """Ends the threads; whoever waits is told."""
        for queue in self.queues.values():
            queue.close()

    def _queue(self, method: str) -> Batcher[Hashable, Any]:
        def work(key: Any, texts: Sequence[str]) -> Sequence[Any]:  # noqa: ANN401
            job, settings = (classify, key) if isinstance(key, Settings) else key
            answers: Sequence[Any] = job(self.session, method, settings, texts)
            return answers

        def is_failure(answer: Any) -> bool:  # noqa: ANN401
            return isinstance(answer, Side) and bool(answer.problem)

        largest = LARGEST.get(method, 1)
        return Batcher(work, largest=largest, name=method, is_failure=is_failure)
