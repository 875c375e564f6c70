"""``clf``: get data, fine-tune (``cli_train.py``), compare settings
(``cli_experiments.py``), evaluate, classify, inspect, plot, merge.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from clfcore.cli import terminal
from clfcore.cli.experiments import experiments
from clfcore.cli.terminal import (
    Bars,
    Data,
    File,
    Json,
    LabelColumnName,
    TextColumnName,
    Texts,
    stderr,
    stdout,
)
from clfcore.cli.train import train
from clfcore.errors import TuneshotError, unknown_choice

app = terminal.new_app("Fine-tune a language model into a classifier, and use it.")
data_app = terminal.new_app("The messages: download the corpus, look at what is there.")
app.add_typer(data_app, name="data")
app.command()(train)
app.command()(experiments)

Checkpoint = Annotated[
    Path | None,
    typer.Option("--checkpoint", help="Folder, or chapter-6 .pth; default: the bundled gpt2-mini."),
]
PARTS = ("train", "val", "test", "all")


def main() -> None:
    """Entry point of the ``clf`` command."""
    terminal.run(app)


@data_app.command()
def fetch(
    source: Annotated[
        str | None, typer.Option("--from", help="A URL or a file instead of UCI and its mirrors.")
    ] = None,
) -> None:
    """Download the SMS Spam Collection (200 KB) and check its hash."""
    from clfcore.data.corpus import fetch_corpus

    path = fetch_corpus(source, on_progress=stderr.print)
    stdout.print(f"the SMS Spam Collection is in {path}")


@data_app.command()
def show(
    data: Data = None,
    text_column: TextColumnName = None,
    label_column: LabelColumnName = None,
    as_json: Json = False,
) -> None:
    """Which messages would be used, how they are split, and what to know about them."""
    from clfcore.data.messages import load_messages
    from clfcore.data.quality import survey
    from clfcore.data.split import content_hash, grouped_stratified_split
    from clfcore.model.spec import GPT_PRESETS
    from clfcore.model.tokenizer import encode

    examples, name = load_messages(data, text_column, label_column)
    found = survey(examples, lambda text: len(encode(text)), GPT_PRESETS["gpt2"].context_length)
    parts = {"all": examples}
    try:
        split = grouped_stratified_split(examples)
        rows_of = {"train": split.train, "val": split.val, "test": split.test}
        parts = {part: [examples[i] for i in rows] for part, rows in rows_of.items()} | parts
    except TuneshotError:
        pass  # too few of a label: the survey says so
    counts = {part: Counter(e.label for e in chosen) for part, chosen in parts.items()}
    hashes = {part: content_hash(chosen) for part, chosen in parts.items()}
    if as_json:
        shown = {
            part: {"messages": len(chosen), "labels": counts[part], "sha256": hashes[part]}
            for part, chosen in parts.items()
        }
        record = {"source": name, "parts": shown, "survey": found.to_dict()}
        terminal.print_json({**record, "warnings": found.warnings()})
        return
    table = Table("label", *parts, title=terminal.printable(name))
    for label in sorted(found.labels):
        table.add_row(terminal.printable(label), *(str(counts[part][label]) for part in parts))
    table.add_section()
    table.add_row("messages", *(str(len(chosen)) for chosen in parts.values()))
    table.add_row("sha256", *(digest[:12] for digest in hashes.values()))
    stdout.print(table)
    stdout.print(f"{found.distinct} distinct messages; the longest has {found.longest} tokens")
    for warning in found.warnings():
        stdout.print(f"note: {terminal.printable(warning)}")


@app.command()
def evaluate(
    data: Data = None,
    checkpoint: Checkpoint = None,
    part: Annotated[
        str | None,
        typer.Option(help="train, val, test or all; default: test if it was trained on this data."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Accuracy, recall, calibration and more on labelled messages, with intervals."""
    from clfcore.data.messages import load_messages
    from clfcore.data.split import content_hash, grouped_stratified_split
    from clfcore.evaluation.evaluate import evaluate as judge
    from clfcore.fine_tuned import FineTuned

    if part not in (None, *PARTS):
        raise unknown_choice("part", part, PARTS)
    source = load_messages(data)
    model = FineTuned.load(checkpoint)
    learned = model.meta.about.get("data", {})
    if part is None:  # a figure on its own training messages would say nothing
        part = "test" if learned.get("sha256") == content_hash(source.examples) else "all"
    examples = source.examples
    if part != "all":
        split = grouped_stratified_split(examples, seed=learned.get("split_seed", 0))
        examples = [source.examples[row] for row in getattr(split, part)]
    stderr.print(f"{model.name} on {len(examples)} messages: {part} of {source.name}")
    with Bars() as bars:
        result = judge(model, examples, lambda done: bars("evaluate", done, len(examples)))
    if as_json:
        terminal.print_json({"model": model.name, "part": part, **result.to_dict()})
    else:
        terminal.print_evaluation(result, f"{model.name} on {source.name} ({part})")


@app.command()
def classify(
    texts: Texts = None,
    file: File = None,
    checkpoint: Checkpoint = None,
    as_json: Json = False,
) -> None:
    """Label messages with a fine-tuned GPT-2."""
    from clfcore.fine_tuned import FineTuned

    asked = terminal.messages(texts, file)
    model = FineTuned.load(checkpoint)
    predictions = model.predict(asked)
    if as_json:
        for text, prediction in zip(asked, predictions, strict=True):
            terminal.print_json(terminal.prediction_record(text, prediction))
        return
    table = Table("answer", *model.labels, "message", "note", box=None, pad_edge=False)
    for text, prediction in zip(asked, predictions, strict=True):
        shares = [f"{prediction.probabilities[label]:.1%}" for label in model.labels]
        shown = terminal.printable(text if len(text) <= 200 else text[:199] + "…")
        table.add_row(prediction.label, *shares, shown, "; ".join(prediction.notes))
    stdout.print(table)


@app.command()
def inspect(checkpoint: Checkpoint = None, as_json: Json = False) -> None:
    """What a checkpoint says about itself: shape, data, training, metrics, versions."""
    from clfcore.weights.meta import BUNDLED, read_meta

    record = read_meta(checkpoint or BUNDLED)
    if as_json:
        terminal.print_json(record)
        return
    table = Table("field", "value", box=None, pad_edge=False)
    for name, value in _flat(record):
        table.add_row(name, terminal.printable(str(value)))
    stdout.print(table)


@app.command()
def plot(
    checkpoint: Checkpoint = None,
    out: Annotated[Path, typer.Option(help="A .png, .svg or .pdf file.")] = Path("curves.png"),
) -> None:
    """Draw loss and accuracy over epochs and examples seen, as on the slides."""
    from clfcore.training.curves import history_of, save_figure, training_curves
    from clfcore.weights.meta import BUNDLED, read_meta

    record = read_meta(checkpoint or BUNDLED)
    save_figure(training_curves(history_of(record["about"]), record["name"]), out)
    stdout.print(f"the curves are in {out}")


@app.command()
def merge(
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="A checkpoint with an adapter.")],
    out: Annotated[Path, typer.Option(help="Where the merged checkpoint goes.")],
) -> None:
    """Fold an adapter into the weights: the same answers, without the adapter's cost."""
    from clfcore.weights.checkpoint import merged, save_checkpoint
    from clfcore.weights.meta import check_free

    check_free(out)
    loaded = merged(checkpoint)
    save_checkpoint(out, loaded.model, loaded.meta)
    stdout.print(f"checkpoint: {out}")


def _flat(record: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
