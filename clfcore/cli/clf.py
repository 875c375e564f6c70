"""``clf``: get data, fine-tune (``train.py``), compare settings (``experiments.py``), evaluate,
classify, inspect, plot, merge, check the cache (``cache.py``), the lecture's labs (``labs/``).

What is heavy is imported inside the commands, after what was asked is checked: ``--help`` and a
mistake are answered at once.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from clfcore.cli import terminal
from clfcore.cli.cache import check_cache
from clfcore.cli.experiments import experiments
from clfcore.cli.labs.align import align
from clfcore.cli.labs.attention import attention
from clfcore.cli.labs.cost import cost
from clfcore.cli.labs.pretrain import pretrain
from clfcore.cli.labs.quantize import quantize
from clfcore.cli.labs.rank import rank
from clfcore.cli.labs.sample import sample
from clfcore.cli.options import with_config
from clfcore.cli.parts import check_part, part_of
from clfcore.cli.terminal import (
    MODEL,
    OUTPUT,
    Checkpoint,
    File,
    Json,
    ProgressBars,
    Texts,
    TrustSource,
    stderr,
    stdout,
    with_examples,
)
from clfcore.cli.train import BaseName, train
from clfcore.data.columns import MESSAGES, Columns
from clfcore.data.messages import DataSource
from clfcore.errors import TuneshotError
from clfcore.model.spec import GPT_PRESETS, MINI
from clfcore.weights.meta import (
    BUNDLED,
    check_free,
    read_meta,
    trained_columns,
)
from clfcore.weights.source import check_source
from clfcore.weights.unopened import checkpoint_path
from clfcore.wording import printable

if TYPE_CHECKING:
    from clfcore.fine_tuned import FineTuned

app = terminal.new_app("Fine-tune a language model into a classifier, and use it.")
data_app = terminal.new_app(
    "The messages: download the corpus, look at what is there.", version=False
)
app.add_typer(data_app, name="data")
app.command()(train)
app.command()(experiments)
app.command()(check_cache)
app.command()(align)
app.command()(attention)
app.command()(cost)
app.command()(pretrain)
app.command()(quantize)
app.command()(rank)
app.command()(sample)


def main() -> None:
    """Entry point of the ``clf`` command."""
    terminal.run_app(app)


@data_app.command()
@with_examples("", "--from SMSSpamCollection", "--from https://example.org/smsspamcollection.zip")
def fetch(
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="A URL or a file instead of UCI and its mirrors.",
            rich_help_panel=MESSAGES,
        ),
    ] = None,
) -> None:
    """Download the SMS Spam Collection (200 KB) and check its hash."""
    from clfcore.data.corpus import fetch_corpus

    path = fetch_corpus(source, on_progress=stderr.print)
    stdout.print(f"the SMS Spam Collection is in {path}", soft_wrap=True)


@data_app.command()
@with_examples("", "--json", "--data mine.csv --text-column message --label-column kind")
@with_config(DataSource, "source")
def show(source: DataSource, base: BaseName = MINI, as_json: Json = False) -> None:
    """Which messages would be used, how they are split, and what to know about them."""
    if base not in GPT_PRESETS:  # before the messages are read
        check_source(base)
    messages = source.load()
    examples, name = messages.examples, messages.name
    from clfcore.data.quality import check_quality, data_card
    from clfcore.data.split import content_hash
    from clfcore.weights.bases import reading_of

    encode, limit = reading_of(base)

    def count_tokens(text: str) -> int:
        return len(encode(text))

    quality = check_quality(examples, count_tokens, limit)
    card = data_card(examples, name, count_tokens)
    parts = {"all": examples}
    try:
        split = messages.split()
        rows_of = {"train": split.train, "val": split.val, "test": split.test}
        parts = {part: [examples[i] for i in rows] for part, rows in rows_of.items()} | parts
    except TuneshotError:
        pass  # too few of a label: the warnings say so
    counts = {part: Counter(e.label for e in messages) for part, messages in parts.items()}
    hashes = {part: content_hash(messages) for part, messages in parts.items()}
    warnings = quality.warnings()
    if as_json:
        record = {
            part: {"messages": counts[part].total(), "labels": counts[part], "sha256": digest}
            for part, digest in hashes.items()
        }
        terminal.print_json(
            {
                "source": name,
                "base": base,
                "card": card.to_dict(),
                "parts": record,
                "survey": quality.to_dict(),
                "warnings": warnings,
            }
        )
        return
    table = Table("label", *parts, title=printable(name))
    for label in sorted(quality.labels):
        table.add_row(printable(label), *(str(count[label]) for count in counts.values()))
    table.add_section()
    table.add_row("messages", *(str(count.total()) for count in counts.values()))
    table.add_row("sha256", *(digest[:12] for digest in hashes.values()))
    stdout.print(table)
    rows = ((field, printable(value)) for field, value in card.rows().items())
    terminal.print_table("data card", "", rows=rows, box=None, pad_edge=False)
    stdout.print(
        f"{quality.distinct} distinct messages; the longest has {quality.longest} tokens, "
        f"{base} reads {limit:,}"
    )
    for warning in warnings:
        stdout.print(f"note: {printable(warning)}", soft_wrap=True)


@app.command()
@with_examples("", "--checkpoint runs/mini --part val", "--data mine.tsv --json")
@with_config(DataSource, "source")
def evaluate(
    source: DataSource,
    checkpoint: Checkpoint = None,
    trust_source: TrustSource = False,
    part: Annotated[
        str | None,
        typer.Option(
            help="train, val, test or all; default: test if it was trained on this data.",
            rich_help_panel=MESSAGES,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Accuracy, recall, calibration and more on labelled messages, with intervals."""
    check_part(part)
    path = checkpoint_path(checkpoint, trust_source)  # before the messages are read
    messages = source.remembering(trained_columns(path)).load()
    from clfcore.data.split import content_hash
    from clfcore.evaluation.evaluate import evaluate as measure

    model = load_fine_tuned(path, trust_source)
    trained_on = model.meta.about.get("data", {})
    part, examples = part_of(messages, trained_on, part)
    if part == "all" and trained_on.get("learned_from") == content_hash(examples):
        terminal.print_note(
            f"{model.name} has learned from these messages; ask about others: --test FILE"
        )
    name, of = printable(model.name), printable(messages.name)
    stderr.print(f"{name} on {len(examples)} messages: {part} of {of}")
    with ProgressBars() as bars:
        result = measure(model, examples, lambda done: bars("evaluate", done, len(examples)))
    if as_json:
        terminal.print_json({"model": model.name, "part": part, **result.to_dict()})
    else:
        terminal.print_evaluation(result, f"{name} on {of} ({part})")


@app.command()
@with_examples(
    '"You have won a prize, call now!"',
    "--file messages.txt --json",
    '--checkpoint runs/mini "See you at eight"',
)
@with_config(Columns, "columns")
def classify(
    columns: Columns,
    texts: Texts = None,
    file: File = None,
    checkpoint: Checkpoint = None,
    trust_source: TrustSource = False,
    as_json: Json = False,
) -> None:
    """Label messages with a fine-tuned GPT-2."""
    columns = columns.remembering(trained_columns(checkpoint))
    messages = terminal.read_messages(texts, file, columns.text_column)
    model = load_fine_tuned(checkpoint, trust_source)
    predictions = model.predict(messages)
    if as_json:
        for text, prediction in zip(messages, predictions, strict=True):
            terminal.print_json({"text": text, **terminal.prediction_record(prediction)})
        return
    terminal.print_table(
        "answer", *model.labels, "message", "note",
        rows=[
            (
                prediction.label,
                *(f"{prediction.probabilities[label]:.1%}" for label in model.labels),
                terminal.shortened(text, 200),
                "; ".join(prediction.notes),
            )
            for text, prediction in zip(messages, predictions, strict=True)
        ],
        box=None, pad_edge=False,
    )  # fmt: skip


@app.command()
@with_examples("", "--json", "--checkpoint runs/mini")
def inspect(checkpoint: Checkpoint = None, as_json: Json = False) -> None:
    """What a checkpoint says about itself: shape, data, training, metrics, versions."""
    record = read_meta(checkpoint or BUNDLED)
    if as_json:
        terminal.print_json(record)
        return
    rows = ((name, printable(str(value))) for name, value in _flat(record))
    terminal.print_table("field", "value", rows=rows, box=None, pad_edge=False)


@app.command()
@with_examples("", "--out curves.svg", "--checkpoint runs/mini --out mini.pdf")
def plot(
    checkpoint: Checkpoint = None,
    out: Annotated[
        Path, typer.Option(help="A .png, .svg or .pdf file.", rich_help_panel=OUTPUT)
    ] = Path("curves.png"),
) -> None:
    """Draw loss and accuracy over epochs and examples seen, as on the slides."""
    record = read_meta(checkpoint or BUNDLED)
    from clfcore.training.curves import history_of, save_figure, training_curves

    save_figure(training_curves(history_of(record["about"]), record["name"]), out)
    stdout.print(f"the curves are in {out}", soft_wrap=True)


@app.command()
@with_examples(
    "--checkpoint runs/lora --out runs/merged",
    "--checkpoint runs/dora --out runs/merged",
    "--checkpoint ~/models/lora --out /tmp/merged",
)
def merge(
    checkpoint: Annotated[
        Path,
        typer.Option("--checkpoint", help="A checkpoint with an adapter.", rich_help_panel=MODEL),
    ],
    out: Annotated[
        Path, typer.Option(help="Where the merged checkpoint goes.", rich_help_panel=OUTPUT)
    ],
    trust_source: TrustSource = False,
) -> None:
    """Fold an adapter into the weights: the same answers, without the adapter's cost."""
    checkpoint_path(checkpoint, trust_source)
    check_free(out)
    from clfcore.weights.checkpoint import merged, save_checkpoint

    loaded = merged(checkpoint, trust_source)
    save_checkpoint(out, loaded.model, loaded.meta)
    stdout.print(f"checkpoint: {out}", soft_wrap=True)


def load_fine_tuned(checkpoint: Path | None, trust_source: bool = False) -> "FineTuned":
    """The model of ``--checkpoint``; what is no checkpoint is refused before torch is imported.

    Args:
        checkpoint: its folder or file.
        trust_source: see ``check_trusted``.

    Raises:
        TuneshotError: it does not exist or cannot be used.
    """
    path = checkpoint_path(checkpoint, trust_source)
    from clfcore.fine_tuned import FineTuned

    return FineTuned.load(path, trust_source)


def _flat(record: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
