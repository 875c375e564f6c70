"""What a visitor can ask for with a slash; ``COMMANDS`` is the list the page offers.

A command comes as Chainlit's own (picked from the list), or as the first word of a message.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from threading import Event

import chainlit as cl
from chainlit.types import CommandDict

from clfcore.errors import TuneshotError, unknown_choice
from clfcore.types import Example
from icl.chat.actions.reports import send_report
from icl.chat.actions.training import train as learn
from icl.chat.actions.upload import ask_for_file, classify_file
from icl.chat.cards import label_word, method_title, plain
from icl.chat.conversation import answer, show
from icl.chat.language import say
from icl.chat.state import Chat, Turn
from icl.figures.answers import sweep_lines, word_effects
from icl.prompt.tasks import TASKS
from icl.session.jobs import Vary, places, prompts, word, words
from icl.session.settings import Settings
from icl.session.workers import Workers


@dataclass(frozen=True)
class Asked:
    """A command as it was given.

    Attributes:
        workers: what answers.
        chat: its memory.
        text: what stands after the command.
        choices: of the pickers.
        methods: what the profile asks.
        file: what came with it: where it is, and its name.
    """

    workers: Workers
    chat: Chat
    text: str
    choices: Mapping[str, str] | None
    methods: tuple[str, ...] = ("fine_tuned", "few_shot")
    file: tuple[Path, str] | None = None

    @property
    def settings(self) -> Settings:
        """How a message would be answered now."""
        return self.chat.settings(self.choices)

    def message(self) -> tuple[str, Settings]:
        """The text after the command; without one, the last message as it was answered."""
        if self.text:
            return self.text, self.settings
        turn = self.chat.recall()
        return turn.text, turn.settings


# --- the answer again, or all of them -----------------------------------------------------------


async def compare(asked: Asked) -> None:
    """Asks both methods, whatever the profile."""
    text, _ = asked.message()
    await answer(asked.workers, asked.chat, text, "Compare", asked.choices)


async def prompt(asked: Asked) -> None:
    """Shows the exact prompt, to be copied."""
    text, settings = asked.message()
    asked.workers.session.asked(text, "Few-shot")
    exact = await asked.workers.do(prompts, "few_shot", settings, text)
    await cl.Message(content=exact, language="text").send()


async def table(asked: Asked) -> None:
    """Lists this chat's answers."""
    turns = asked.chat.turns.values()
    if not turns:
        raise TuneshotError("there are no answers in this chat yet; send a message first")
    props = {
        "caption": say("The answers of this chat, oldest first"),
        "columns": [say("Message"), method_title("fine_tuned"), method_title("few_shot")],
        "rows": [_row(turn) for turn in turns],
    }
    drawn = cl.CustomElement(name="AnswersTable", props=props, display="inline")
    await cl.Message(content=say("{count} answers.", count=len(turns)), elements=[drawn]).send()


def _row(turn: Turn) -> list[str]:
    said = {
        side.method: label_word(side.prediction.label)
        for side in turn.reply.sides
        if side.prediction
    }
    return [
        shorten(turn.text, 200, placeholder=" …"),
        said.get("fine_tuned", "–"),
        said.get("few_shot", "–"),
    ]


async def batch(asked: Asked) -> None:
    """Classifies a file; asks for one if none came along."""
    path, name = asked.file or await ask_for_file()
    await classify_file(asked.workers, path, name, asked.methods, asked.settings)


# --- why ----------------------------------------------------------------------------------------


async def why(asked: Asked) -> None:
    """Draws what moved the answers."""
    await explain(asked.workers, *asked.message())


async def explain(workers: Workers, text: str, settings: Settings) -> None:
    """Draws which words moved the fine-tuned answer, and where the message stands in the pool.

    A side that cannot be explained says why; the other is drawn.
    """
    workers.session.asked(text, "Compare")
    try:
        found = await workers.do(words, "fine_tuned", settings, text)
        effects = [(each.text, each.effect) for each in found.words]
        await show(
            word_effects(effects, label_word(found.label), found.unit), "words", say(OCCLUSION)
        )
    except TuneshotError as error:
        await cl.Message(content=plain(f"{method_title('fine_tuned')}: {error}.")).send()
    try:
        around = await workers.do(places, "few_shot", settings, text)
        await show(around.pool, "pool", say(POOL))
        if around.votes:
            await show(around.votes, "votes")
    except TuneshotError as error:
        await cl.Message(content=plain(f"{method_title('few_shot')}: {error}.")).send()


OCCLUSION = (
    "Fine-tuned: each bar is what changes when that word is left out (occlusion). It says what "
    "this model does, not why a person would; where words repeat each other, no single one counts "
    "for much."
)
POOL = "Few-shot: the messages that can be shown, and those that were."


async def sweep(asked: Asked) -> None:
    """Asks again with other numbers and orders of examples."""
    await vary(asked.workers, *asked.message())


async def vary(workers: Workers, text: str, settings: Settings) -> None:
    """Draws how the few-shot answer changes with k and with the order of the examples.

    Stopping it lets the language model answer the question it is at, and no other.

    Raises:
        TuneshotError: the settings do not allow an answer.
    """
    workers.session.asked(text, "Few-shot")
    waiting = await cl.Message(content=say("Asking again with other examples …")).send()
    stopped = Event()
    try:
        found = await workers.do(Vary(stopped.is_set), "few_shot", settings, text, background=True)
    finally:
        stopped.set()
        await waiting.remove()
    drawing = sweep_lines(
        label_word(found.label),
        [(at.k, at.probabilities[found.label]) for at in found.by_k],
        [at.probabilities[found.label] for at in found.by_order],
        found.k,
    )
    lines = [f"k = {k}: {reason}." for k, reason in found.skipped.items()]
    if found.by_order:
        lines.append(
            say("Another order of the same examples changes the answer.")
            if found.flipped
            else say("No order that was tried changes the answer.")
        )
    await show(drawing, "sweep", *lines)


# --- teaching -----------------------------------------------------------------------------------


async def teach(asked: Asked) -> None:
    """Adds a labelled message to this chat's pool, and shows what it changed."""
    settings = asked.settings
    labels = TASKS[settings.task].labels
    if not asked.text:
        known = asked.chat.taught.get(settings.task, ())
        lines = [f"{label_word(example.label)}: {example.text}" for example in known]
        listed = lines or [say("Nothing has been taught in this chat yet.")]
        example = say("Teach it: /teach {label} and the message.", label=label_word(labels[-1]))
        await cl.Message(content="\n\n".join(plain(line) for line in [*listed, example])).send()
        return
    label, text = labelled(asked.text, labels)
    asked.workers.session.asked(text, "Compare")
    asked.chat.teach(settings.task, Example(text, label))
    count = len(asked.chat.taught[settings.task])
    more = say("1 more message") if count == 1 else say("{count} more messages", count=count)
    learned = say(LEARNED, label=label_word(label), more=more)
    await cl.Message(content=plain(learned)).send()
    turn = await answer(asked.workers, asked.chat, text, "Compare", asked.choices)
    few_shot = next(side for side in turn.reply.sides if side.method == "few_shot")
    if few_shot.prediction and few_shot.prediction.label != label:
        await cl.Message(content=plain(say(NOT_YET, label=label_word(label)))).send()


LEARNED = (
    "Learned as {label}: this chat's pool has {more}. Few-shot can be shown it at once; "
    "fine-tuning knows nothing of it until /train."
)
NOT_YET = (
    "Few-shot can be shown this message as {label}, and still says something else. The other "
    "examples weigh as much, and their order counts: try k = 1, or another order (/sweep)."
)


def labelled(text: str, labels: tuple[str, ...]) -> tuple[str, str]:
    """A label and the message after it.

    The label is the task's or the page's word for it, in any case; a colon may follow.

    Raises:
        TuneshotError: it starts with no label, or nothing comes after it.
    """
    # "not spam" before "spam"
    spoken = sorted(
        {(name, label) for label in labels for name in (label, word(label), label_word(label))},
        key=lambda pair: -len(pair[0]),
    )
    for name, label in spoken:
        if text.lower().startswith(name.lower()):
            rest = text[len(name) :]
            if rest[:1] in (" ", ":", "\t", "\n") and (message := rest.lstrip(" :\t\n")):
                return label, message
    known = " or ".join(label_word(label) for label in labels)
    raise TuneshotError(f"teach with the label first ({known}), then the message")


async def train(asked: Asked) -> None:
    """Fine-tunes on what was taught, and asks about the last of it again."""
    settings = asked.settings
    await learn(asked.workers.session, asked.chat, settings)
    newest = asked.chat.taught[settings.task][-1]
    await answer(asked.workers, asked.chat, newest.text, "Compare", asked.choices)


# --- the comparison -----------------------------------------------------------------------------


async def report(asked: Asked) -> None:
    """Shows the latest comparison of both methods."""
    await send_report()


# --- the list -----------------------------------------------------------------------------------


async def help(asked: Asked) -> None:
    """Lists the commands."""
    lines = [f"**/{name}** {plain(say(command.words))}" for name, command in COMMANDS.items()]
    await cl.Message(content="\n\n".join(lines)).send()


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        words: what it does.
        icon: of Lucide.
        run: does it.
    """

    words: str
    icon: str
    run: Callable[[Asked], Awaitable[None]]


COMMANDS: dict[str, Command] = {
    "compare": Command("Ask both methods", "columns-2", compare),
    "prompt": Command("Show the exact prompt", "scroll-text", prompt),
    "why": Command("Draw what moved the answers", "search", why),
    "sweep": Command("Try other numbers and orders of examples", "chart-line", sweep),
    "teach": Command("Add a labelled message to this chat's pool", "graduation-cap", teach),
    "train": Command("Fine-tune on what this chat was taught", "dumbbell", train),
    "batch": Command("Classify a file of messages", "files", batch),
    "table": Command("List this chat's answers", "table", table),
    "report": Command("Show the latest comparison of the methods", "chart-spline", report),
    "help": Command("List the commands", "circle-help", help),
}


def offered() -> list[CommandDict]:
    """The commands as Chainlit wants them."""
    return [
        {
            "id": name,
            "description": say(command.words),
            "icon": command.icon,
            "button": False,
            "persistent": False,
            "selected": False,
        }
        for name, command in COMMANDS.items()
    ]


def split(text: str, command: str | None) -> tuple[str | None, str]:
    """The command of a message, if it is one, and what stands after it.

    Args:
        text: the message.
        command: what was picked from the list, if anything.

    Raises:
        TuneshotError: a slash, and a word that is no command.
    """
    if command:
        return command, text.strip()
    match = re.fullmatch(r"/([a-z]{3,})(?:\s+(.*))?", text.strip(), re.DOTALL)
    if not match:  # "/s" ends a joke, and "/home/me" is a path
        return None, text
    name, rest = match.groups()
    if name not in COMMANDS:
        raise unknown_choice("command", name, COMMANDS)
    return name, rest or ""


async def obey(name: str, asked: Asked) -> None:
    """Runs a command.

    Raises:
        TuneshotError: it is unknown, or says why it cannot run.
    """
    if name not in COMMANDS:
        raise unknown_choice("command", name, COMMANDS)
    await COMMANDS[name].run(asked)
