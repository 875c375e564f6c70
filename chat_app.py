"""The chat page: two ways to teach a language model one task, side by side.

Start it with ``make chat``, or ``python -m icl.chat``, or ``chainlit run chat_app.py``.
Only what happens when; what is answered is in icl/session.py, how it looks in icl/chat/cards.py
and public/.

Environment (all optional): ``TUNESHOT_CHECKPOINT`` a fine-tuned model, ``TUNESHOT_POOL`` a file of
labelled messages, ``TUNESHOT_LM`` the language model that reads the prompt, ``TUNESHOT_FOLDER``
data of other tasks. Several models are separated by commas; the page offers them.
"""

import os
from pathlib import Path

import chainlit as cl

import icl.chat.hardening  # noqa: F401  before any visitor can connect
from clfcore.huggingface import DEFAULT_LM
from icl.chat.controls import pickers
from icl.chat.conversation import answer
from icl.chat.errors import one_line_errors
from icl.chat.worker import Workers
from icl.session import PROFILES, open_session

DEFAULT_PROFILE = "Compare"


def named(variable: str) -> list[str]:
    """The names in an environment variable, none if it is not set."""
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


def place(variable: str) -> Path | None:
    """The path in an environment variable, or ``None`` if it is not set."""
    return Path(value) if (value := os.environ.get(variable)) else None


workers = Workers(
    open_session(
        checkpoints=[Path(name) for name in named("TUNESHOT_CHECKPOINT")],
        pool=place("TUNESHOT_POOL"),
        lms=named("TUNESHOT_LM") or [DEFAULT_LM],
        folder=place("TUNESHOT_FOLDER"),
    )
)

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


@cl.on_app_startup
def load_models() -> None:
    """Starts loading before the first visitor; the page opens meanwhile."""
    workers.warm_up()


@cl.set_chat_profiles
async def profiles(user: cl.User | None, language: str | None) -> list[cl.ChatProfile]:
    """Which methods answer; what is chosen within one keeps the chat, see ``pickers``."""
    starters = [
        cl.Starter(label=label, message=message, icon=f"/public/icons/{icon}.svg")
        for label, message, icon in STARTERS
    ]
    return [
        cl.ChatProfile(
            name=name,
            markdown_description=description,
            icon=f"/public/icons/{icon}.svg",
            starters=starters,
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
        )
    ]


@cl.on_chat_start
@one_line_errors
async def start() -> None:
    """Offers the pickers, where there is something to pick."""
    profile = cl.user_session.get("chat_profile") or DEFAULT_PROFILE
    # An empty list takes away the pickers of the profile that was open before.
    await cl.context.emitter.set_modes(pickers() if "few_shot" in PROFILES.get(profile, ()) else [])


@cl.on_message
@one_line_errors
async def on_message(message: cl.Message) -> None:
    """Answers one message."""
    profile = cl.user_session.get("chat_profile") or DEFAULT_PROFILE
    await answer(workers, message.content, profile, message.modes)
