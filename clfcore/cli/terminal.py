"""What both command lines share: results on stdout, everything else on stderr, honest exits.

Exit status: 0 done, 1 a failure (one line), 2 bad usage (Typer's own), 130 interrupted.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from clfcore.data.tables import read_texts
from clfcore.errors import TuneshotError
from clfcore.types import Prediction

if TYPE_CHECKING:  # torch and scikit-learn take seconds to import; --help should not wait
    from clfcore.evaluation.evaluate import Evaluation


stdout = Console(highlight=False, markup=False, emoji=False)
stderr = Console(stderr=True, highlight=False, markup=False, emoji=False)

# Arguments that several commands share.
Texts = Annotated[list[str] | None, typer.Argument(help="Messages to classify.", metavar="[TEXT]…")]
File = Annotated[
    Path | None,
    typer.Option("--file", help="One message a line, or a table with a 'text' column."),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Labelled .tsv, .csv, .parquet or .jsonl; a folder of text files for each class; "
        "a Hugging Face dataset. Default: the downloaded corpus, else the sample.",
    ),
]
TextColumnName = Annotated[
    str | None, typer.Option(help="The column with the messages; default: text, or the like.")
]
LabelColumnName = Annotated[
    str | None, typer.Option(help="The column with the labels; default: label, or the like.")
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


class Bars:
    """One Rich progress bar on stderr for each stage of the work.

    Used as ``with Bars() as bars: bars(stage, done, total, figures)``.
    """

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=stderr,
        )
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def __call__(self, stage: str, done: int, total: int, figures: str = "") -> None:
        if stage not in self._bars:
            self._bars[stage] = self._progress.add_task(stage, total=total, figures="")
        self._progress.update(self._bars[stage], completed=done, total=total, figures=figures)


def print_evaluation(evaluation: "Evaluation", title: str) -> None:
    """A table of the figures, with intervals."""
    m = evaluation.metrics
    table = Table("figure", "value", "95 % interval", title=title)
    shares = {"accuracy": m.accuracy, "always the commonest label": evaluation.majority}
    shares |= {f"{label} found (recall)": share for label, share in m.recall.items()}
    shares |= {f"{label} answers right (precision)": share for label, share in m.precision.items()}
    for name, share in shares.items():
        table.add_row(name, f"{share.value:.4f}", f"{share.low:.4f} – {share.high:.4f}")
    numbers = {
        "balanced accuracy": m.balanced_accuracy,
        "macro F1": m.macro_f1,
        "AUC": m.auc,
        "average precision": m.average_precision,
        "expected calibration error": m.calibration_error,
        "negative log-likelihood (nats)": m.negative_log_likelihood,
    }
    for name, value in numbers.items():
        if value is not None:
            table.add_row(name, f"{value:.4f}", "")
    stdout.print(table)
    stdout.print(f"{evaluation.ms_per_message:.2f} ms a message, in batches")
