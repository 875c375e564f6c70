"""``clf quantize``: a checkpoint in fewer bits, and what that does to its answers."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clfcore.cli import terminal
from clfcore.cli.options import with_config
from clfcore.cli.parts import part_of
from clfcore.cli.terminal import MODEL, OUTPUT, Json, ProgressBars, stderr, stdout, with_examples
from clfcore.data.messages import DataSource
from clfcore.errors import TuneshotError, unknown_choice
from clfcore.quantization.schemes import SCHEMES, SCOPES
from clfcore.weights.meta import check_free, trained_columns
from clfcore.weights.unopened import checkpoint_path
from clfcore.wording import printable

if TYPE_CHECKING:
    from clfcore.experiments.quantized import Comparison, Measured

SHOWN = "trf_blocks.0.ff.layers.0.weight"  # the matrix of the figure: the first that widens


@with_examples(
    "--scheme nf4 --out runs/nf4",
    "runs/mini --scheme ternary --scope blocks --out runs/ternary --json",
    "--scheme int4 --out runs/int4 --figure int4.png",
)
@with_config(DataSource, "source")
def quantize(
    source: DataSource,
    folder: Annotated[
        Path | None, typer.Argument(help="A checkpoint; default: the bundled gpt2-mini.")
    ] = None,
    scheme: Annotated[
        str, typer.Option(help=f"One of {', '.join(SCHEMES)}.", rich_help_panel=MODEL)
    ] = "nf4",
    scope: Annotated[
        str,
        typer.Option(
            help="blocks: their matrices; all: the embeddings, too.", rich_help_panel=MODEL
        ),
    ] = "all",
    out: Annotated[
        Path, typer.Option(help="Where the smaller checkpoint goes.", rich_help_panel=OUTPUT)
    ] = Path("runs/quantized"),
    figure: Annotated[
        Path | None,
        typer.Option(
            help="Draw a matrix before and after: a .png, .svg or .pdf file.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a checkpoint in fewer bits, and compare its answers with those it gave before.

    What is written is a checkpoint like any other, for classify, evaluate and the page. Its file is
    smaller; in memory its weights are floats again, so it is no faster.
    """
    if scheme not in SCHEMES:
        raise unknown_choice("scheme", scheme, SCHEMES)
    if scope not in SCOPES:
        raise unknown_choice("scope", scope, SCOPES)
    path = checkpoint_path(folder)
    check_free(out)
    if out.resolve() == path.resolve():
        raise TuneshotError(f"{out} is the checkpoint itself; choose another --out")
    if figure is not None:
        from clfcore.training.curves import check_can_draw

        check_can_draw(figure)
    from clfcore.evaluation.provenance import about_this_run, machine_name
    from clfcore.experiments.quantized import check_can_quantize, compare, quantize_checkpoint

    check_can_quantize(path)
    messages = source.remembering(trained_columns(path)).load()
    made = quantize_checkpoint(path, scheme, scope, out)
    part, examples = part_of(messages, made.meta.about.get("data", {}))
    stderr.print(f"{len(examples):,} messages: {part} of {printable(messages.name)}")
    with ProgressBars() as bars:
        found = compare(path, out, examples, bars)
    if figure is not None:
        _draw(path, scheme, figure)
    if as_json:
        terminal.print_json(
            {**found.to_dict(), "part": part, **about_this_run(), "machine": machine_name()}
        )
    else:
        _print(found, part, printable(messages.name))
        stdout.print(f"checkpoint: {out}", soft_wrap=True)


def _print(found: "Comparison", part: str, of: str) -> None:
    def row(name: str, show: Callable[["Measured"], str]) -> tuple[str, ...]:
        return name, *(show(measured) for measured in found.models.values())

    terminal.print_table(
        "", *found.models,
        rows=[
            row("file, MB", lambda m: "–" if m.bytes is None else f"{m.bytes / 1e6:.2f}"),
            row("weight error", lambda m: f"{m.weight_error:.2%}"),
            row("mean change of probability", lambda m: f"{m.probability_change:.4f}"),
            row("answers changed", lambda m: f"{m.answers_changed:,}"),
            row("accuracy", lambda m: f"{m.accuracy:.4f}"),
            row("AUC", lambda m: "–" if m.auc is None else f"{m.auc:.4f}"),
            row("one message, p50, ms", lambda m: f"{m.p50_ms:.2f}"),
        ],
        title=f"{found.model} in {found.scheme} ({found.scope}) on {found.messages:,} messages: "
        f"{of} ({part})",
    )  # fmt: skip
    stdout.print(f"before: weights stored as {found.baseline}; shuffled: the same in another order")


def _draw(path: Path, scheme: str, figure: Path) -> None:
    from clfcore.experiments.quantized_figure import quantization_figure
    from clfcore.fine_tuned import FineTuned
    from clfcore.training.curves import save_figure

    weights = FineTuned.load(path).model.trunk.state_dict()
    save_figure(quantization_figure(weights[SHOWN], scheme, SHOWN), figure)
