"""What both command lines share: results on stdout, everything else on stderr, honest exits.

Exit status: 0 done, 1 a failure (one line), 2 bad usage (Typer's own), 130 interrupted, 141 nobody
reads on (``| head``), as a shell reports it.
"""

import codecs
import errno
import io
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TextIO

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
from rich.table import Column, Table
from typer.core import TyperCommand

from clfcore import __version__
from clfcore.data.columns import MESSAGES
from clfcore.data.tables import read_texts
from clfcore.errors import DataNote, TuneshotError, missing_extra_explained
from clfcore.json_text import to_json
from clfcore.types import MAX_CHARACTERS, Prediction
from clfcore.wording import make_logs_printable, printable_error
from clfcore.wording import printable as printable  # what other commands take from here, too

if TYPE_CHECKING:  # torch and scikit-learn take seconds to import; --help should not wait
    from clfcore.evaluation.evaluate import Evaluation


class _Console(Console):
    """Prints only what steers no terminal; and where nobody reads on, is ended as others are."""

    def print(self, *objects: Any, **style: Any) -> None:  # noqa: ANN401  Rich's
        """Texts, made printable but for line ends, and what is drawn, as ``print_table`` does."""
        super().print(
            *(_lines(each) if isinstance(each, str) else each for each in objects), **style
        )

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _lines(text: str) -> str:
    return printable(text, kept="\n")


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PATHS_FAULTS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG}

stdout = _Console(highlight=False, markup=False, emoji=False)
stderr = _Console(stderr=True, highlight=False, markup=False, emoji=False)
Command = Callable[..., None]

# Arguments that several commands share.
MODEL, OUTPUT = "Model", "Output"  # headings of --help
MOST_LABELS_LISTED = 20  # each with its own figures
Texts = Annotated[list[str] | None, typer.Argument(help="Messages to classify.", metavar="[TEXT]…")]
File = Annotated[
    Path | None,
    typer.Option(
        "--file",
        help="One message a line, or a table: .csv, .tsv, .xlsx, .jsonl, .parquet.",
        rich_help_panel=MESSAGES,
    ),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        help="Folder, or chapter-6 .pth; default: the bundled gpt2-mini.",
        rich_help_panel=MODEL,
    ),
]
TrustSource = Annotated[
    bool,
    typer.Option(
        "--trust-source",
        help="Load a checkpoint's trunk from another folder or the network, too.",
        rich_help_panel=MODEL,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="One JSON object a line on stdout.", rich_help_panel=OUTPUT),
]


class GroupedCommand(TyperCommand):
    """A command whose ``--help`` has its options under headings, and examples at the end."""

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 (Typer hides both)
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        for parameter in self.get_params(ctx):
            usual = {"argument": "Arguments"}.get(parameter.param_type_name, "Options")
            if record := parameter.get_help_record(ctx):
                heading = getattr(parameter, "rich_help_panel", None) or usual
                groups.setdefault(heading, []).append(record)
        groups["Options"] = groups.pop("Options")  # last
        for heading, records in groups.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)
        with formatter.section("Examples"):
            for example in getattr(self.callback, "examples", ()):
                formatter.write(f"  {ctx.command_path} {example}".rstrip() + "\n")


class App(typer.Typer):
    """A Typer application whose commands show their options in groups, and examples."""

    def command(  # type: ignore[override]
        self, name: str | None = None
    ) -> Callable[[Command], Command]:
        return super().command(name, cls=GroupedCommand)


def with_examples(*arguments: str) -> Callable[[Command], Command]:
    """Adds examples to a command's ``--help``: what follows its name, as in a shell."""

    def decorate(command: Command) -> Command:
        command.examples = arguments  # type: ignore[attr-defined]
        return command

    return decorate


def new_app(about: str, *, version: bool = True) -> App:
    """A command line with this project's manners.

    Args:
        about: for ``--help``.
        version: whether it knows ``--version``; a single command cannot.
    """
    app = App(
        help=about,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    if version:
        app.callback()(_main_options)
    return app


def _print_version(version: bool) -> None:
    if version:
        stdout.print(f"tuneshot {__version__}")
        raise typer.Exit


def _main_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Has its effect before any command is run."""


def run_app(app: Callable[[], object]) -> None:
    """Runs a command line; what goes wrong and is no bug of ours becomes one line on stderr.

    So does each ``DataNote``, once, without ending anything. A console or pipe that is not UTF-8
    gets a question mark for what it cannot show. Where stderr cannot be written, the work goes on.
    """
    sys.stdout, sys.stderr = _any_encoding(sys.stdout), _any_encoding(sys.stderr)
    if type(sys.stderr) is io.TextIOWrapper:
        sys.stderr = _BestEffort(
            sys.stderr.buffer, sys.stderr.encoding, "replace", line_buffering=True
        )
    results = sys.stdout
    make_logs_printable()
    warnings.filterwarnings("once", category=DataNote)
    warnings.showwarning = _show_warning
    try:
        try:
            with missing_extra_explained("this command"):
                app()
        finally:
            if sys.stdout is not results:  # so Typer says that nobody reads on
                raise BrokenPipeError
            results.flush()  # now: a failure at the very end would leave a trace
    except TuneshotError as error:
        _end(f"error: {printable(str(error))}", 1)
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except SystemExit as ended:
        if ended.code == 130:  # Typer has seen Ctrl+C before us
            _end("interrupted", 130)
        raise
    except BrokenPipeError:
        _forget(results)
        raise SystemExit(141) from None
    except OSError as error:
        place = "" if error.filename is None else f"cannot use {os.fsdecode(error.filename)}: "
        if error.errno in _FULL:
            if not place:  # perhaps it is stdout
                _forget(results)
            _end(f"error: {printable(place)}{error.strerror}; free some, and start again", 1)
        if error.errno not in _PATHS_FAULTS or not place:
            _end(printable_error(error), 1)
        _end(f"error: {printable(place)}{error.strerror}; check the path", 1)
    except Exception as error:  # a bug of ours keeps its trace
        _end(printable_error(error), 1)


def _end(line: str, status: int) -> NoReturn:
    sys.stderr.write(f"{line}\n")
    raise SystemExit(status)


def _forget(stream: TextIO) -> None:
    """What could not be written is not tried again when Python ends."""
    with open(os.devnull, "w", encoding="utf-8") as nothing:
        os.dup2(nothing.fileno(), stream.fileno())


def _any_encoding(stream: TextIO | None) -> TextIO:
    """``stream`` with "?" for characters it does not have; for a closed one, one to nowhere."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    if type(stream) is io.TextIOWrapper and codecs.lookup(stream.encoding).name == "ascii":
        lines = stream.line_buffering
        return _Ascii(stream.detach(), "ascii", "replace", line_buffering=lines)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")
    return stream


class _Ascii(io.TextIOWrapper):
    """An ASCII stream by another name: to one that is called ASCII, Typer writes UTF-8."""

    encoding = "latin-1"


class _BestEffort(io.TextIOWrapper):
    """A stream for what people read meanwhile: a full disk, or nobody there, stops no work."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    told = (
        f"note: {printable(str(message))}\n"
        if issubclass(category, DataNote)
        else _lines(warnings.formatwarning(message, category, filename, lineno, line))
    )
    (file or sys.stderr).write(told)


def read_messages(texts: list[str] | None, file: Path | None, text_column: str | None) -> list[str]:
    """The messages named on the command line, in a file, or piped into stdin.

    Args:
        texts: those on the command line.
        file: lines, or a table.
        text_column: of the table.

    Raises:
        typer.BadParameter: none of the three (exit status 2).
        TuneshotError: the file, or stdin, cannot be read as text; or a message is too long.
    """
    messages = list(texts or [])
    if file is not None:
        messages += read_texts(file, text_column)
    elif not messages and sys.stdin is not None and not sys.stdin.isatty():
        messages = read_texts(Path("/dev/stdin"), text_column)
    if not messages:
        raise typer.BadParameter("give at least one TEXT, or --file PATH")
    for number, text in enumerate(messages, 1):
        if len(text) > MAX_CHARACTERS:
            raise TuneshotError(
                f"message {number:,} has {len(text):,} characters; a message has at most "
                f"{MAX_CHARACTERS:,}: shorten or split it"
            )
    return messages


def print_json(record: Mapping[str, Any]) -> None:
    """One JSON object on one line of stdout; pure ASCII, so no message can break a terminal."""
    sys.stdout.write(to_json(record) + "\n")


def prediction_record(prediction: Prediction) -> dict[str, Any]:
    """What every ``classify --json`` says of an answer; without a label, no probabilities."""
    probabilities = {name: round(p, 6) for name, p in prediction.probabilities.items()}
    return {
        "label": prediction.label,
        "probabilities": None if prediction.label is None else probabilities,
        "ms": round(prediction.ms, 2),
        "notes": list(prediction.notes),
    }


def shortened(text: str, length: int) -> str:
    """At most ``length`` characters of a printable ``text``; a longer one ends in an ellipsis."""
    visible = printable(text)
    return visible if len(visible) <= length else visible[: length - 1] + "…"


def print_note(text: str) -> None:
    """What is worth knowing, in one line of stderr."""
    stderr.print(f"note: {printable(text)}", soft_wrap=True)


def print_table(
    *columns: str | Column,
    rows: Iterable[Sequence[str]],
    **style: Any,  # noqa: ANN401
) -> None:
    """A table on stdout; ``style`` is Rich's. Whatever its texts are, they steer no terminal."""
    if title := style.get("title"):
        style["title"] = printable(title)
    table = Table(
        *(printable(each) if isinstance(each, str) else each for each in columns), **style
    )
    for row in rows:
        table.add_row(*map(_lines, row))
    stdout.print(table)


def print_exact(text: str) -> None:
    """A text on stdout as it is, into a file or a pipe; on a terminal it steers nothing."""
    sys.stdout.write(_lines(text) if sys.stdout.isatty() else text)


class ProgressBars(Progress):
    """One Rich progress bar on stderr for each stage of the work.

    Used as ``with ProgressBars() as bars: bars(stage, done, total, figures)``.
    """

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            console=stderr,
        )
        self._bars: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int, figures: str = "") -> None:
        if stage not in self._bars:
            self._bars[stage] = self.add_task(printable(stage), total=total, figures="")
        self.update(self._bars[stage], completed=done, total=total, figures=printable(figures))


def print_evaluation(evaluation: "Evaluation", title: str) -> None:
    """A table of the figures, with intervals."""
    from clfcore.evaluation.metrics import metric_of

    m = evaluation.metrics
    shares = {"accuracy": m.accuracy, "always the commonest label": evaluation.majority}
    if len(m.recall) <= MOST_LABELS_LISTED:
        shares |= {f"{label} found (recall)": share for label, share in m.recall.items()}
        shares |= {
            f"{name} answers right (precision)": share for name, share in m.precision.items()
        }
    rows = [
        (name, f"{share.value:.4f}", f"{share.low:.4f} – {share.high:.4f}")
        if share.of
        else (name, "–", "")
        for name, share in shares.items()
    ]
    if m.no_answer:
        rows.insert(1, ("answers without a label", f"{m.no_answer:,} of {m.messages:,}", ""))
    rows += [
        (metric_of(key).name, f"{value:.4f}", "")
        for key, value in m.figures.items()
        if not math.isnan(value)
    ]
    rows += [
        (f"accuracy of the surest {each['coverage']:.0%}", f"{each['accuracy']:.4f}", "")
        for each in evaluation.coverage
        if each["coverage"] in (0.8, 0.5)
    ]
    print_table("figure", "value", "95 % interval", rows=rows, title=title)
    stdout.print(f"{evaluation.ms_per_message:.2f} ms a message, in batches")
    if len(m.recall) > MOST_LABELS_LISTED:
        stdout.print(f"figures of each of the {len(m.recall)} labels: evaluate --json")
