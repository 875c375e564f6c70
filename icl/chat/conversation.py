"""One turn of the chat: a message in, a verdict and a card out."""

from collections.abc import Mapping

import chainlit as cl

from icl.chat.cards import card, verdict
from icl.chat.worker import Workers
from icl.session import Settings

LOADING = "Loading the models, which takes a few seconds after the start. Your answer follows."


async def answer(
    workers: Workers, text: str, profile: str, choices: Mapping[str, str] | None
) -> None:
    """Sends the reply to ``text`` into the current chat.

    Args:
        workers: what answers.
        text: the visitor's message.
        profile: a key of ``PROFILES``.
        choices: of the pickers; ``None`` when the message came before they did.

    Raises:
        TuneshotError: an unknown profile or choice, or a message that cannot be asked.
    """
    settings = Settings.read(choices)
    methods = workers.session.asked(text, profile)
    if workers.loading(methods):
        waiting = await cl.Message(content=LOADING).send()
        try:
            reply = await workers.reply(text, methods, settings)
        finally:
            await waiting.remove()
    else:
        reply = await workers.reply(text, methods, settings)
    drawn = cl.CustomElement(name="CompareCard", props=card(reply), display="inline")
    await cl.Message(content=verdict(reply), elements=[drawn]).send()
