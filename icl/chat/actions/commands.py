"""What a visitor can ask for with a slash; ``COMMANDS`` is the list the page offers.

A command comes as Chainlit's own (picked from the list), or as the first word of a message.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import shorten
from threading import Event

import chainlit as cl
from chainlit.types import CommandDict

from clfcore.errors import TuneshotError, unknown_choice
from clfcore.types import NO_ANSWER, Example
from icl.chat.actions.labs import (
    show_attention,
    show_cost,
    show_forgetting,
    show_quantization,
)
from icl.chat.actions.reports import send_report
from icl.chat.actions.training import fine_tune
from icl.chat.actions.upload import ask_for_file, classify_file
from icl.chat.cards import escape_markdown, method_title, translated_label
from icl.chat.conversation import answer, paragraphs, show, table_element
from icl.chat.language import say
from icl.chat.state import Chat
from icl.figures import answers as figures
from icl.prompt.tasks import TASKS
from icl.session.jobs import (
    display_label,
    exact_prompt,
    surroundings,
    vary_examples,
    word_effects,
)
from icl.session.session import Turn, check_message
from icl.session.settings import PROFILES, Settings
from icl.session.workers import Workers


@dataclass(frozen=True)
class Invocation:
    """A command as a visitor sent it.

    Attributes:
        workers: what answers.
        chat: its memory.
        text: what follows the command.
        choices: of the pickers.
        methods: those of the profile.
        file: what came with it: where it is, and its name.
    """

    workers: Workers
    chat: Chat
    text: str
    choices: Mapping[str, str] | None
    methods: tuple[str, ...] = PROFILES["Compare"]
    file: tuple[Path, str] | None = None

    @property
    def settings(self) -> Settings:
        """How a message would be answered now."""
        return self.chat.settings(self.choices)

    def message(self) -> tuple[str, Settings]:
        """The text after the command; without one, the last message as it was answered."""
        if self.text:
            return self.text, self.settings
        turn = self.chat.turns.newest()
        return turn.text, turn.settings

    async def answer(self, text: str) -> Turn:
        """Asks both methods about ``text``, whatever the profile."""
        return await answer(self.workers, self.chat, text, PROFILES["Compare"], self.choices)


# --- the answer again, or all of them -----------------------------------------------------------


async def compare(invocation: Invocation) -> None:
    """Asks both methods, whatever the profile."""
    await invocation.answer(invocation.message()[0])


async def table(invocation: Invocation) -> None:
    """Lists this chat's answers."""
    turns = invocation.chat.turns.values()
    if not turns:
        raise TuneshotError("there are no answers in this chat yet; send a message first")
    answers = table_element(
        say("The answers of this chat, oldest first"),
        [say("Message"), *map(method_title, PROFILES["Compare"])],
        [_row(turn) for turn in turns],
    )
    await cl.Message(content=say("{count} answers.", count=len(turns)), elements=[answers]).send()


def _row(turn: Turn) -> list[str]:
    labels = {
        result.method: translated_label(result.label)
        for result in turn.reply.results
        if result.prediction
    }
    text = shorten(turn.text, 200, placeholder=" …")
    return [text, *(labels.get(method, "–") for method in PROFILES["Compare"])]


async def batch(invocation: Invocation) -> None:
    """Classifies a file; asks for one if none came along."""
    path, name = invocation.file or await ask_for_file()
    await classify_file(invocation.workers, path, name, invocation.methods, invocation.settings)


# --- why ----------------------------------------------------------------------------------------


async def show_prompt(workers: Workers, text: str, settings: Settings) -> None:
    """Shows the exact prompt, to be copied."""
    check_message(text)
    prompt = await workers.run(exact_prompt, "few_shot", settings, text)
    await cl.Message(content=prompt, language="text").send()


async def explain(workers: Workers, text: str, settings: Settings) -> None:
    """Draws which words moved the fine-tuned answer, and where the message is in the pool.

    A method that cannot be explained says why; the other is drawn.
    """
    check_message(text)
    try:
        attribution = await workers.run(word_effects, "fine_tuned", settings, text)
        effects = [(word.text, word.effect) for word in attribution.words]
        drawing = figures.word_effects(
            effects, translated_label(attribution.label), attribution.unit
        )
        await show(drawing, "words", say(OCCLUSION))
    except TuneshotError as error:
        await cl.Message(content=paragraphs(f"{method_title('fine_tuned')}: {error}.")).send()
    try:
        around = await workers.run(surroundings, "few_shot", settings, text)
        await show(around.pool, "pool", say(POOL))
        if around.votes:
            await show(around.votes, "votes")
    except TuneshotError as error:
        await cl.Message(content=paragraphs(f"{method_title('few_shot')}: {error}.")).send()


OCCLUSION = (
    "Fine-tuned: each bar is what changes when that word is left out (occlusion). It says what "
    "this model does, not why a person would; where words repeat each other, no single one counts "
    "for much."
)
POOL = "Few-shot: the messages that can be shown, and those that were."


async def sweep(workers: Workers, text: str, settings: Settings) -> None:
    """Draws how the few-shot answer changes with k and with the order of the examples.

    Stopping it lets the language model answer its present question, and no other.

    Raises:
        TuneshotError: the settings do not allow an answer.
    """
    check_message(text)
    waiting = await cl.Message(content=say("Asking again with other examples …")).send()
    stopped = Event()
    try:
        result = await workers.run(
            partial(vary_examples, stopped.is_set), "few_shot", settings, text, background=True
        )
    finally:
        stopped.set()
        await waiting.remove()
    drawing = figures.sweep_lines(
        translated_label(result.label),
        [(a.k, a.probabilities[result.label]) for a in result.by_k if a.label is not None],
        [a.probabilities[result.label] for a in result.by_order if a.label is not None],
        result.k,
    )
    lines = [f"k = {k}: {reason}." for k, reason in result.skipped.items()]
    lines += [f"k = {a.k}: {say(NO_ANSWER)}." for a in result.by_k if a.label is None]
    if result.by_order:
        lines.append(
            say("Another order of the same examples changes the answer.")
            if result.flipped
            else say("No order that was tried changes the answer.")
        )
    await show(drawing, "sweep", *lines)


def on_message(
    action: Callable[[Workers, str, Settings], Awaitable[None]],
) -> Callable[[Invocation], Awaitable[None]]:
    """A command that does ``action`` for its text or the last message."""

    async def run(invocation: Invocation) -> None:
        await action(invocation.workers, *invocation.message())

    return run


# --- new examples -------------------------------------------------------------------------------


async def add_example(invocation: Invocation) -> None:
    """Adds a labelled message to this chat's pool, and shows what it changed."""
    chat, task = invocation.chat, invocation.settings.task
    labels = TASKS[task].labels
    if not invocation.text:
        added = [f"{translated_label(e.label)}: {e.text}" for e in chat.added.get(task, ())]
        usage = say("Teach it: /teach {label} and the message.", label=translated_label(labels[-1]))
        added = added or [say("Nothing has been taught in this chat yet.")]
        await cl.Message(content=paragraphs(*added, usage)).send()
        return
    label, text = labelled(invocation.text, labels)
    check_message(text)
    chat.add_example(task, Example(text, label))
    count = len(chat.added[task])
    more = say("1 more message") if count == 1 else say("{count} more messages", count=count)
    label_word = translated_label(label)
    await cl.Message(content=paragraphs(say(EXAMPLE_ADDED, label=label_word, more=more))).send()
    turn = await invocation.answer(text)
    few_shot = next(result for result in turn.reply.results if result.method == "few_shot")
    if few_shot.prediction and few_shot.prediction.label != label:
        await cl.Message(content=paragraphs(say(STILL_ANOTHER_LABEL, label=label_word))).send()


EXAMPLE_ADDED = (
    "Learned as {label}: this chat's pool has {more}. Few-shot can be shown it at once; "
    "fine-tuning knows nothing of it until /train."
)
STILL_ANOTHER_LABEL = (
    "Few-shot can be shown this message as {label}, and still says something else. The other "
    "examples weigh as much, and their order counts: try k = 1, or another order (/sweep)."
)


def labelled(text: str, labels: tuple[str, ...]) -> tuple[str, str]:
    """A label and the message after it.

    The label is the task's or the page's word for it, in any case; a colon may follow.

    Raises:
        TuneshotError: it starts with no label, or nothing comes after it.
    """
    names = {
        (name, label)
        for label in labels
        for name in (label, display_label(label), translated_label(label))
    }
    for name, label in sorted(names, key=lambda pair: -len(pair[0])):  # "not spam" before "spam"
        if text.lower().startswith(name.lower()):
            rest = text[len(name) :]
            if rest[:1] in (" ", ":", "\t", "\n") and (message := rest.lstrip(" :\t\n")):
                return label, message
    choices = " or ".join(map(translated_label, labels))
    raise TuneshotError(f"teach with the label first ({choices}), then the message")


async def train(invocation: Invocation) -> None:
    """Fine-tunes on the added messages, and asks about the last of them again."""
    settings = invocation.settings
    await fine_tune(invocation.workers.session, invocation.chat, settings)
    await invocation.answer(invocation.chat.added[settings.task][-1].text)


# --- the comparison -----------------------------------------------------------------------------


async def report(invocation: Invocation) -> None:
    """Shows the latest comparison of both methods."""
    await send_report()


# --- the lecture's labs -------------------------------------------------------------------------


async def cost(invocation: Invocation) -> None:
    """Says what training a language model costs."""
    await show_cost(invocation.text)


async def quantize(invocation: Invocation) -> None:
    """Shows what fewer bits a weight cost."""
    await show_quantization()


async def forget(invocation: Invocation) -> None:
    """Shows what a model forgets when it learns something new."""
    await show_forgetting()


# --- the list -----------------------------------------------------------------------------------


async def help(invocation: Invocation) -> None:
    """Lists the commands."""
    content = "\n\n".join(
        f"**/{name}** {escape_markdown(say(command.description))}"
        for name, command in COMMANDS.items()
    )
    await cl.Message(content=content).send()


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        description: what it does, in English.
        icon: of Lucide.
        run: does it.
    """

    description: str
    icon: str
    run: Callable[[Invocation], Awaitable[None]]


COMMANDS: dict[str, Command] = {
    "compare": Command("Ask both methods", "columns-2", compare),
    "prompt": Command("Show the exact prompt", "scroll-text", on_message(show_prompt)),
    "why": Command("Draw what moved the answers", "search", on_message(explain)),
    "sweep": Command("Try other numbers and orders of examples", "chart-line", on_message(sweep)),
    "teach": Command("Add a labelled message to this chat's pool", "graduation-cap", add_example),
    "train": Command("Fine-tune on what this chat was taught", "dumbbell", train),
    "batch": Command("Classify a file of messages", "files", batch),
    "table": Command("List this chat's answers", "table", table),
    "report": Command("Show the latest comparison of the methods", "chart-spline", report),
    "attention": Command("Draw which token looks at which", "grid-3x3", on_message(show_attention)),
    "cost": Command("Say what training a language model costs", "coins", cost),
    "quantize": Command("Show what fewer bits a weight cost", "binary", quantize),
    "forget": Command("Show what a model forgets when it learns something new", "brain", forget),
    "help": Command("List the commands", "circle-help", help),
}


def command_list() -> list[CommandDict]:
    """The commands as Chainlit wants them."""
    return [
        {
            "id": name,
            "description": say(command.description),
            "icon": command.icon,
            "button": False,
            "persistent": False,
            "selected": False,
        }
        for name, command in COMMANDS.items()
    ]


def split_command(text: str, command: str | None) -> tuple[str | None, str]:
    """The command of a message, if it is one, and what follows it.

    Args:
        text: the message.
        command: what was picked from the list, if anything.
    """
    if command:
        return command, text.strip()
    match = re.fullmatch(r"/([a-z]{3,})(?:\s+(.*))?", text.strip(), re.DOTALL)
    if not match:  # "/s" ends a joke, and "/home/me" is a path
        return None, text
    return match[1], match[2] or ""


async def run_command(name: str, invocation: Invocation) -> None:
    """Runs a command.

    Raises:
        TuneshotError: it is unknown, or says why it cannot run.
    """
    if name not in COMMANDS:
        raise unknown_choice("command", name, COMMANDS)
    await COMMANDS[name].run(invocation)
