"""``clf sample``: text that a language model writes."""

import sys
from typing import Annotated

import typer

from clfcore.cli import terminal
from clfcore.cli.options import with_config
from clfcore.cli.terminal import MODEL, Json, with_examples
from clfcore.pretraining.settings import SampleConfig
from clfcore.weights.source import check_source


@with_examples(
    'runs/pretrained "Congratulations"',
    'gpt2 "You have won" --tokens 40 --temperature 0.7 --top-k 20',
    'SmolLM2-135M-Instruct "The message was" --seed 3 --json',
)
@with_config(SampleConfig, "config")
def sample(
    model: Annotated[
        str,
        typer.Argument(
            help="A folder of clf pretrain, or a base as for clf train.", rich_help_panel=MODEL
        ),
    ],
    beginning: Annotated[str, typer.Argument(help="How the text begins.")] = "",
    *,
    config: SampleConfig,
    as_json: Json = False,
) -> None:
    """Let a language model write on, one token after the other, as they come."""
    check_source(model)
    from clfcore.pretraining.language_model import load_writing_base
    from clfcore.pretraining.sample import write

    pieces = write(load_writing_base(model), beginning, config)
    if as_json:
        text = "".join(pieces)
        terminal.print_json(
            {"model": model, "beginning": beginning, "text": text, **config.to_dict()}
        )
        return
    terminal.print_exact(beginning)
    for piece in pieces:
        terminal.print_exact(piece)
        sys.stdout.flush()
    terminal.print_exact("\n")
