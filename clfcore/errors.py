"""The one exception a user is meant to read."""


class TuneshotError(Exception):
    """Something the user can fix: shown as one line, without a stack trace.

    The message says what is wrong, what is allowed, and what to do next. Anything else that is
    raised is a bug of ours and keeps its traceback.
    """


def unknown_choice(what: str, given: object, allowed: object) -> TuneshotError:
    """The error for a name that is not in a registry; lists the names that are.

    Args:
        what: the kind of thing, e.g. ``"selector"``.
        given: what the user asked for.
        allowed: an iterable of names, usually the registry dict itself.
    """
    names = ", ".join(str(name) for name in allowed)  # type: ignore[attr-defined]
    return TuneshotError(f"unknown {what} {given!r}; choose from {names}")
