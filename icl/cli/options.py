"""Command-line options that several commands share."""

from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from clfcore.cli.options import with_settings
from clfcore.cli.terminal import Command
from clfcore.errors import TuneshotError, unknown_choice
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig, read_option

TASK, LM = "The task", "The language model"  # headings of --help

TaskName = Annotated[
    str,
    typer.Option(
        "--task",
        help="What is asked: see icl tasks; or a labelled file of yours.",
        rich_help_panel=TASK,
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        help="Where tables of the tasks are; default: Hugging Face.",
        rich_help_panel=TASK,
    ),
]
PoolPath = Annotated[
    Path | None,
    typer.Option(
        "--pool",
        help="Labelled messages to show; default: the task's training part.",
        rich_help_panel=TASK,
    ),
]
ModelName = Annotated[
    str,
    typer.Option(
        "--lm",
        help="A transformers folder, a GGUF file or a Hugging Face name (bf16: before it for "
        "half the memory), or api: and a name of LiteLLM's (api:openai/gpt-4o-mini).",
        rich_help_panel=LM,
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option(help="Of a server with OpenAI's protocol, for a model api:…", rich_help_panel=LM),
]


def with_few_shot_settings(command: Command) -> Command:
    """Gives a command one option for each field of ``FewShotConfig``, as ``settings``."""

    @wraps(command)
    def checked(settings: dict[str, Any], **values: Any) -> None:  # noqa: ANN401
        selector, assignments = settings["selector"], settings.pop("options", ())
        try:
            if selector not in SELECTORS:  # else its options could not be read
                raise unknown_choice("selector", selector, SELECTORS)
            options = dict(read_option(selector, each) for each in assignments)
            config = FewShotConfig(**settings, options=options)
        except TuneshotError as error:  # bad usage
            raise typer.BadParameter(str(error)) from error
        command(settings=config, **values)

    return with_settings(FewShotConfig, defaults=True)(checked)
