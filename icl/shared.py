"""What is heavy is made once in a process, and travels by its name.

A language model has hundreds of megabytes of weights, a lock and perhaps a key. scikit-learn copies
an estimator's parameters for every fold, joblib sends them to other processes and writes them into
files: all of these get the model's name and settings, and whoever reads them has the model again.
"""

from collections.abc import Callable
from inspect import signature
from threading import RLock
from typing import Any, Self, TypeVar

T = TypeVar("T", bound="Shared")

_newest: dict[type["Shared"], tuple[dict[str, Any], Any]] = {}  # what was asked for, what was made
_lock = RLock()


class Shared:
    """A base class of objects whose copies are the object itself, and whose pickle is its settings.

    Attributes:
        settings: the arguments it was made with, by name: strings, numbers and the like.
    """

    settings: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: ANN401
        made = super().__new__(cls)
        made.settings = _settings(cls, *args, **kwargs)
        return made

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Callable[..., "Shared"], tuple[Any, ...]]:
        return _again, (type(self), self.settings)


def shared(kind: type[T], *args: Any, **kwargs: Any) -> T:  # noqa: ANN401
    """``kind(*args, **kwargs)``, or the newest of its kind, if that was made with the same.

    One of each kind is kept: a model takes seconds and half a gigabyte, and the next classifier,
    or the next fold in this process, wants the same.
    """
    wanted = _settings(kind, *args, **kwargs)
    with _lock:
        asked, newest = _newest.get(kind, (None, None))
        if newest is None or wanted not in (asked, newest.settings):
            newest = kind(**wanted)
            _newest[kind] = wanted, newest
        return newest


def _again(kind: type[T], settings: dict[str, Any]) -> T:
    return shared(kind, **settings)


def _settings(kind: type, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401
    arguments = signature(kind.__init__).bind(None, *args, **kwargs)  # type: ignore[misc]
    arguments.apply_defaults()
    return dict(list(arguments.arguments.items())[1:])  # without self
