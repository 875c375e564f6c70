"""``icl``: few-shot classification on the command line.

Models are imported inside the commands, so that ``--help`` answers at once.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.progress import Progress
from rich.table import Table

from clfcore.data import (
    duplicate_groups,
    grouped_stratified_split,
    load_messages,
    load_pool,
    normal_form,
)
from clfcore.errors import TuneshotError
from clfcore.terminal import (
    File,
    Json,
    Texts,
    messages,
    new_app,
    prediction_record,
    print_json,
    printable,
    run,
    stderr,
    stdout,
)
from clfcore.types import Example
from icl.prompt import ARRANGEMENTS, BALANCES
from icl.selectors import SELECTORS

if TYPE_CHECKING:
    from clfcore.evaluate import Evaluation
    from icl.classify import FewShot, FewShotPrediction

app = new_app("Classify messages by showing a language model a few labelled examples.")


def _one_of(known: Collection[str], about: str) -> Any:  # noqa: ANN401 (so does Typer)
    """An option whose value is a key of a registry; anything else is bad usage."""

    def check(given: str) -> str:
        if given not in known:
            raise typer.BadParameter(f"{given!r}; choose from {', '.join(known)}")
        return given

    return typer.Option(help=about, callback=check, metavar="|".join(known))


SelectorName = Annotated[str, _one_of(SELECTORS, "How examples are chosen.")]
K = Annotated[int, typer.Option("-k", min=0, help="How many examples to show.")]
Balance = Annotated[str, _one_of(BALANCES, "How many of each label.")]
Order = Annotated[str, _one_of(ARRANGEMENTS, "Their order in the prompt.")]
PoolPath = Annotated[
    Path | None,
    typer.Option("--pool", help="Labelled messages; default: the corpus' training part."),
]
ModelName = Annotated[str, typer.Option("--lm", help="A transformers folder or Hugging Face name.")]
Seed = Annotated[int, typer.Option(help="For what is random.")]

_LM = "SmolLM2-135M-Instruct"


@app.command()
def classify(
    texts: Texts = None,
    file: File = None,
    selector: SelectorName = "topk",
    k: K = 4,
    balance: Balance = "equal",
    order: Order = "similar_last",
    pool: PoolPath = None,
    lm: ModelName = _LM,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Labels messages, and shows the examples each answer rests on."""
    found = messages(texts, file)
    few_shot = _few_shot(_pool(pool), selector, k, balance, order, lm, seed)
    for text in found:
        (prediction,) = few_shot.predict([text])
        if json:
            print_json(_record(text, prediction))
        else:
            _show(text, prediction)


@app.command()
def show_prompt(
    text: Annotated[str, typer.Argument(help="The message to classify.")],
    selector: SelectorName = "topk",
    k: K = 4,
    balance: Balance = "equal",
    order: Order = "similar_last",
    pool: PoolPath = None,
    lm: ModelName = _LM,
    seed: Seed = 0,
) -> None:
    """Prints the exact text the language model reads."""
    if SELECTORS[selector].votes:
        raise TuneshotError(f"selector {selector!r} asks no language model, so it has no prompt")
    prompt = _few_shot(_pool(pool), selector, k, balance, order, lm, seed).prompt(text)
    stderr.print(f"{prompt.tokens} tokens, {len(prompt.demonstrations)} examples")
    typer.echo(prompt.text.encode("utf-8", "replace"), nl=False)


@app.command()
def evaluate(
    data: Annotated[
        Path | None, typer.Option(help="Labelled messages to ask about; default: the pool's.")
    ] = None,
    pool: PoolPath = None,
    selector: SelectorName = "topk",
    k: K = 4,
    balance: Balance = "equal",
    order: Order = "similar_last",
    limit: Annotated[int, typer.Option(min=1, help="How many messages to ask about.")] = 200,
    balanced: Annotated[
        bool, typer.Option(help="As many of each label, or the data's own shares.")
    ] = True,
    lm: ModelName = _LM,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Measures accuracy on labelled messages that the pool does not hold.

    One data set is split: examples come from its training part, questions from its test part.
    With both --data and --pool, copies of a question are taken out of the pool.
    """
    from clfcore.evaluate import evaluate as judge

    demonstrations, questions, source = _parts(data, pool)
    asked = _draw(questions, limit, balanced, seed)
    few_shot = _few_shot(demonstrations, selector, k, balance, order, lm, seed)
    with Progress(console=stderr, transient=True) as bar:
        task = bar.add_task(f"{selector}, k={k}", total=len(asked))
        result = judge(few_shot, asked, lambda done: bar.update(task, completed=done), batch_size=8)
    settings = {
        "selector": selector,
        "k": 0 if selector == "zero" else k,
        "balance": few_shot.balance,
        "order": order,
        "lm": None if few_shot.lm is None else few_shot.lm.name,
        "embedder": few_shot.embedder.name,
        "seed": seed,
        "data": source,
        "pool_messages": len(demonstrations),
        "balanced": balanced,
    }
    if json:
        print_json({**settings, **result.to_dict()})
    else:
        _show_result(settings, result)


def main() -> None:
    """The console script."""
    run(app)


# --- putting the parts together -----------------------------------------------------------------


def _few_shot(
    pool: Sequence[Example], selector: str, k: int, balance: str, order: str, lm: str, seed: int
) -> "FewShot":
    from icl.classify import FewShot
    from icl.embed import SentenceEmbedder
    from icl.lm import LocalLM
    from icl.pool import Pool
    from icl.tasks import TASKS

    embedder = SentenceEmbedder()
    return FewShot(
        TASKS["sms_spam"],
        Pool.build(pool, embedder),
        embedder,
        None if SELECTORS[selector].votes else LocalLM(lm),
        selector,
        k,
        balance,
        order,
        seed,
    )


def _pool(path: Path | None) -> list[Example]:
    examples, name = load_pool(path)
    stderr.print(f"examples from: {name} ({len(examples):,} messages)")
    return examples


def _parts(data: Path | None, pool: Path | None) -> tuple[list[Example], list[Example], str]:
    """Messages for demonstrations, messages to ask about, and the source of the latter."""
    questions, name = load_messages(data)
    if pool is None:
        split = grouped_stratified_split(questions)
        return [questions[i] for i in split.train], [questions[i] for i in split.test], name
    asked = {normal_form(question.text) for question in questions}
    examples = load_messages(pool).examples
    kept = [example for example in examples if normal_form(example.text) not in asked]
    if len(kept) < len(examples):
        stderr.print(f"{len(examples) - len(kept):,} copies of questions taken out of the pool")
    return kept, questions, name


def _draw(examples: Sequence[Example], limit: int, balanced: bool, seed: int) -> list[Example]:
    """At most ``limit`` different messages; ``balanced``: the same number of each label."""
    first = np.unique(duplicate_groups(e.text for e in examples), return_index=True)[1]
    rows = np.random.default_rng(seed).permutation(first)
    if balanced:
        labels = sorted({example.label for example in examples})
        of = {label: [row for row in rows if examples[row].label == label] for label in labels}
        each = min(limit // len(labels), *map(len, of.values()))
        rows = np.array([row for label in labels for row in of[label][:each]])
    return [examples[row] for row in sorted(rows[:limit])]


# --- showing ------------------------------------------------------------------------------------


def _record(text: str, prediction: "FewShotPrediction") -> dict[str, Any]:
    return {
        **prediction_record(text, prediction),
        "demonstrations": [
            {"text": shown.text, "label": shown.label, "similarity": shown.similarity}
            for shown in prediction.demonstrations
        ],
        "prompt_tokens": prediction.prompt_tokens,
        "dropped": prediction.dropped,
    }


def _show(text: str, prediction: "FewShotPrediction") -> None:
    probability = prediction.probabilities[prediction.label]
    table = Table(
        title=f"{prediction.label}  {probability:.0%}   {_short(text, 60)}",
        caption=f"{prediction.prompt_tokens} prompt tokens, {prediction.ms:.0f} ms",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("example, in prompt order", overflow="fold")
    table.add_column("label", no_wrap=True)
    table.add_column("similarity", justify="right", no_wrap=True)
    for shown in prediction.demonstrations:
        similarity = "" if shown.similarity is None else f"{shown.similarity:.3f}"
        table.add_row(_short(shown.text, 200), shown.label, similarity)
    stdout.print(table)
    for note in prediction.notes:
        stderr.print(f"note: {note}")


def _show_result(settings: dict[str, Any], result: "Evaluation") -> None:
    metrics = result.metrics
    table = Table(title=f"{settings['selector']}, k={settings['k']}", title_justify="left")
    table.add_column("measure")
    table.add_column("value [95 % interval]", justify="right")
    table.add_row("messages", str(metrics.messages))
    table.add_row("accuracy", str(metrics.accuracy))
    table.add_row("balanced accuracy", f"{metrics.balanced_accuracy:.4f}")
    for label, share in metrics.recall.items():
        table.add_row(f"{label} found", str(share))
    table.add_row("always the commonest label", str(result.majority))
    table.add_row("ms a message", f"{result.ms_per_message:.0f}")
    stdout.print(table)


def _short(text: str, most: int) -> str:
    visible = printable(text)
    return visible if len(visible) <= most else visible[: most - 1] + "…"
