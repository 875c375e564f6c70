"""The one exception a user is meant to read."""

from collections.abc import Iterable


class TuneshotError(Exception):
    """Something the user can fix: shown as one line, without a stack trace.

    The message says what is wrong, what is allowed, and what to do next. Anything else that is
    raised is a bug of ours and keeps its traceback.
    """


def unknown_choice(kind: str, name: object, choices: Iterable[object]) -> TuneshotError:
    """The error for a name that is not in a registry; lists the names that are.

    Args:
        kind: e.g. ``"selector"``.
        name: the user's.
        choices: the known names, usually the registry dict itself.
    """
    return TuneshotError(f"unknown {kind} {name!r}; choose from {', '.join(map(str, choices))}")
