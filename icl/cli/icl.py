"""``icl``: few-shot classification on the command line.

Models are imported inside the commands, so that ``--help`` answers at once.
"""

import inspect
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from clfcore.cli.terminal import (
    Bars,
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
from clfcore.config import DEFAULT_LM
from clfcore.data.messages import load_messages, load_pool
from clfcore.data.split import grouped_stratified_split, normal_form
from clfcore.errors import TuneshotError, unknown_choice
from clfcore.types import Example, ignore
from icl.cli.options import (
    BaseUrl,
    Folder,
    ModelName,
    PoolPath,
    TaskName,
    with_few_shot_settings,
)
from icl.prompt.free_form import FREE_FORM
from icl.prompt.tasks import TASKS, Task, own_task
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig, options_of, read_option

if TYPE_CHECKING:
    from clfcore.evaluation.evaluate import Evaluation
    from icl.few_shot import FewShot, FewShotPrediction
    from icl.grid.cell import Cell


app = new_app("Classify messages by showing a language model a few labelled examples.")


# --- commands -----------------------------------------------------------------------------------


@app.command()
@with_few_shot_settings
def classify(
    settings: FewShotConfig,
    texts: Texts = None,
    file: File = None,
    task: TaskName = "sms_spam",
    folder: Folder = None,
    pool: PoolPath = None,
    lm: ModelName = DEFAULT_LM,
    base_url: BaseUrl = None,
    json: Json = False,
) -> None:
    """Labels messages, and shows the examples each answer rests on."""
    found = messages(texts, file)
    few_shot = _few_shot(task, folder, pool, settings, lm, base_url)
    for text in found:
        (prediction,) = few_shot.predict([text])
        if json:
            print_json(_record(text, prediction))
        else:
            _show(text, prediction)


@app.command()
@with_few_shot_settings
def show_prompt(
    settings: FewShotConfig,
    text: Annotated[str, typer.Argument(help="The message to classify.")],
    task: TaskName = "sms_spam",
    folder: Folder = None,
    pool: PoolPath = None,
    lm: ModelName = DEFAULT_LM,
    base_url: BaseUrl = None,
) -> None:
    """Prints the exact text the language model reads."""
    from icl.prompt.prompt import as_text

    if SELECTORS[settings.selector].votes:
        raise TuneshotError(
            f"selector {settings.selector!r} asks no language model, so it has no prompt"
        )
    prompt = _few_shot(task, folder, pool, settings, lm, base_url).prompt(text)
    stderr.print(f"{prompt.tokens} tokens, {len(prompt.demonstrations)} examples")
    typer.echo(as_text(prompt.text).encode("utf-8", "replace"), nl=False)


@app.command()
@with_few_shot_settings
def select(
    settings: FewShotConfig,
    text: Annotated[str, typer.Argument(help="The message to choose examples for.")],
    task: TaskName = "sms_spam",
    folder: Folder = None,
    pool: PoolPath = None,
    lm: ModelName = DEFAULT_LM,
    base_url: BaseUrl = None,
    json: Json = False,
) -> None:
    """Shows what would be shown, by rank: row, similarity, score, label; and what was left out."""
    shown, left_out = _few_shot(task, folder, pool, settings, lm, base_url).select(text)
    if json:
        for rank, each in enumerate(shown, start=1):
            print_json({"rank": rank, "row": each.row, "label": each.label, "text": each.text,
                        "similarity": each.similarity, "score": each.score})  # fmt: skip
        for row in left_out:
            print_json({"row": row.row, "left_out": row.reason})
        return
    table = Table("rank", "row", "similarity", "score", "label", "message")
    for rank, each in enumerate(shown, start=1):
        numbers = ("" if n is None else f"{n:.4g}" for n in (each.similarity, each.score))
        table.add_row(str(rank), str(each.row), *numbers, each.label, _short(each.text, 100))
    stdout.print(table)
    for row in left_out:
        stdout.print(f"left out: row {row.row}, {row.reason}")


@app.command()
@with_few_shot_settings
def evaluate(
    settings: FewShotConfig,
    data: Annotated[
        Path | None, typer.Option(help="Labelled messages to ask about; default: the task's.")
    ] = None,
    task: TaskName = "sms_spam",
    folder: Folder = None,
    pool: PoolPath = None,
    limit: Annotated[int, typer.Option(min=1, help="How many messages to ask about.")] = 200,
    balanced: Annotated[
        bool, typer.Option(help="As many of each label, or the data's own shares.")
    ] = True,
    lm: ModelName = DEFAULT_LM,
    base_url: BaseUrl = None,
    json: Json = False,
) -> None:
    """Measures accuracy on labelled messages that the pool does not hold.

    Examples come from the task's training part, questions from its test part. With --data, these
    are split likewise, unless --pool is given. Copies of a question are taken out of the pool.
    """
    from clfcore.data.draw import draw
    from clfcore.evaluation.evaluate import evaluate as judge

    asked_of, examples, questions = _parts(task, folder, data, pool)
    asked = draw(questions, limit, balanced, settings.seed)
    few_shot = _made(asked_of, examples, settings, lm, base_url)
    with Bars() as bars:
        stage = f"{settings.selector}, k={settings.k}"
        result = judge(few_shot, asked, lambda done: bars(stage, done, len(asked)), batch_size=8)
    about = {
        **settings.to_dict(),
        "k": 0 if settings.selector == "zero" else settings.k,
        "balance": few_shot.balance,
        "task": asked_of.name,
        "lm": None if few_shot.lm is None else few_shot.lm.name,
        "embedder": few_shot.embedder.name,
        "pool_messages": len(examples),
        "balanced": balanced,
    }
    if json:
        print_json({**about, **result.to_dict()})
    else:
        _show_result(about, result)


@app.command()
def complete(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(FREE_FORM)}.")],
    text: Annotated[str, typer.Argument(help="What to translate, or to judge.")],
    lm: ModelName = DEFAULT_LM,
    base_url: BaseUrl = None,
) -> None:
    """Lets the language model go on with one of the lecture's worked prompts."""
    if name not in FREE_FORM:
        raise unknown_choice("prompt", name, FREE_FORM)
    from icl.lm.open import open_lm

    prompt = FREE_FORM[name]
    answer = open_lm(lm, base_url).generate(prompt.render(text), stop=prompt.stop)
    stdout.print(printable(answer.text.strip()))


@app.command()
def grid(
    tasks: Annotated[str, typer.Option(help="Names, separated by commas; see icl tasks.")],
    selectors: Annotated[str, typer.Option(help="Names, separated by commas.")],
    lms: Annotated[str, typer.Option(help="As --lm of the other commands.")] = DEFAULT_LM,
    ks: Annotated[str, typer.Option("--k", help="Numbers, separated by commas.")] = "4",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each cell.")] = 3,
    limit: Annotated[int, typer.Option(min=1, help="Messages asked about in each cell.")] = 300,
    options: Annotated[
        list[str] | None, typer.Option("--set", help="selector.option=value", metavar="S.N=V")
    ] = None,
    balance: Annotated[str, typer.Option(help="How many of each label are shown.")] = "equal",
    order: Annotated[str, typer.Option(help="Their order.")] = "similar_last",
    scoring: Annotated[str, typer.Option(help="What counts as a label's score.")] = "sum",
    calibration: Annotated[str, typer.Option(help="How bias is taken out.")] = "none",
    balanced: Annotated[
        bool, typer.Option(help="Ask about as many of each label, or the data's own shares.")
    ] = True,
    folder: Folder = None,
    base_url: BaseUrl = None,
    out: Annotated[Path, typer.Option(help="Folder of records, answers and table.md.")] = Path(
        "runs/grid"
    ),
    ray: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster to spread the cells over.")
    ] = None,
    table: Annotated[
        bool, typer.Option("--table", help="Draw the table of --out again; run nothing.")
    ] = False,
) -> None:
    """Evaluates models × tasks × selectors × k × seeds, with zero, random and knn beside them.

    A killed grid goes on where it was when it is started again.
    """
    from icl.grid.cell import cells
    from icl.grid.run import run_cell, run_grid, write_table

    if table:
        typer.echo(write_table(out))
        return
    of_selector: dict[str, dict[str, Any]] = {}
    for assignment in options or ():
        selector, dot, rest = assignment.partition(".")
        if not dot or selector not in SELECTORS:
            raise TuneshotError(f"expected selector.option=value, not {assignment!r}")
        of_selector.setdefault(selector, {}).update([read_option(selector, rest)])
    chosen = cells(
        tasks=_names(tasks), lms=_names(lms), selectors=_names(selectors), ks=_numbers(ks),
        seeds=range(seeds), options=of_selector, limit=limit, balance=balance, order=order,
        scoring=scoring, calibration=calibration, balanced=balanced,
    )  # fmt: skip
    with Bars() as bars:
        make = partial(_made_for_a_cell, folder=folder, base_url=base_url)
        say = bars if ray is None else ignore  # bars stay on this machine
        records = run_grid(chosen, out, partial(run_cell, make=make, on_progress=say), bars, ray)
    failed = [record for record in records if "error" in record]
    stdout.print(f"{out / 'table.md'}: {len(records) - len(failed)} cells")
    for record in failed:
        stderr.print(f"failed: {record['config']['task']}: {printable(record['error'])}")
    if failed:
        raise typer.Exit(1)


@app.command("tasks")
def list_tasks() -> None:
    """Lists the tasks that are known, and their labels."""
    table = Table("task", "labels")
    for name, task in TASKS.items():
        labels = task.labels if len(task.labels) < 9 else (*task.labels[:6], "…")
        table.add_row(name, ", ".join(labels))
    stdout.print(table)


@app.command("selectors")
def list_selectors() -> None:
    """Lists the selectors, what they do, and their options."""
    table = Table("selector", "what it shows", "options")
    for name, selector in SELECTORS.items():
        about = (inspect.getdoc(selector) or "").split("\n")[0]
        options = ", ".join(f"{option}={value}" for option, value in options_of(name).items())
        table.add_row(name, about, options)
    stdout.print(table)


def main() -> None:
    """The console script."""
    run(app)


# --- putting the parts together -----------------------------------------------------------------


def _task(name: str) -> Task:
    if name in TASKS:
        return TASKS[name]
    if "/" in name or Path(name).exists():
        return own_task(name)
    raise unknown_choice("task", name, TASKS)


def _few_shot(
    task: str,
    folder: Path | None,
    pool: Path | None,
    settings: FewShotConfig,
    lm: str,
    base_url: str | None,
) -> "FewShot":
    asked_of = _task(task)
    if task == "sms_spam" or pool is not None:
        examples, name = load_pool(pool)
    else:
        examples, name = asked_of.load("train", folder), f"{asked_of.name}, training part"
    stderr.print(f"examples from: {printable(name)} ({len(examples):,} messages)")
    return _made(asked_of, examples, settings, lm, base_url)


def _made(
    task: Task, pool: Sequence[Example], settings: FewShotConfig, lm: str, base_url: str | None
) -> "FewShot":
    from icl.few_shot import FewShot
    from icl.lm.open import open_lm

    model = None if SELECTORS[settings.selector].votes else open_lm(lm, base_url)
    chosen = {field.name: getattr(settings, field.name) for field in fields(FewShotConfig)}
    return FewShot(task, chosen.pop("selector"), lm=model, **chosen).fit(pool)


def _made_for_a_cell(
    cell: "Cell",
    folder: Path | None,
    base_url: str | None,
) -> tuple["FewShot", list[Example]]:
    """The classifier of a grid's cell, and the messages it is asked about."""
    from clfcore.data.draw import draw

    task = _task(cell.task)
    asked = draw(task.load("test", folder), cell.limit, cell.balanced, cell.seed)
    few_shot = _made(task, task.load("train", folder), cell, cell.lm or DEFAULT_LM, base_url)
    return few_shot, asked


def _parts(
    task: str, folder: Path | None, data: Path | None, pool: Path | None
) -> tuple[Task, list[Example], list[Example]]:
    """The task, messages to show and messages to ask about, of which none is a copy of another."""
    asked_of = _task(task)
    questions = asked_of.load("test", folder) if data is None else load_messages(data).examples
    if pool is not None:
        examples = load_messages(pool).examples
    elif data is not None:  # one data set, split
        split = grouped_stratified_split(questions)
        examples = [questions[row] for row in split.train]
        questions = [questions[row] for row in split.test]
    else:
        examples = asked_of.load("train", folder)
    asked = {normal_form(question.text) for question in questions}
    kept = [example for example in examples if normal_form(example.text) not in asked]
    if len(kept) < len(examples):
        stderr.print(f"{len(examples) - len(kept):,} copies of questions taken out of the pool")
    return asked_of, kept, questions


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in _names(text)]
    except ValueError as error:
        raise TuneshotError(f"--k wants numbers separated by commas, not {text!r}") from error


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
