"""The chat page: two ways to teach a language model one task, side by side.

Start it with ``make chat``, or ``python -m icl.chat``, or ``chainlit run chat_app.py``.
Only what happens when; what is answered is in icl/session/session.py, how it looks in
icl/chat/cards.py and public/, which models in icl/session/environment.py.
"""

from pathlib import Path

import chainlit as cl
from chainlit.types import Feedback, ThreadDict

import icl.chat.patches.install  # noqa: F401  before any visitor can connect
from icl.chat.actions import voting
from icl.chat.actions.commands import Asked, explain, obey, offered, split, vary
from icl.chat.actions.controls import form_pickers, panel, pickers
from icl.chat.cards import plain
from icl.chat.conversation import answer, complete
from icl.chat.handlers import one_line_errors, stoppable
from icl.chat.language import page_language, say
from icl.chat.state import Chat
from icl.chat.store.storage import keep_session
from icl.prompt.free_form import FREE_FORM
from icl.session import environment as setup
from icl.session.settings import PROFILES

DEFAULT_PROFILE = "Compare"
FREE_PROMPT = "Free prompt"


workers = setup.workers()

# Label and message; the first two are the lecture's. On the third the two methods disagree.
STARTERS = (
    (
        "A prize",
        "You are a winner you have been specially selected to receive $1000 cash or a $2000 award.",
        "prize",
    ),
    (
        "Dinner tonight",
        "Hey, just wanted to check if we're still on for dinner tonight? Let me know!",
        "dinner",
    ),
    (
        "A tricky one",
        "Call me now, it is urgent, I lost my phone and this is my new number",
        "disagree",
    ),
)

FREE_STARTERS = (
    ("I am hungry", "Ich habe großen Hunger.", "prompt"),
    ("A review", "I fell asleep after ten minutes.", "prompt"),
    ("f of g", "f(g(Italian))", "prompt"),
)


@cl.on_app_startup
def load_models() -> None:
    """Starts loading before the first visitor; the page opens meanwhile."""
    workers.warm_up()


@cl.set_chat_profiles
async def profiles(user: cl.User | None, language: str | None) -> list[cl.ChatProfile]:
    """Which methods answer; what is chosen within one keeps the chat, see ``pickers``."""
    language = page_language(language)
    starters = {
        name: [
            cl.Starter(
                label=say(label, language), message=message, icon=f"/public/icons/{icon}.svg"
            )
            for label, message, icon in (FREE_STARTERS if name == FREE_PROMPT else STARTERS)
        ]
        for name in (*PROFILES, FREE_PROMPT)
    }
    return [
        cl.ChatProfile(
            name=name,
            display_name=say(name, language),
            markdown_description=say(description, language),
            icon=f"/public/icons/{icon}.svg",
            starters=starters[name],
            default=name == DEFAULT_PROFILE,
        )
        for name, description, icon in (
            (
                "Compare",
                "**Spam or not?** Ask a fine-tuned model and a few-shot prompt.",
                "compare",
            ),
            ("Fine-tuned", "A small GPT-2 that was **trained** on labelled messages.", "finetuned"),
            ("Few-shot", "A language model that is **shown** a few labelled messages.", "fewshot"),
            (FREE_PROMPT, "A language model **goes on** with a prompt of examples.", "prompt"),
        )
    ]


@cl.on_chat_start
@one_line_errors
async def start() -> None:
    """A new chat, or another profile: what it offers."""
    await offer(current_profile())


@cl.on_chat_resume
@one_line_errors
async def resume(thread: ThreadDict) -> None:
    """A chat of an earlier day goes on: with what it offered, and what it was taught."""
    await offer(current_profile())


async def offer(profile: str) -> None:
    """Sends pickers, commands and the settings panel, where they make a difference."""
    # An empty list takes away what the profile that was open before had offered.
    if profile == FREE_PROMPT:
        await cl.context.emitter.set_modes(form_pickers())
        await cl.context.emitter.set_commands([])
        return
    few_shot = "few_shot" in PROFILES.get(profile, ())
    await cl.context.emitter.set_modes(pickers() if few_shot else [])
    await cl.context.emitter.set_commands(offered())
    await cl.ChatSettings(panel(workers.session.offers, this_chat().panel)).send()


@cl.on_settings_update
@one_line_errors
async def settle(chosen: dict[str, str]) -> None:
    """Keeps what was confirmed in the settings panel."""
    this_chat().panel = chosen
    this_chat().settings(None)  # says now what is not allowed
    await keep()


@cl.on_message
@one_line_errors
async def on_message(message: cl.Message) -> None:
    """Answers one message, or does what it commands."""
    chat, profile, choices = this_chat(), current_profile(), message.modes
    if profile == FREE_PROMPT:
        form = (choices or {}).get("form", next(iter(FREE_FORM)))
        await complete(workers, message.content, form, chat.settings(None))
        return
    command, text = split(message.content, message.command)
    file = next(((Path(e.path), e.name) for e in message.elements if e.path), None)
    if file or command:
        methods = PROFILES.get(profile, ())
        await obey(command or "batch", Asked(workers, chat, text, choices, methods, file))
    else:
        await answer(workers, chat, text, profile, choices)
    await keep()


@cl.action_callback("why")
@stoppable
@one_line_errors
async def why(action: cl.Action) -> None:
    """The button below an answer."""
    turn = this_chat().recall(action.payload["turn"])
    await explain(workers, turn.text, turn.settings)


@cl.action_callback("sweep")
@stoppable
@one_line_errors
async def sweep(action: cl.Action) -> None:
    """The other button below an answer."""
    turn = this_chat().recall(action.payload["turn"])
    await vary(workers, turn.text, turn.settings)


@cl.action_callback("question")
@stoppable
@one_line_errors
async def question(action: cl.Action) -> None:
    """A question of a free prompt, below the answer to another."""
    text = str(action.payload["text"])
    await cl.Message(content=plain(text), type="user_message").send()
    await complete(workers, text, next(iter(FREE_FORM)), this_chat().settings(None))


@cl.action_callback("vote")
@one_line_errors
async def on_vote(action: cl.Action) -> None:
    """Which answer is right."""
    await voting.vote(action.payload)


@cl.on_feedback
async def on_thumb(feedback: Feedback) -> None:
    """A thumb up or down."""
    await voting.thumb(feedback.forId, feedback.value > 0, feedback.comment or "")


def current_profile() -> str:
    """The profile this chat was opened with."""
    return str(cl.user_session.get("chat_profile") or DEFAULT_PROFILE)


def this_chat() -> Chat:
    """This chat's memory; a message may come before ``start`` was through."""
    chat = cl.user_session.get("chat")
    if not isinstance(chat, Chat):
        chat = Chat.from_dict(cl.user_session.get("memory") or {})
        cl.user_session.set("chat", chat)
    return chat


async def keep() -> None:
    """Keeps what this chat has learned, where chats are kept."""
    cl.user_session.set("memory", this_chat().to_dict())
    await keep_session()
