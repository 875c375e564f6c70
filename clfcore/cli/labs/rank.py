"""``clf rank``: the lecture's matrix, or what fine-tuning changed in a checkpoint's matrices."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clfcore.cli import terminal
from clfcore.cli.terminal import MODEL, OUTPUT, Json, TrustSource, stdout, with_examples
from clfcore.errors import TuneshotError
from clfcore.weights.meta import check_free
from clfcore.weights.unopened import checkpoint_path

if TYPE_CHECKING:
    import numpy as np

    from clfcore.analysis.rank import Change


@with_examples(
    "",
    "runs/mini --rank 16 --out rank.png",
    "runs/mini --rank 4 --save runs/mini-rank-4",
)
def rank(
    folder: Annotated[
        Path | None,
        typer.Argument(help="A checkpoint of clf train; without one, the lecture's matrix."),
    ] = None,
    rank: Annotated[
        int,
        typer.Option(
            "--rank", min=0, help="Of the change that LoRA learns.", rich_help_panel=MODEL
        ),
    ] = 16,
    save: Annotated[
        Path | None,
        typer.Option(
            help="The checkpoint with its changes cut to --rank: for clf evaluate.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="A figure: a .png, .svg or .pdf file.", rich_help_panel=OUTPUT),
    ] = None,
    trust_source: TrustSource = False,
    as_json: Json = False,
) -> None:
    """What a low-rank change misses of full fine-tuning; without a checkpoint, what rank is."""
    if folder is None:
        if save is not None or out is not None:
            raise typer.BadParameter("--save and --out are of a checkpoint; name its FOLDER")
        _slide(as_json)
        return
    if checkpoint_path(folder, trust_source).suffix == ".pth":
        raise TuneshotError(f"{folder} does not say what it started from; make one: clf train")
    if save is not None:
        check_free(save)
    from clfcore.analysis.rank import at_random, load_tuned, missed, rank_figure, rank_for

    tuned = load_tuned(folder, trust_source)
    found = tuned.changes()
    name = f"{tuned.loaded.meta.name}, changed from {tuned.base}"
    noise = at_random(found)
    if out is not None:
        from clfcore.training.curves import save_figure

        save_figure(rank_figure(found, name), out)
    if save is not None:
        from clfcore.weights.checkpoint import save_checkpoint

        cut = tuned.cut_to(rank)
        save_checkpoint(save, cut.model, cut.meta)

    def figures(of: Sequence["Change"]) -> dict[str, Any]:
        return {"rank_for_90_percent": rank_for(of), "missed": missed(of, rank)}

    if as_json:
        record = {
            "model": tuned.loaded.meta.name,
            "base": tuned.base,
            "rank": rank,
            "all": figures(found),
            "random": figures(noise),
            "matrices": [
                {
                    "name": each.name,
                    "shape": list(each.shape),
                    "size": each.size,
                    **figures([each]),
                    "singular_values": [float(f"{s:.4g}") for s in each.singular_values],
                }
                for each in found
            ],
        }
        terminal.print_json(record)
        return

    def cells(of: Sequence["Change"]) -> tuple[str, str]:
        told = figures(of)
        return f"{told['rank_for_90_percent']}", f"{told['missed']:.1%}"

    terminal.print_table(
        "matrix", "shape", "change", "90 % by rank", f"missed by rank {rank}",
        rows=[
            *(
                (each.name, "×".join(map(str, each.shape)), f"{each.size:.1%}", *cells([each]))
                for each in found
            ),
            ("all of them", "", "", *cells(found)),
            ("random numbers", "", "", *cells(noise)),
        ],
        title=name,
    )  # fmt: skip
    for path, what in ((out, "the figure"), (save, f"the checkpoint of rank {rank}")):
        if path is not None:
            stdout.print(f"{what} is in {path}", soft_wrap=True)


def _slide(as_json: bool) -> None:
    import numpy as np

    from clfcore.analysis.rank import SLIDE, factors

    basis, mixing = factors(SLIDE)
    values = np.linalg.svd(SLIDE, compute_uv=False)
    if as_json:
        terminal.print_json(
            {
                "matrix": SLIDE.tolist(),
                "rank": basis.shape[1],
                "factors": [basis.tolist(), (np.round(mixing, 6) + 0.0).tolist()],
                "singular_values": np.round(values, 6).tolist(),
            }
        )
        return
    matrices = [_lines(each) for each in (SLIDE, basis, mixing)]
    height = max(map(len, matrices))
    signs = ("", "=", "·")
    padded = [lines + [" " * len(lines[0])] * (height - len(lines)) for lines in matrices]
    for row in range(height):
        words = [
            f"{sign if row == 1 else '':^3}{lines[row]}"
            for sign, lines in zip(signs, padded, strict=True)
        ]
        stdout.print("".join(words).rstrip())
    stdout.print(
        f"rank {basis.shape[1]}: the third column is 2 times the first plus the second; singular "
        f"values {', '.join(f'{value:.2f}' for value in values)}",
        soft_wrap=True,
    )


def _lines(matrix: "np.ndarray") -> list[str]:
    return [" ".join(f"{round(number):3d}" for number in row) for row in matrix]
