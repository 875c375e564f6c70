"""A recipe: settings that were chosen for some labels, and what that choice rests on, as JSON."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, Self

from clfcore.errors import TuneshotError
from clfcore.json_text import to_json
from clfcore.paths import atomic_write
from clfcore.types import OnProgress
from icl.lm.base import LM
from icl.pool.embed import Embedder
from icl.pool.pool import Pool
from icl.prompt.tasks import Task
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig, options_of


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings for messages with certain labels.

    Attributes:
        task: the name of the task that they were chosen for.
        labels: all of it; the recipe is for these only.
        settings: all of them; the seed, too.
        lm: the language model that they were chosen with; "" without one.
        embedder: what found similar messages.
        basis: how they were chosen: figures, and a sentence. Nothing depends on it.
    """

    task: str
    labels: tuple[str, ...]
    settings: FewShotConfig
    lm: str = ""
    embedder: str = ""
    basis: Mapping[str, Any] = field(default_factory=dict)

    def check_labels(self, labels: Collection[str]) -> None:
        """Refuses other labels than the recipe's.

        Raises:
            TuneshotError: some are missing, or there are others.
        """
        if set(labels) != set(self.labels):
            raise TuneshotError(
                f"the recipe is for {_some(self.labels)} (task {self.task}), not for "
                f"{_some(labels)}; tune for these labels with icl tune, or leave the recipe out"
            )

    def settings_with(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All settings by name; those that are ``given`` win.

        With another selector, the options of the recipe's are none of its.
        """
        chosen = {each.name: getattr(self.settings, each.name) for each in fields(FewShotConfig)}
        if given.get("selector", self.settings.selector) != self.settings.selector:
            chosen["options"] = {}
        return {**chosen, **given}

    @classmethod
    def read(cls, path: Path) -> Self:
        """The recipe of a file; settings that it does not name are the usual ones.

        Raises:
            TuneshotError: it cannot be read, or is no recipe: unknown or missing keys, values of
                another type, settings that are not allowed.
        """
        try:
            # From bytes, JSON is found in each of its encodings, with a byte-order mark or without.
            with path.open("rb") as file:  # a device may never end
                values = _object("it", json.loads(file.read(_MOST_BYTES)))
            _check_keys(values, cls, optional=("lm", "embedder", "basis"))
            settings = _settings(_object("settings", values["settings"]))
            labels = values["labels"]
            if not isinstance(labels, list) or not all(isinstance(each, str) for each in labels):
                raise TuneshotError("labels must be a list of texts")
            if wrong := [name for name in _TEXTS if not isinstance(values.get(name, ""), str)]:
                raise TuneshotError(f"{wrong[0]} must be a text, not {to_json(values[wrong[0]])}")
            basis = _object("basis", values.get("basis", {}))
            return cls(**{**values, "labels": tuple(labels), "settings": settings, "basis": basis})
        except IsADirectoryError as error:
            raise TuneshotError(
                f"{path} is a folder; name the recipe in it, a file that icl tune has made"
            ) from error
        except OSError as error:
            raise TuneshotError(
                f"cannot read {path}: {error.strerror or error}; icl tune --out {path} makes it"
            ) from error
        except (ValueError, RecursionError) as error:  # of its text, or of JSON
            raise TuneshotError(
                f"{path} is no recipe: it is not JSON; icl tune makes one"
            ) from error
        except TuneshotError as error:
            raise TuneshotError(f"{path} is no recipe: {error}; icl tune makes one") from error

    def write(self, path: Path) -> None:
        """Writes it to a file, whole or not at all.

        Raises:
            TuneshotError: it cannot be written.
        """
        with atomic_write(path) as new:
            new.write_text(to_json(asdict(self), indent=1) + "\n", encoding="utf-8")


_MOST_BYTES = 10_000_000
_TEXTS = ("task", "lm", "embedder")


def _object(what: str, value: Any) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(value, dict):
        raise TuneshotError(f"{what} must be an object with keys, not {to_json(value)[:40]}")
    return value


def _check_keys(values: Mapping[str, Any], of: type, optional: Collection[str]) -> None:
    names = [each.name for each in fields(of)]
    wrong = [f"unknown key {key!r}" for key in values if key not in names]
    wrong += [f"missing key {key!r}" for key in names if key not in {*values, *optional}]
    if wrong:
        raise TuneshotError("; ".join(wrong))


def _settings(values: Mapping[str, Any]) -> FewShotConfig:
    """Settings out of JSON, whose values may be of any type."""
    usual = {each.name: getattr(FewShotConfig(), each.name) for each in fields(FewShotConfig)}
    _check_keys(values, FewShotConfig, optional=usual)
    _check_types(values, usual)
    if values.get("selector", usual["selector"]) in SELECTORS:
        options = options_of(values.get("selector", usual["selector"]))
        known = {
            name: value for name, value in values.get("options", {}).items() if name in options
        }
        _check_types(known, options)
    return FewShotConfig(**values)


def _check_types(values: Mapping[str, Any], usual: Mapping[str, Any]) -> None:
    """Refuses a value of another type than the usual one; where that is ``None``, yes or no."""
    for name, value in values.items():
        kinds = (bool, type(None)) if usual[name] is None else (type(usual[name]),)
        if type(value) not in (*kinds, *([int] if float in kinds else [])):
            wanted = " or ".join(_KINDS[kind] for kind in kinds)
            raise TuneshotError(f"{name} must be {wanted}, not {to_json(value)[:40]}")


_KINDS = {
    str: "a text", int: "a whole number", float: "a number", bool: "true or false",
    dict: "an object with keys", type(None): "null",
}  # fmt: skip


def _some(labels: Collection[str]) -> str:
    names = sorted(labels)
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


class HasRecipe(Protocol):
    """What came of choosing settings."""

    @property
    def recipe(self) -> Recipe:
        """The settings that were chosen."""


class Tuner(Protocol):
    """Chooses settings by labelled messages; ``icl.tuning.tune.tune`` is one."""

    def __call__(
        self,
        labelled: Pool,
        task: Task,
        lm: LM,
        embedder: Embedder,
        /,
        *,
        default: FewShotConfig,
        on_progress: OnProgress,
    ) -> HasRecipe:
        """The settings that suit ``labelled`` best; without evidence, the ``default``."""
