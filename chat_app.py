"""The chat page: two ways to teach a language model one task, side by side.

Start it with ``make chat``, or ``python -m icl.chat``, or ``chainlit run chat_app.py``.
Here are Chainlit's callbacks only; the answers come from icl/session/session.py, their looks from
icl/chat/cards.py and public/, the models from icl/session/environment.py.
"""

import asyncio
from pathlib import Path

import chainlit as cl
from chainlit.types import Feedback, ThreadDict

import icl.chat.patches.install  # noqa: F401  before any visitor can connect
from icl.chat import voting
from icl.chat.actions import commands
from icl.chat.cards import escape_markdown
from icl.chat.controls import form_pickers, panel, pickers
from icl.chat.conversation import answer, complete
from icl.chat.handlers import one_line_errors, stoppable
from icl.chat.language import page_language, say
from icl.chat.state import Chat
from icl.chat.store.storage import save_session
from icl.prompt.free_prompts import FREE_PROMPTS
from icl.session import environment
from icl.session.session import methods_of
from icl.session.settings import PROFILES

DEFAULT_PROFILE = "Compare"
FREE_PROMPT = "Free prompt"

workers = environment.workers()

_warming_up: asyncio.Task[None] | None = None  # the event loop itself does not keep a task alive

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
async def load_models() -> None:
    """Starts loading before the first visitor; the page opens meanwhile."""
    global _warming_up
    _warming_up = asyncio.create_task(workers.warm_up.run())


@cl.set_chat_profiles
async def profiles(user: cl.User | None, language: str | None) -> list[cl.ChatProfile]:
    """Which methods answer. Another profile starts a new chat, another setting does not."""
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
            (FREE_PROMPT, "A language model **continues** a prompt of examples.", "prompt"),
        )
    ]


@cl.on_chat_start
@one_line_errors
async def start() -> None:
    """A new chat, or another profile: sends its controls."""
    await send_controls(current_profile())


@cl.on_chat_resume
@one_line_errors
async def resume(thread: ThreadDict) -> None:
    """An earlier chat continues, with its controls and its added messages."""
    await send_controls(current_profile())


async def send_controls(profile: str) -> None:
    """Sends the pickers, commands and settings panel that are of use in a profile."""
    # An empty list removes those of the profile that was open before.
    if profile == FREE_PROMPT:
        await cl.context.emitter.set_modes(form_pickers())
        await cl.context.emitter.set_commands([])
        return
    few_shot = "few_shot" in PROFILES.get(profile, ())
    await cl.context.emitter.set_modes(pickers(workers.session.usual) if few_shot else [])
    await cl.context.emitter.set_commands(commands.command_list())
    await cl.ChatSettings(
        panel(workers.session.offers, this_chat().panel, workers.session.usual)
    ).send()


@cl.on_settings_update
@one_line_errors
async def on_settings_update(panel: dict[str, str]) -> None:
    """Saves what was confirmed in the settings panel."""
    this_chat().panel = panel
    this_chat().settings(None)  # says now what is not allowed
    await save_chat()


@cl.on_message
@one_line_errors
async def on_message(message: cl.Message) -> None:
    """Answers one message, or runs its command."""
    chat, profile, choices = this_chat(), current_profile(), message.modes
    if profile == FREE_PROMPT:
        form = (choices or {}).get("form", next(iter(FREE_PROMPTS)))
        await complete(workers, message.content, form, chat.settings(None))
        return
    methods = methods_of(profile)
    command, text = commands.split_command(message.content, message.command)
    file = next(((Path(e.path), e.name) for e in message.elements if e.path), None)
    if file or command:
        invocation = commands.Invocation(workers, chat, text, choices, methods, file)
        await commands.run_command(command or "batch", invocation)
    else:
        await answer(workers, chat, text, methods, choices)
    await save_chat()


@cl.action_callback("why")
@stoppable
@one_line_errors
async def why(action: cl.Action) -> None:
    """The button below an answer."""
    turn = this_chat().turns.find(action.payload.get("turn"))
    await commands.explain(workers, turn.text, turn.settings)


@cl.action_callback("sweep")
@stoppable
@one_line_errors
async def sweep(action: cl.Action) -> None:
    """The other button below an answer."""
    turn = this_chat().turns.find(action.payload.get("turn"))
    await commands.sweep(workers, turn.text, turn.settings)


@cl.action_callback("question")
@stoppable
@one_line_errors
async def question(action: cl.Action) -> None:
    """A question of a free prompt, below the answer to another."""
    text = str(action.payload.get("text", ""))
    await cl.Message(content=escape_markdown(text), type="user_message").send()
    await complete(workers, text, next(iter(FREE_PROMPTS)), this_chat().settings(None))


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
    """This chat's memory; a message may come before ``start`` has finished."""
    chat = cl.user_session.get("chat")
    if not isinstance(chat, Chat):
        chat = Chat.from_dict(cl.user_session.get("memory") or {}, workers.session.usual)
        cl.user_session.set("chat", chat)
    return chat


async def save_chat() -> None:
    """Saves this chat's memory, if there is a login."""
    cl.user_session.set("memory", this_chat().to_dict())
    await save_session()
