"""The page's stop button for what a button starts; Chainlit has it for messages only."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec

import chainlit as cl

P = ParamSpec("P")


def stoppable(handler: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
    """Wraps what a button does: while it goes on, the page shows its stop button, which ends it."""

    @functools.wraps(handler)
    async def going_on(*args: P.args, **kwargs: P.kwargs) -> None:
        task = asyncio.ensure_future(handler(*args, **kwargs))
        cl.context.session.current_task = task
        await cl.context.emitter.task_start()
        try:
            await task
        finally:
            await cl.context.emitter.task_end()

    return going_on
