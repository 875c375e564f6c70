"""``clf train``: one option for every field of ``TrainConfig``, and where things are."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from clfcore.cli import terminal
from clfcore.cli.options import with_config, with_settings
from clfcore.cli.terminal import ProgressBars, stderr, stdout, with_examples
from clfcore.data.messages import DataSource
from clfcore.model.spec import MINI
from clfcore.training.settings import FULL_PRECISION, MODEL, RUN, TrainConfig, settings_for
from clfcore.types import ignore
from clfcore.weights.meta import check_free
from clfcore.weights.source import check_start, is_path
from clfcore.wording import printable

BaseName = Annotated[
    str,
    typer.Option(
        "--base",
        help="gpt2-mini, gpt2 … gpt2-xl, SmolLM2-135M-Instruct, a repository, a folder.",
        rich_help_panel=MODEL,
    ),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Continue a killed run with this --out.", rich_help_panel=RUN),
]
SaveEvery = Annotated[
    float,
    typer.Option(
        min=0, help="Seconds between two saves of an unfinished run.", rich_help_panel=RUN
    ),
]


@with_examples(
    "--base gpt2-mini --out runs/mini",
    "--base gpt2 --layers lora --data mine.csv --out runs/lora",
    "--base SmolLM2-135M-Instruct --layers none --head mlp",
)
@with_config(DataSource, "source")
@with_settings(TrainConfig, defaults=False)
def train(
    *,
    base: BaseName = MINI,
    source: DataSource,
    settings: dict[str, Any],
    out: Annotated[
        Path, typer.Option(help="Where the checkpoint goes.", rich_help_panel=RUN)
    ] = Path("runs/spam"),
    compact: Annotated[
        bool,
        typer.Option(
            "--compact", help="Store int8 rows: a quarter of the size.", rich_help_panel=RUN
        ),
    ] = False,
    resume: Resume = False,
    save_every: SaveEvery = 30.0,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder for TensorBoard's curves.", rich_help_panel=RUN)
    ] = None,
) -> None:
    """Fine-tune on the training part, calibrate on the validation part, report on the test part.

    Without an option, what suits the base is taken. A killed run continues with --resume.
    """
    config = settings_for(base, **settings)
    check_start(base, config.weights)
    check_free(out)  # before the work, not after it
    messages = source.load()
    from clfcore.data.split import content_hash
    from clfcore.training.distributed import find_accelerator
    from clfcore.training.recipe import fine_tune, save_and_evaluate
    from clfcore.training.resume import ResumableRun
    from clfcore.weights.storage import AS_FLOATS, COMPACT, Storage

    accelerator = find_accelerator()
    first = accelerator is None or accelerator.is_main_process
    stdout.quiet = stderr.quiet = not first  # of several processes, one speaks
    stderr.print(f"{len(messages.examples)} messages: {printable(messages.name)}")
    run = {"base": base, "settings": config.to_dict(), "data": content_hash(messages.examples)}
    resumable = ResumableRun(out, run, save_every, resume)
    if resume and (out / "meta.json").exists() and not resumable.path.exists():
        stderr.print(f"{out} is finished; leave --resume out to train anew")
        return
    if first and not resume:
        resumable.remove()

    def on_note(sentence: str) -> None:
        terminal.print_note(sentence)

    curves: AbstractContextManager[Any] = nullcontext(ignore)
    if tensorboard and first:
        from clfcore.training.curves import tensorboard_watch

        curves = tensorboard_watch(tensorboard)
    with ProgressBars() as bars, curves as on_step:
        result = fine_tune(
            base, messages, config, on_note=on_note, on_progress=bars, on_step=on_step,
            accelerator=accelerator, resumable=resumable,
        )  # fmt: skip
        if not first:
            return
        storage = COMPACT if compact else AS_FLOATS
        if config.qat != FULL_PRECISION:
            storage = Storage(config.qat, "blocks", rest=storage.rest)
        evaluation = save_and_evaluate(result, out, storage, bars)
    resumable.remove()
    terminal.print_evaluation(evaluation, f"test part of {printable(messages.name)}")
    stdout.print(
        f"{result.trained_weights:,} of {result.all_weights:,} weights trained, "
        f"{result.seconds:.0f} s"
    )
    stdout.print(f"checkpoint: {out}", soft_wrap=True)
    if (trunk := result.classifier.meta.source) and is_path(trunk):
        terminal.print_note(f"its trunk stays in {trunk}: other commands want --trust-source")
