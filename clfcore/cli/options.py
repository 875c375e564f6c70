"""Command-line options made from a settings dataclass: one for each field made by ``setting``."""

import inspect
from collections.abc import Callable, Collection
from dataclasses import MISSING, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from clfcore.cli.terminal import Command
from clfcore.config import Checked, option_name
from clfcore.errors import TuneshotError

SCALARS = (str, int, float, bool, Path)


def with_settings(
    config: type[Checked],
    *,
    defaults: bool,
    without: Collection[str] = (),
    parameter: str = "settings",
) -> Callable[[Command], Command]:
    """Gives a command one option for each field of ``config``.

    The command has a parameter whose place the options take: it gets a dict of the values by
    field. An option whose value is not a string, number or path is a list of strings.

    Args:
        config: whose fields these are; its own before those that it inherits.
        defaults: show and fill in the defaults of ``config``; else an option that was not given is
            missing in the dict.
        without: fields that get no option.
        parameter: the name of the command's parameter.
    """
    own = inspect.get_annotations(config)
    options = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=each.default if defaults and each.default is not MISSING else None,
            annotation=_annotation(each),
        )
        for each in sorted(fields(config), key=lambda each: each.name not in own)  # type: ignore[arg-type]
        if "setting" in each.metadata and each.name not in without
    ]
    names = [option.name for option in options]

    def decorate(command: Command) -> Command:
        parameters: list[inspect.Parameter] = []
        for each in inspect.signature(command).parameters.values():
            parameters += (
                options
                if each.name == parameter
                else [each.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
            )

        @wraps(command)
        def with_options(**values: Any) -> None:  # noqa: ANN401
            settings = {name: values.pop(name) for name in names}
            settings = {name: value for name, value in settings.items() if value is not None}
            command(**{parameter: settings}, **values)

        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {each.name: each.annotation for each in parameters}
        return with_options

    return decorate


def with_config(
    config: type[Checked],
    parameter: str = "settings",
    make: Callable[..., Checked] | None = None,
    *,
    without: Collection[str] = (),
) -> Callable[[Command], Command]:
    """As ``with_settings``, but the parameter gets a ``config``; what it refuses is bad usage.

    Args:
        config: whose fields are options, with their defaults.
        parameter: the name of the command's parameter.
        make: what makes a ``config`` of the values, where that is not ``config`` itself.
        without: fields that get no option, but keep their defaults.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_made(**values: Any) -> None:  # noqa: ANN401
            try:
                made = (make or config)(**values.pop(parameter))
            except TuneshotError as error:
                raise typer.BadParameter(str(error)) from error
            command(**{parameter: made}, **values)

        options = with_settings(config, defaults=True, without=without, parameter=parameter)
        return options(with_made)

    return decorate


def _annotation(field: Any) -> Any:  # noqa: ANN401
    """Type and option of a field, as Typer reads them."""
    about = field.metadata["setting"]
    kind = next((kind for kind in SCALARS if field.type in (kind, kind | None)), None)
    choices = f" One of {', '.join(about.choices)}." if about.choices is not None else ""
    return Annotated[
        (kind or list[str]) | None,
        typer.Option(
            option_name(field),
            help=about.help + choices,
            rich_help_panel=about.group or None,
            metavar=None if kind else "NAME=VALUE",
        ),
    ]
