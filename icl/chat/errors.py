"""What a visitor reads when a handler fails. Chainlit says nothing, or says too much."""

import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec

import chainlit as cl

from clfcore.errors import TuneshotError
from icl.chat.cards import plain
from icl.chat.language import say
from icl.session import unexpected

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
