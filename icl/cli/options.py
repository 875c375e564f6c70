"""Command-line options that several commands share, as settings dataclasses."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from clfcore.cli.options import with_config
from clfcore.cli.terminal import Command
from clfcore.config import DEFAULT_LM, setting
from clfcore.data.columns import MESSAGES, Columns
from clfcore.errors import unknown_choice
from icl.lm.connection import Connection
from icl.lm.open import API
from icl.pool.embed import DEFAULT_EMBEDDER
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig, read_option

TASK, LM = "The task", "The language model"  # headings of --help

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
        "A transformers folder, a GGUF file or a Hugging Face name (bf16: before it for half the "
        "memory), or api: and a name of LiteLLM's (api:openai/gpt-4o-mini).",
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


def with_few_shot_settings(command: Command) -> Command:
    """Gives a command options for a ``TaskSource``, a ``ModelChoice`` and a ``FewShotConfig``.

    Its parameters are ``source``, ``models`` and ``settings``.
    """
    command = with_config(FewShotConfig, "settings", _few_shot_config)(command)
    return with_config(TaskSource, "source")(with_config(ModelChoice, "models")(command))


def _few_shot_config(selector: str, options: Any = (), **settings: Any) -> FewShotConfig:  # noqa: ANN401
    if selector not in SELECTORS:  # else its options could not be read
        raise unknown_choice("selector", selector, SELECTORS)
    read = dict(read_option(selector, each) for each in options)
    return FewShotConfig(selector=selector, options=read, **settings)
