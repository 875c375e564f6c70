"""What every handler of the page has around it: one line when it fails, a button that stops it."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec

import chainlit as cl

from clfcore.errors import TuneshotError
from icl.chat.cards import plain
from icl.chat.language import say
from icl.session.session import unexpected

P = ParamSpec("P")


def one_line_errors(handler: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
    """Wraps a handler: whatever it raises becomes one line of the chat.

    A ``TuneshotError`` is shown as it is; of anything else, only a reference into the log.
    Cancellation (the stop button) passes.
    """

    @functools.wraps(handler)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            await handler(*args, **kwargs)
        except TuneshotError as error:
            await cl.ErrorMessage(content=plain(say("Sorry: {problem}.", problem=error))).send()
        except Exception:
            await cl.ErrorMessage(
                content=plain(say("Sorry: {problem}.", problem=unexpected()))
            ).send()

    return guarded


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
