"""Wrappers of the page's handlers: one line when one fails, a button that stops it."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec

import chainlit as cl

from icl.chat.cards import escape_markdown
from icl.chat.language import say
from icl.session.session import error_line

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
        except Exception as error:
            line = say("Sorry: {problem}.", problem=error_line(error))
            await cl.ErrorMessage(content=escape_markdown(line)).send()

    return guarded


def stoppable(handler: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
    """Wraps a button's handler: while it runs, the page shows its stop button, which ends it."""

    @functools.wraps(handler)
    async def with_stop_button(*args: P.args, **kwargs: P.kwargs) -> None:
        task = asyncio.ensure_future(handler(*args, **kwargs))
        cl.context.session.current_task = task
        await cl.context.emitter.task_start()
        try:
            await task
        finally:
            await cl.context.emitter.task_end()

    return with_stop_button
