"""Which answer is right? Buttons and thumbs below an answer, kept where there is a login."""

import asyncio

import chainlit as cl

from clfcore.errors import TuneshotError
from icl.chat.cards import translated_label
from icl.chat.language import say
from icl.session import votes
from icl.session.login_codes import login_configured
from icl.session.session import RecentTurns, Turn

MAX_BUTTONS = 6  # a task with more labels has thumbs only

recent_turns = RecentTurns(limit=2_000)  # of all chats, as a thumb does not say which chat it is of


def buttons(turn: Turn) -> list[cl.Action]:
    """One for each label; none without a login, as nothing is stored then."""
    if not login_configured() or len(turn.labels) > MAX_BUTTONS:
        return []
    return [
        cl.Action(
            name="vote",
            label=say("It is {label}", label=translated_label(label)),
            payload={"turn": turn.id, "label": label},
            tooltip=say("Which answer is right? Your vote is kept."),
        )
        for label in turn.labels
    ]


async def vote(payload: dict[str, str]) -> None:
    """Keeps a vote; of what the browser sends, only the turn's id and a label count.

    Raises:
        TuneshotError: no login, a turn that is not remembered, or another person's, an unknown
            label.
    """
    if not login_configured():
        raise TuneshotError("votes are kept only where people sign in")
    label = str(payload.get("label"))
    turn = _own(payload.get("turn")) or recent_turns.find(None)  # nobody learns what others have
    new = votes.vote(turn, label, votes.anonymous(visitor()))
    await asyncio.to_thread(votes.record, new)
    await cl.context.emitter.send_toast(
        say("Kept: it is {label}.", label=translated_label(label)), "success"
    )


async def thumb(turn_id: str, up: bool, comment: str) -> None:
    """Keeps a thumb of a visitor's own turn that is still remembered; the page keeps others with
    the message.
    """
    if turn := _own(turn_id):
        new = votes.thumb(turn, up, comment, votes.anonymous(visitor()))
        await asyncio.to_thread(votes.record, new)


def visitor() -> str:
    """The name of who is signed in where this runs; empty: nobody."""
    return getattr(cl.context.session.user, "identifier", "")


def _own(turn_id: object) -> Turn | None:
    turn = recent_turns.get(turn_id) if isinstance(turn_id, str) else None
    return turn if turn and turn.visitor == visitor() else None
