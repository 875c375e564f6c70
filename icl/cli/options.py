"""Command-line options that several commands share, as settings dataclasses."""

import inspect
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from clfcore.cli.options import with_config, with_settings
from clfcore.cli.terminal import Command, print_note
from clfcore.config import DEFAULT_LM, setting
from clfcore.data.columns import MESSAGES, Columns
from clfcore.errors import TuneshotError, unknown_choice
from icl.lm.connection import Connection
from icl.lm.open import API
from icl.pool.embed import DEFAULT_EMBEDDER
from icl.prompt.tasks import Task
from icl.recipe import Recipe
from icl.selectors.table import SELECTORS
from icl.settings import EXAMPLES, FewShotConfig, Option, read_option

TASK, LM = "The task", "The language model"  # headings of --help

# What a prompt shows; how many examples, and the seed, are for the command itself to say.
PROMPT_FIELDS = (
    "selector", "options", "balance", "order", "near", "longest", "chat", "prompt_tokens",
)  # fmt: skip

Questions = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Labelled messages to ask about; default: the task's test part. Without --pool, these "
        "are split into examples and questions.",
        rich_help_panel=MESSAGES,
    ),
]
Balanced = Annotated[
    bool,
    typer.Option(
        help="Ask about as many of each label, or the data's own shares.", rich_help_panel=MESSAGES
    ),
]


@dataclass(frozen=True, slots=True)
class TaskSource(Columns):
    """What is asked, and where its labelled messages come from.

    The columns are those of every table of the user's: task, pool, questions.
    """

    task: str = setting(
        "sms_spam", "What is asked: see icl tasks; or a labelled file of yours.", TASK
    )
    folder: Path | None = setting(
        None, "Where tables of the tasks are; default: Hugging Face.", TASK
    )
    pool: Path | None = setting(
        None, "Labelled messages to show; default: the task's training part.", TASK
    )


@dataclass(frozen=True, slots=True)
class ModelChoice(Connection):
    """Which models are asked: the language model, and the one that finds similar messages."""

    lm: str = setting(
        DEFAULT_LM,
        "A transformers folder, a GGUF file or a Hugging Face name (in bfloat16 if the processor "
        "has it, unless bf16: or fp32: before it decides), or api: and a name of LiteLLM's "
        "(api:openai/gpt-4o-mini).",
        LM,
    )
    embedder: str = setting(
        DEFAULT_EMBEDDER,
        "What finds similar messages: a sentence-transformers folder or Hugging Face name.",
        LM,
    )

    def asking(self, lm: str) -> "ModelChoice":
        """The same with another language model; one on this machine has no address."""
        return replace(self, lm=lm, base_url=self.base_url if lm.startswith(API) else None)


@dataclass(frozen=True, slots=True)
class FewShotOptions(FewShotConfig):
    """The settings of a command line, and the recipe that some of them come from."""

    recipe: str = setting(
        "",
        "Settings that icl tune has chosen, a JSON file; options that are given beside it win.",
        EXAMPLES,
    )

    def check_task(self, task: Task) -> None:
        """Raises ``TuneshotError`` if settings or recipe are for other tasks."""
        FewShotConfig.check_task(self, task)
        if self.recipe:
            Recipe.read(Path(self.recipe)).check_labels(task.labels)


def with_few_shot_settings(command: Command) -> Command:
    """Gives a command options for a ``TaskSource``, a ``ModelChoice`` and ``FewShotOptions``.

    Its parameters are ``source``, ``models`` and ``settings``.
    """

    @wraps(command)
    def with_recipe(context: typer.Context, settings: dict[str, Any], **others: Any) -> None:  # noqa: ANN401
        sources = {name: context.get_parameter_source(name) for name in settings}
        given = {name for name, source in sources.items() if source and source.name != "DEFAULT"}
        try:
            made = _few_shot_options(given, **settings)
        except TuneshotError as error:
            raise typer.BadParameter(str(error)) from error
        if made.without_effect:
            words = ", ".join(f"{name} {getattr(made, name)}" for name in made.without_effect)
            print_note(f"without effect beside the other settings: {words}")
        command(settings=made, **others)

    own = inspect.signature(command)
    context = inspect.Parameter(
        "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    with_recipe.__signature__ = own.replace(parameters=[context, *own.parameters.values()])  # type: ignore[attr-defined]
    with_options = with_settings(FewShotOptions, defaults=True)(with_recipe)
    return with_config(TaskSource, "source")(with_config(ModelChoice, "models")(with_options))


def with_prompt_settings(command: Command) -> Command:
    """Gives a command options for what a prompt shows; its parameter is ``prompt``."""
    others = [each.name for each in fields(FewShotConfig) if each.name not in PROMPT_FIELDS]
    make = partial(_few_shot_options, (), "")
    return with_config(FewShotConfig, "prompt", make, without=others)(command)


def _few_shot_options(
    given: Collection[str],
    recipe: str,
    options: Iterable[str] = (),
    **settings: Any,  # noqa: ANN401
) -> FewShotOptions:
    """The settings of a command line.

    Args:
        given: those that a person has chosen; the rest are defaults, and a recipe's win over them.
        recipe: the name of its file, or nothing.
        options: of the selector, as they are written.
        settings: the other fields.
    """
    kept: Mapping[str, Option] = {}
    if recipe:
        own = {name: value for name, value in settings.items() if name in given}
        settings = Recipe.read(Path(recipe)).settings_with(own)
        kept = settings.pop("options")
    if settings["selector"] not in SELECTORS:  # else its options could not be read
        raise unknown_choice("selector", settings["selector"], SELECTORS)
    read = dict(read_option(settings["selector"], each) for each in options)
    return FewShotOptions(recipe=recipe, options={**kept, **read}, **settings)
