"""What both command lines share: results on stdout, everything else on stderr, honest exits.

Exit status: 0 done, 1 a failure (one line), 2 bad usage (Typer's own), 130 interrupted.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from clfcore.data import read_texts
from clfcore.errors import TuneshotError
from clfcore.types import Prediction

stdout = Console(highlight=False, markup=False, emoji=False)
stderr = Console(stderr=True, highlight=False, markup=False, emoji=False)

# The arguments of every command that answers messages.
Texts = Annotated[list[str] | None, typer.Argument(help="Messages to classify.", metavar="[TEXT]…")]
File = Annotated[
    Path | None,
    typer.Option("--file", help="One message per line, or a .tsv/.csv with a 'text' column."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]


def new_app(about: str) -> typer.Typer:
    """A Typer application with this project's manners."""
    return typer.Typer(
        help=about,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


def run(app: typer.Typer) -> None:
    """Runs ``app``; a ``TuneshotError`` becomes one line on stderr and exit status 1."""
    try:
        app()
    except TuneshotError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        raise SystemExit(130) from None
    except BrokenPipeError:  # e.g. `clf classify … | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def messages(texts: list[str] | None, file: Path | None) -> list[str]:
    """The messages named on the command line, in a file, or piped into stdin.

    Raises:
        typer.BadParameter: none of the three (exit status 2).
        TuneshotError: the file, or stdin, cannot be read as text.
    """
    found = list(texts or [])
    if file is not None:
        found += read_texts(file)
    elif not found and not sys.stdin.isatty():
        found = read_texts(Path("/dev/stdin"))
    if not found:
        raise typer.BadParameter("give at least one TEXT, or --file PATH")
    return found


def print_json(record: Mapping[str, Any]) -> None:
    """One JSON object on one line of stdout; pure ASCII, so no message can break a terminal."""
    sys.stdout.write(json.dumps(record) + "\n")


def prediction_record(text: str, prediction: Prediction) -> dict[str, Any]:
    """The fields every ``classify --json`` prints."""
    return {
        "text": text,
        "label": prediction.label,
        "probabilities": {name: round(p, 6) for name, p in prediction.probabilities.items()},
        "ms": round(prediction.ms, 2),
        "notes": list(prediction.notes),
    }


def printable(text: str) -> str:
    """``text`` for a terminal: control characters (escape sequences, NUL) made visible."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
