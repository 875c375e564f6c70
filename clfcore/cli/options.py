"""Command-line options made from a settings dataclass: one for each field made by ``setting``."""

import inspect
from collections.abc import Callable, Collection
from dataclasses import MISSING, fields
from functools import wraps
from typing import Annotated, Any

import typer

from clfcore.cli.terminal import Command
from clfcore.config import Checked, option_name


def with_settings(
    config: type[Checked], *, defaults: bool, only: Collection[str] = ()
) -> Callable[[Command], Command]:
    """Gives a command one option for each field of ``config``.

    The command has a parameter ``settings``, whose place the options take: it gets a dict of the
    values by field. An option whose value is not a string or a number is a list of strings.

    Args:
        config: whose fields these are.
        defaults: show and fill in the defaults of ``config``; else an option that was not given is
            missing in the dict.
        only: these fields; by default all of them.
    """
    options = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=each.default if defaults and each.default is not MISSING else None,
            annotation=_annotation(each),
        )
        for each in fields(config)  # type: ignore[arg-type]
        if "setting" in each.metadata and each.name in (only or (each.name,))
    ]
    names = [option.name for option in options]

    def decorate(command: Command) -> Command:
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command).parameters.values():
            parameters += (
                options
                if parameter.name == "settings"
                else [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
            )

        @wraps(command)
        def with_options(**values: Any) -> None:  # noqa: ANN401
            settings = {name: values.pop(name) for name in names}
            settings = {name: value for name, value in settings.items() if value is not None}
            command(settings=settings, **values)

        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {each.name: each.annotation for each in parameters}
        return with_options

    return decorate


def _annotation(field: Any) -> Any:  # noqa: ANN401
    """Type and option of a field, as Typer reads them."""
    about = field.metadata["setting"]
    scalar = field.type in (str, int, float, bool)
    kind = field.type if scalar else list[str]
    choices = f" One of {', '.join(about.choices)}." if about.choices is not None else ""
    return Annotated[
        kind | None,
        typer.Option(
            option_name(field),
            help=about.help + choices,
            rich_help_panel=about.group or None,
            metavar=None if scalar else "NAME=VALUE",
        ),
    ]
