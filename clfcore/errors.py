"""The one exception a user is meant to read."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

# What each extra of pyproject.toml brings, by the names it is imported by.
EXTRAS = {
    "train": ("accelerate", "imblearn", "peft"),
    "data": ("datasets", "pyarrow"),
    "plots": ("markupsafe", "matplotlib", "plotly"),
    "chat": ("aiosqlite", "chainlit", "fastapi", "prometheus_client", "pydantic", "socketio",
             "sqlalchemy", "starlette", "uvicorn"),
    "api": ("litellm", "openai"),
    "large": ("faiss",),
    "postgres": ("asyncpg",),
    "ray": ("ray",),
    "setfit": ("setfit",),
    "tensorboard": ("tensorboard",),
}  # fmt: skip


class TuneshotError(Exception):
    """Something the user can fix: shown as one line, without a stack trace.

    The message says what is wrong, what is allowed, and what to do next. Anything else that is
    raised is a bug of ours and keeps its traceback.
    """


class DataNote(Warning):
    """What a person should know about how data was read: one line; commands show each once."""


def unknown_choice(kind: str, name: object, choices: Iterable[object]) -> TuneshotError:
    """The error for a name that is not in a registry; lists the names that are.

    Args:
        kind: e.g. ``"selector"``.
        name: the user's.
        choices: the known names, usually the registry dict itself.
    """
    return TuneshotError(f"unknown {kind} {name!r}; choose from {', '.join(map(str, choices))}")


@contextmanager
def missing_extra_explained(purpose: str = "this") -> Iterator[None]:
    """Inside it, importing a package that an extra brings and that is not installed is one line.

    A block of ``with``, or a decorator of what imports such a package.

    Args:
        purpose: what needs the package.

    Raises:
        TuneshotError: what is missing, and the command that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        for extra, packages in EXTRAS.items():
            if error.name in packages:
                raise TuneshotError(
                    f"{purpose} needs {error.name}, which is not installed; "
                    f"run: pip install 'tuneshot[{extra}]'"
                ) from error
        raise
