"""``clf attention``: which token of a message looks at which."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clfcore.cli import terminal
from clfcore.cli.terminal import MODEL, OUTPUT, Checkpoint, Json, TrustSource, stdout, with_examples
from clfcore.weights.meta import Meta
from clfcore.weights.source import check_start
from clfcore.weights.unopened import checkpoint_path

if TYPE_CHECKING:
    from clfcore.analysis.attention import Attention
    from clfcore.fine_tuned import FineTuned

SHOWN = "What is shown"  # heading of --help
MOST_COLUMNS = 12  # of a table in a terminal; of a longer message only the last row is shown


@with_examples(
    '"Do you have time"',
    '"Do you have time" --layer 1 --head 2 --out heads.png',
    '"Do you have time" --base SmolLM2-135M-Instruct --json',
)
def attention(
    text: Annotated[str, typer.Argument(help="The message.")],
    layer: Annotated[
        int | None,
        typer.Option(help="From 1, the lowest; default: the last.", rich_help_panel=SHOWN),
    ] = None,
    head: Annotated[
        int | None,
        typer.Option(help="From 1; default: the mean over all.", rich_help_panel=SHOWN),
    ] = None,
    checkpoint: Checkpoint = None,
    base: Annotated[
        str | None,
        typer.Option(help="A base before any fine-tuning, as for train.", rich_help_panel=MODEL),
    ] = None,
    trust_source: TrustSource = False,
    out: Annotated[
        Path | None,
        typer.Option(help="A heat map: a .png, .svg or .pdf file.", rich_help_panel=OUTPUT),
    ] = None,
    as_json: Json = False,
) -> None:
    """Which token looks at which, and how much: a row for each token, whose shares sum to 1."""
    model = _model(checkpoint, base, trust_source)
    from clfcore.analysis.attention import attention as look
    from clfcore.analysis.attention import attention_map

    found = look(model, text, layer, head)
    if out is not None:
        from clfcore.training.curves import save_figure

        save_figure(attention_map(found), out)
    if as_json:
        terminal.print_json({"model": model.name, "text": text, **found.to_dict()})
        return
    _print(found, model.name)
    if out is not None:
        stdout.print(f"the heat map is in {out}", soft_wrap=True)


def _model(checkpoint: Path | None, base: str | None, trust_source: bool) -> "FineTuned":
    if base is None:
        path = checkpoint_path(checkpoint, trust_source)
        from clfcore.fine_tuned import FineTuned

        return FineTuned.load(path, trust_source)
    if checkpoint is not None:
        raise typer.BadParameter("--base and --checkpoint are two models; give one")
    check_start(base, "pretrained")
    from clfcore.fine_tuned import FineTuned
    from clfcore.model.classifier import TextClassifier
    from clfcore.model.spec import Reading
    from clfcore.weights.bases import load_base

    start = load_base(base, classes=2)  # its head is not looked at
    classifier = TextClassifier(start.trunk, Reading())
    return FineTuned(classifier, Meta(start.name, ("0", "1")), start.encode)


def _print(found: "Attention", name: str) -> None:
    from clfcore.analysis.attention import visible

    title = f"{name}, {found.title}"
    columns = [visible(token) for token in found.tokens]
    if len(columns) <= MOST_COLUMNS:
        terminal.print_table(
            "looks at", *columns,
            rows=[
                (visible(token), *(f"{weight:.2f}" if weight else "" for weight in row))
                for token, row in zip(found.looking, found.weights.tolist(), strict=True)
            ],
            title=title,
        )  # fmt: skip
        return
    last = found.weights[-1].tolist()
    terminal.print_table(
        f"the last token, {columns[-1]}, looks at", "share",
        rows=[(token, f"{share:.3f}") for token, share in zip(columns, last, strict=True)],
        title=title,
    )  # fmt: skip
    terminal.print_note("the other rows: --json, or a heat map with --out")
