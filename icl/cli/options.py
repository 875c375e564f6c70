"""Command-line options that several commands share."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from clfcore.errors import TuneshotError, unknown_choice
from icl.selectors.table import SELECTORS
from icl.settings import CHOICES, FewShotConfig, read_option

# --- options that commands share ----------------------------------------------------------------

TaskName = Annotated[
    str, typer.Option("--task", help="What is asked: see icl tasks; or a labelled file of yours.")
]
Folder = Annotated[
    Path | None,
    typer.Option("--folder", help="Where tables of the tasks are; default: Hugging Face."),
]
PoolPath = Annotated[
    Path | None,
    typer.Option("--pool", help="Labelled messages to show; default: the task's training part."),
]
ModelName = Annotated[
    str,
    typer.Option(
        "--lm",
        help="A transformers folder, a GGUF file or a Hugging Face name (bf16: before it for "
        "half the memory), or api: and a name of LiteLLM's (api:openai/gpt-4o-mini).",
    ),
]
BaseUrl = Annotated[
    str | None, typer.Option(help="Of a server with OpenAI's protocol, for a model api:…")
]
LM_NAME = "SmolLM2-135M-Instruct"

_HELP = {
    "selector": "How examples are chosen.",
    "options": "An option of the selector; see icl selectors.",
    "k": "How many examples to show.",
    "balance": "How many of each label.",
    "order": "Their order in the prompt.",
    "near": "Leave out messages as similar as this (cosine) to a better one.",
    "longest": "Leave out messages of more tokens; 0: none.",
    "chat": "Show examples as turns of a chat, for models made for chats.",
    "scoring": "What counts as the score of a label.",
    "calibration": "Take out what the prompt says without a message.",
    "shares": "With a calibration: how frequent labels are expected to be.",
    "seed": "For what is random.",
}


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command one option for each field of ``FewShotConfig``, as ``settings``."""
    own = inspect.signature(command).parameters
    options = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None if field.name == "options" else field.default,
            annotation=_annotation(field.name, type(field.default)),
        )
        for field in fields(FewShotConfig)
    ]
    kept = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in own.items()
        if name != "settings"
    ]

    @wraps(command)
    def wrapped(**given: Any) -> None:  # noqa: ANN401
        chosen = {option.name: given.pop(option.name) for option in options}
        try:
            settings = _settings(chosen)
        except TuneshotError as error:  # bad usage
            raise typer.BadParameter(str(error).removeprefix("bad FewShotConfig: ")) from error
        command(settings=settings, **given)

    parameters = [*kept, *options]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {each.name: each.annotation for each in parameters}
    return wrapped


def _settings(chosen: dict[str, Any]) -> FewShotConfig:
    selector, assignments = chosen["selector"], chosen["options"] or ()
    if selector not in SELECTORS:
        raise unknown_choice("selector", selector, SELECTORS)
    options = dict(read_option(selector, text) for text in assignments)
    return FewShotConfig(**{**chosen, "options": options})


def _annotation(name: str, kind: type) -> Any:  # noqa: ANN401
    if name == "options":
        return Annotated[list[str] | None, typer.Option("--set", help=_HELP[name], metavar="N=V")]
    more: dict[str, Any] = {"metavar": "|".join(CHOICES[name])} if name in CHOICES else {}
    names = ["-k"] if name == "k" else []
    return Annotated[kind, typer.Option(*names, help=_HELP[name], **more)]
