"""Which answer is right? Buttons and thumbs below an answer, kept where there is a login."""

import asyncio

import chainlit as cl

from clfcore.errors import TuneshotError
from icl.chat import login
from icl.chat.cards import label_word
from icl.chat.language import say
from icl.chat.state import Turn
from icl.session import votes

MAX_BUTTONS = 6  # labels; a task with more has thumbs only

_turns = votes.Turns()


def remember(turn: Turn) -> None:
    """Makes a turn one that can be voted on."""
    _turns.remember(votes.Turn.of(turn.id, turn.text, turn.settings, turn.reply))


def buttons(turn: Turn) -> list[cl.Action]:
    """One for each label; none without a login, as nothing is stored then."""
    known = dict.fromkeys(
        label
        for side in turn.reply.sides
        if side.prediction
        for label in side.prediction.probabilities
    )
    if not login.configured() or len(known) > MAX_BUTTONS:
        return []
    return [
        cl.Action(
            name="vote",
            label=say("It is {label}", label=label_word(label)),
            payload={"turn": turn.id, "label": label},
            tooltip=say("Which answer is right? Your vote is kept."),
        )
        for label in known
    ]


async def vote(payload: dict[str, str]) -> None:
    """Keeps a vote; of what the browser says, only the turn's id and a label count.

    Raises:
        TuneshotError: no login, a turn that is not remembered, an unknown label.
    """
    if not login.configured():
        raise TuneshotError("votes are kept only where people sign in")
    found = _turns.find(payload.get("turn")).vote(str(payload.get("label")), _who())
    await asyncio.to_thread(votes.record, found)
    await cl.context.emitter.send_toast(
        say("Kept: it is {label}.", label=label_word(found.right)), "success"
    )


async def thumb(run: str, up: bool, comment: str) -> None:
    """Keeps a thumb of a turn that is still remembered."""
    try:
        found = _turns.find(run).thumb(up, comment, _who())
    except TuneshotError:
        return  # the page keeps it with the message
    await asyncio.to_thread(votes.record, found)


def _who() -> str:
    user = cl.user_session.get("user")
    return votes.anonymous(user.identifier) if user else ""
