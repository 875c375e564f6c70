"""Keeps models off the event loop: one thread for each method.

A model answers one message at a time, and people who wait for one method never wait for the
other. PyTorch releases the interpreter while it computes, so the page stays responsive.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from icl.session import Reply, Session, Settings

WARM_UP = "Warm up: see you at eight?"


class Workers:
    """Asks a ``Session`` from asynchronous code.

    Args:
        session: what answers.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._threads = {
            method: ThreadPoolExecutor(1, thread_name_prefix=method) for method in session.methods
        }
        self._warm: dict[str, Future[object]] = {}

    def warm_up(self) -> None:
        """Starts loading every model and sends it a first message; returns at once."""
        for method, thread in self._threads.items():
            self._warm[method] = thread.submit(self.session.ask, method, WARM_UP, Settings())

    def loading(self, methods: Sequence[str]) -> bool:
        """Whether a message for these methods would wait for a model that is being loaded."""
        return any(m in self._warm and not self._warm[m].done() for m in methods)

    async def reply(self, text: str, methods: Sequence[str], settings: Settings) -> Reply:
        """The answers of ``methods``, sought at the same time; cancelling drops what waits."""
        loop = asyncio.get_running_loop()
        asking = (
            loop.run_in_executor(self._threads[method], self.session.ask, method, text, settings)
            for method in methods
        )
        return Reply(tuple(await asyncio.gather(*asking)))
