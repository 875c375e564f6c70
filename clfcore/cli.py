"""``clf``: get data, fine-tune, evaluate, classify, inspect."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from clfcore import terminal
from clfcore.errors import one_of
from clfcore.terminal import File, Json, Texts, stderr, stdout

if TYPE_CHECKING:  # torch and scikit-learn take seconds to import; --help should not wait
    from clfcore.evaluate import Evaluation

app = terminal.new_app("Fine-tune a GPT-2 into a spam classifier, and use it.")
data_app = terminal.new_app("The messages: download the corpus, look at what is there.")
app.add_typer(data_app, name="data")

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Labelled file; default: the downloaded corpus, else the sample."),
]
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
    from clfcore.data import fetch_corpus

    path = fetch_corpus(source, say=stderr.print)
    stdout.print(f"the SMS Spam Collection is in {path}")


@data_app.command()
def show(data: Data = None) -> None:
    """Which messages would be used, how many, and how they are split."""
    from clfcore.data import content_hash, duplicate_groups, grouped_stratified_split, load_messages

    source = load_messages(data)
    split = grouped_stratified_split(source.examples)
    labels = sorted({example.label for example in source.examples})
    table = Table("part", "messages", *labels, "sha256", title=source.name)
    parts = {"train": split.train, "val": split.val, "test": split.test}
    for name, rows in [*parts.items(), ("all", list(range(len(source.examples))))]:
        chosen = [source.examples[row] for row in rows]
        counts = [str(sum(e.label == label for e in chosen)) for label in labels]
        table.add_row(name, str(len(rows)), *counts, content_hash(chosen)[:12])
    stdout.print(table)
    groups = len(set(duplicate_groups(e.text for e in source.examples).tolist()))
    stdout.print(f"{groups} distinct messages; copies of one message stay in one part")


@app.command()
def train(
    base: Annotated[
        str, typer.Option(help="gpt2-mini, gpt2 … gpt2-xl, a Hugging Face repository or a folder.")
    ] = "gpt2-mini",
    data: Data = None,
    out: Annotated[Path, typer.Option(help="Where the checkpoint goes.")] = Path("runs/spam"),
    layers: Annotated[str | None, typer.Option(help="all or last_block.")] = None,
    balance: Annotated[str | None, typer.Option(help="none, oversample or undersample.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training part.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Messages a step.")] = None,
    seed: Annotated[int, typer.Option(help="Of the split and of everything random.")] = 0,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Probability from which spam is answered.")
    ] = 0.5,
    compact: Annotated[bool, typer.Option("--compact", help="Store int8 rows: a quarter.")] = False,
) -> None:
    """Fine-tune on the training part, calibrate on the validation part, report on the test part."""
    from clfcore.checkpoint import check_free
    from clfcore.data import load_messages
    from clfcore.recipe import settings_for, train_classifier

    chosen: dict[str, Any] = {
        "layers": layers,
        "balance": balance,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
    }
    config = replace(
        settings_for(base), seed=seed, **{k: v for k, v in chosen.items() if v is not None}
    )
    check_free(out)  # before the work, not after it
    source = load_messages(data)
    stderr.print(f"{len(source.examples)} messages: {source.name}")
    with _progress() as progress:
        evaluation = train_classifier(
            base, source, config, threshold, out, compact, _Watcher(progress)
        )
    _print_evaluation(evaluation, f"test part of {source.name}")
    stdout.print(f"checkpoint: {out}")


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
    from clfcore.data import content_hash, grouped_stratified_split, load_messages
    from clfcore.evaluate import evaluate as judge
    from clfcore.predict import FineTuned

    if part not in (None, *PARTS):
        raise one_of("part", part, PARTS)
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
    with _progress() as progress:
        task = progress.add_task("evaluate", total=len(examples), figures="")
        result = judge(model, examples, lambda done: progress.update(task, completed=done))
    if as_json:
        terminal.print_json({"model": model.name, "part": part, **result.to_dict()})
    else:
        _print_evaluation(result, f"{model.name} on {source.name} ({part})")


@app.command()
def classify(
    texts: Texts = None,
    file: File = None,
    checkpoint: Checkpoint = None,
    as_json: Json = False,
) -> None:
    """Label messages with a fine-tuned GPT-2."""
    from clfcore.predict import FineTuned

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
    from clfcore.checkpoint import read_meta
    from clfcore.predict import BUNDLED

    record = read_meta(checkpoint or BUNDLED)
    if as_json:
        terminal.print_json(record)
        return
    table = Table("field", "value", box=None, pad_edge=False)
    for name, value in _flat(record):
        table.add_row(name, terminal.printable(str(value)))
    stdout.print(table)


def _flat(record: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
        console=stderr,
        transient=False,
    )


class _Watcher:
    """Draws one Rich bar for each stage of the training recipe."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int, figures: str = "") -> None:
        if stage not in self._bars:
            self._bars[stage] = self._progress.add_task(stage, total=total, figures="")
        self._progress.update(self._bars[stage], completed=done, figures=figures)


def _print_evaluation(evaluation: "Evaluation", title: str) -> None:
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
