"""The page's answers and pictures, sent as Chainlit's messages."""

import functools
import uuid
from collections.abc import Mapping, Sequence

import chainlit as cl
from chainlit.context import context_var

from icl.chat import voting
from icl.chat.cards import compare_card, completion_card, escape_markdown, verdict
from icl.chat.language import say
from icl.chat.state import Chat
from icl.figures.look import Drawing, drawing_json
from icl.prompt.free_prompts import FREE_PROMPTS, free_prompt_with
from icl.session.jobs import complete_prompt
from icl.session.session import Turn, check_message
from icl.session.settings import Settings
from icl.session.workers import Workers

LOADING = "Loading the models, which takes a few seconds after the start. Your answer follows."
QUEUE_NOTICE_THRESHOLD = 3  # a visitor who has more messages than this ahead is told so


async def answer(
    workers: Workers,
    chat: Chat,
    text: str,
    methods: Sequence[str],
    choices: Mapping[str, str] | None,
) -> Turn:
    """Sends the reply to ``text`` into the current chat.

    Args:
        workers: what answers.
        chat: remembers the turn.
        text: the visitor's message.
        methods: those to ask.
        choices: of the pickers; ``None`` when the message came before they did.

    Raises:
        TuneshotError: an unknown choice, or a message that cannot be asked.
    """
    settings = chat.settings(choices)
    check_message(text)
    notice = None
    if workers.warm_up.loading.intersection(methods):
        notice = say(LOADING)
    elif (ahead := workers.ahead(methods)) > QUEUE_NOTICE_THRESHOLD:
        notice = say("{count} messages are before yours. Your answer follows.", count=ahead)
    waiting = await cl.Message(content=notice).send() if notice else None
    try:
        reply = await workers.reply(text, methods, settings)
    finally:
        if waiting:
            await waiting.remove()
    turn = Turn(_turn_id(), text, settings, reply, voting.visitor())
    chat.turns.add(turn)
    voting.recent_turns.add(turn)
    card = cl.CustomElement(name="CompareCard", props=compare_card(reply), display="inline")
    actions = _actions(turn) if turn.labels else []
    await cl.Message(content=verdict(reply), elements=[card], actions=actions).send()
    return turn


def _turn_id() -> str:
    """Chainlit's id of this turn, by which a thumb finds it; where there is none, a new one."""
    context = context_var.get(None)
    return context.current_run.id if context and context.current_run else uuid.uuid4().hex


def _actions(turn: Turn) -> list[cl.Action]:
    """The buttons below an answer."""
    action = functools.partial(cl.Action, payload={"turn": turn.id})
    actions = [action(name="why", label=say("Why?"), icon="search")]
    if any(
        result.method == "few_shot" and result.label is not None for result in turn.reply.results
    ):
        label = say("Other k, other orders")
        actions.append(action(name="sweep", label=label, icon="chart-line"))
    return actions + voting.buttons(turn)


async def complete(workers: Workers, text: str, form_name: str, settings: Settings) -> None:
    """Sends what the language model writes after a free prompt, and the form's other questions.

    Args:
        workers: what writes.
        text: the question.
        form_name: the free prompt; a question that belongs to another one is asked with that.
        settings: the language model.

    Raises:
        TuneshotError: an empty text, an unknown form, or a model that cannot answer.
    """
    check_message(text)
    form_name = free_prompt_with(text) or form_name
    completion = await workers.run(
        functools.partial(complete_prompt, form_name), "few_shot", settings, text
    )
    card = cl.CustomElement(
        name="FreePromptCard",
        props=completion_card(completion, form_name, text),
        display="inline",
    )
    others = [
        cl.Action(name="question", label=question, payload={"text": question})
        for question, _ in FREE_PROMPTS[form_name].questions
        if question != text
    ]
    content = escape_markdown(completion.text) or say("(nothing)")
    await cl.Message(content=content, elements=[card], actions=others).send()


def picture(drawing: Drawing, name: str) -> cl.Plotly:
    """A figure as wide as the page, with the theme's colours."""
    element = cl.Plotly(name=name, figure=drawing.figure, display="inline", size="large")
    element.content = drawing_json(drawing)
    return element


def table_element(
    caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> cl.CustomElement:
    """A table of words and numbers; nothing in it is interpreted."""
    props = {"caption": caption, "columns": list(columns), "rows": [list(row) for row in rows]}
    return cl.CustomElement(name="AnswersTable", props=props, display="inline")


def paragraphs(*lines: str) -> str:
    """Markdown that shows each line as it is, as a paragraph."""
    return "\n\n".join(map(escape_markdown, lines))


async def show(drawing: Drawing, name: str, *lines: str) -> None:
    """Sends a picture below some lines and its description, which screen readers read aloud.

    Args:
        drawing: the picture.
        name: of the element; a chat shows one picture of a name in each message.
        lines: shown above it.
    """
    content = paragraphs(*lines, drawing.description)
    await cl.Message(content=content, elements=[picture(drawing, name)]).send()
