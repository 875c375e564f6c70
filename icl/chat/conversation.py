"""What the page says: answers, views and their pictures, as Chainlit's messages."""

import uuid
from collections.abc import Mapping

import chainlit as cl
from chainlit.context import ChainlitContextException

from icl.chat.actions import voting
from icl.chat.cards import card, completion_card, plain, verdict
from icl.chat.language import say
from icl.chat.state import Chat, Turn
from icl.figures.look import Drawing, to_json
from icl.prompt.free_form import FREE_FORM, form_asking
from icl.session.jobs import Complete
from icl.session.settings import Settings
from icl.session.workers import Workers

LOADING = "Loading the models, which takes a few seconds after the start. Your answer follows."
CROWD = 3  # messages ahead of one's own from which on it says so


async def answer(
    workers: Workers,
    chat: Chat,
    text: str,
    profile: str,
    choices: Mapping[str, str] | None,
) -> Turn:
    """Sends the reply to ``text`` into the current chat.

    Args:
        workers: what answers.
        chat: remembers the turn.
        text: the visitor's message.
        profile: a key of ``PROFILES``.
        choices: of the pickers; ``None`` when the message came before they did.

    Raises:
        TuneshotError: an unknown profile or choice, or a message that cannot be asked.
    """
    settings = chat.settings(choices)
    methods = workers.session.asked(text, profile)
    notice = None
    if workers.loading(methods):
        notice = say(LOADING)
    elif (ahead := workers.ahead(methods)) > CROWD:
        notice = say("{count} messages are before yours. Your answer follows.", count=ahead)
    waiting = await cl.Message(content=notice).send() if notice else None
    try:
        reply = await workers.reply(text, methods, settings)
    finally:
        if waiting:
            await waiting.remove()
    turn = chat.remember(_turn_id(), text, settings, reply)
    voting.remember(turn)
    drawn = cl.CustomElement(name="CompareCard", props=card(reply), display="inline")
    actions = _actions(turn) if reply.labels else []
    await cl.Message(content=verdict(reply), elements=[drawn], actions=actions).send()
    return turn


def _turn_id() -> str:
    """What Chainlit calls this turn, so that a thumb finds it; or any other new name."""
    try:
        run = cl.context.current_run
    except ChainlitContextException:
        run = None
    return run.id if run else uuid.uuid4().hex


def _actions(turn: Turn) -> list[cl.Action]:
    """What can be done with an answer; the buttons below it."""
    of_turn = {"turn": turn.id}
    methods = {side.method for side in turn.reply.sides if side.prediction}
    actions = [cl.Action(name="why", label=say("Why?"), payload=of_turn, icon="search")]
    if "few_shot" in methods:
        actions.append(
            cl.Action(
                name="sweep",
                label=say("Other k, other orders"),
                payload=of_turn,
                icon="chart-line",
            )
        )
    return actions + voting.buttons(turn)


async def complete(workers: Workers, text: str, form: str, settings: Settings) -> None:
    """Sends what the language model writes after a free prompt, and its other questions.

    Args:
        workers: what writes.
        text: to go on with.
        form: the free prompt; that of a known question is its own, whichever is picked.
        settings: the language model.

    Raises:
        TuneshotError: an empty text, an unknown form, or a model that cannot answer.
    """
    workers.session.asked(text, "Few-shot")
    form = form_asking(text) or form
    written = await workers.do(Complete(form), "few_shot", settings, text)
    drawn = cl.CustomElement(
        name="FreePromptCard", props=completion_card(written, form, text), display="inline"
    )
    others = [
        cl.Action(name="question", label=question, payload={"text": question})
        for question, _ in FREE_FORM[form].questions
        if question != text
    ]
    await cl.Message(
        content=plain(written.text) or say("(nothing)"), elements=[drawn], actions=others
    ).send()


def picture(drawing: Drawing, name: str) -> cl.Plotly:
    """A figure as wide as the page, with the theme's colours."""
    element = cl.Plotly(name=name, figure=drawing.figure, display="inline", size="large")
    element.content = to_json(drawing)
    return element


async def show(drawing: Drawing, name: str, *lines: str) -> None:
    """Sends a picture, and what is to be said of it; its description is read to who cannot see.

    Args:
        drawing: the picture.
        name: of the element; a chat shows one picture of a name in each message.
        lines: shown above it.
    """
    said = [*lines, drawing.description]
    await cl.Message(
        content="\n\n".join(plain(line) for line in said), elements=[picture(drawing, name)]
    ).send()
