"""``clf pretrain``: a language model learns to predict the next token of texts."""

from pathlib import Path
from typing import Annotated, Any

import typer

from clfcore.cli import terminal
from clfcore.cli.options import with_config, with_settings
from clfcore.cli.terminal import ProgressBars, stderr, stdout, with_examples
from clfcore.cli.train import BaseName, Resume, SaveEvery
from clfcore.data.columns import MESSAGES, Columns
from clfcore.model.spec import MINI
from clfcore.pretraining.settings import (
    ABOUT,
    PRETRAINED,
    PretrainingConfig,
    pretraining_settings,
)
from clfcore.training.settings import RUN
from clfcore.weights.meta import check_free
from clfcore.weights.source import check_start
from clfcore.wording import printable

_WRITES = "What it writes meanwhile"


@with_examples(
    "--base gpt2-mini --out runs/continued",
    "--base gpt2-mini --weights random --data book.txt --document paragraph",
    "--base gpt2 --data mine.csv --epochs 1 --out runs/gpt2-mine",
)
@with_config(Columns, "columns")
@with_settings(PretrainingConfig, defaults=False)
def pretrain(
    *,
    base: BaseName = MINI,
    data: Annotated[
        str | None,
        typer.Option(
            help="A text file, a table or a folder of texts. Default: the downloaded corpus, else "
            "the sample.",
            rich_help_panel=MESSAGES,
        ),
    ] = None,
    columns: Columns,
    settings: dict[str, Any],
    out: Annotated[
        Path, typer.Option(help="Where the language model goes.", rich_help_panel=RUN)
    ] = Path("runs/pretrained"),
    resume: Resume = False,
    save_every: SaveEvery = 30.0,
    sample_every: Annotated[
        int, typer.Option(min=0, help="Steps between two texts; 0: none.", rich_help_panel=_WRITES)
    ] = 0,
    sample_from: Annotated[
        str, typer.Option(help="How each of these texts begins.", rich_help_panel=_WRITES)
    ] = "",
) -> None:
    """Teach a language model to predict the next token: from scratch, or further.

    The folder is a base again: clf train --base FOLDER, clf sample FOLDER. Without an option, what
    suits the base is taken. A killed run continues with --resume.
    """
    config = pretraining_settings(base, **settings)
    check_start(base, config.weights)
    check_free(out, ABOUT, PRETRAINED)  # before the work, not after it
    from clfcore.pretraining.documents import read_documents

    documents = read_documents(
        data, config.document, columns.text_column, columns.label_column,
        config.held_out, config.split_seed,
    )  # fmt: skip
    from clfcore.pretraining.next_token import perplexity
    from clfcore.pretraining.recipe import Samples, save_pretrained
    from clfcore.pretraining.recipe import pretrain as teach
    from clfcore.training.distributed import find_accelerator
    from clfcore.training.resume import ResumableRun

    accelerator = find_accelerator()
    first = accelerator is None or accelerator.is_main_process
    stdout.quiet = stderr.quiet = not first  # of several processes, one speaks
    unread = f", {documents.unread:,} kept for a classifier's test" if documents.unread else ""
    stderr.print(
        f"{printable(documents.name)}: {len(documents.train):,} documents to learn from, "
        f"{len(documents.held_out):,} held out{unread}"
    )
    run = {"base": base, "settings": config.to_dict(), "data": documents.sha256}
    resumable = ResumableRun(out, run, save_every, resume)
    if resume and (out / ABOUT).exists() and not resumable.path.exists():
        stderr.print(f"{out} is finished; leave --resume out to train anew")
        return
    if first and not resume:
        resumable.remove()

    def show(step: int, text: str) -> None:
        stderr.print(f"step {step}: {printable(sample_from + text)}", soft_wrap=True)

    with ProgressBars() as bars:
        result = teach(
            base, documents, config, samples=Samples(sample_every, sample_from, show=show),
            on_progress=bars, accelerator=accelerator, resumable=resumable,
        )  # fmt: skip
        if not first:
            return
        save_pretrained(out, result)
    resumable.remove()
    terminal.print_table(
        "held-out documents", "before", "after",
        rows=[
            ("loss in nats a token", *(f"{loss:.3f}" for loss, _ in (result.before, result.after))),
            (
                "perplexity",
                *(f"{perplexity(loss):,.1f}" for loss, _ in (result.before, result.after)),
            ),
            (
                "tokens that were the likeliest",
                *(f"{right:.1%}" for _, right in (result.before, result.after)),
            ),
        ],
    )  # fmt: skip
    train, held_out = result.tokens
    stdout.print(
        f"{result.weights:,} weights learned from {train:,} tokens; {held_out:,} were held out",
        soft_wrap=True,
    )
    stdout.print(f"language model: {out}", soft_wrap=True)
