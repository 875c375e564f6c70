"""``icl``: few-shot classification on the command line.

Models are imported inside the commands, so that ``--help`` answers at once.
"""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column

from clfcore.cli.options import with_config, with_settings
from clfcore.cli.terminal import (
    OUTPUT,
    File,
    Json,
    ProgressBars,
    Texts,
    new_app,
    prediction_record,
    print_evaluation,
    print_json,
    print_note,
    print_table,
    printable,
    read_messages,
    run_app,
    shortened,
    stderr,
    stdout,
    with_examples,
)
from clfcore.config import DEFAULT_LM
from clfcore.data.columns import MESSAGES
from clfcore.data.draw import draw
from clfcore.errors import TuneshotError, unknown_choice
from clfcore.types import NO_ANSWER
from icl.cli.few_shot import (
    build_few_shot,
    load_few_shot,
    note_unanswered,
    note_unanswered_records,
    pool_and_questions,
    run_grid,
    task_named,
)
from icl.cli.options import ModelChoice, TaskSource, with_few_shot_settings
from icl.prompt.free_prompts import FREE_PROMPTS
from icl.prompt.tasks import TASKS
from icl.selectors.table import SELECTORS
from icl.settings import EXAMPLES, FewShotConfig, options_of, read_option

if TYPE_CHECKING:
    from icl.few_shot import FewShotPrediction


CELLS = "The grid"  # a heading of --help

app = new_app("Classify messages by showing a language model a few labelled examples.")


# --- commands -----------------------------------------------------------------------------------


@app.command()
@with_examples(
    '"You have won a prize, call now!"',
    "--file messages.txt --selector mmr -k 8 --json",
    '--lm api:openai/gpt-4o-mini --task sst2 "a gripping film"',
)
@with_few_shot_settings
def classify(
    settings: FewShotConfig,
    source: TaskSource,
    models: ModelChoice,
    texts: Texts = None,
    file: File = None,
    json: Json = False,
) -> None:
    """Labels messages, and shows the examples each answer rests on."""
    messages = read_messages(texts, file, source.text_column)
    few_shot = load_few_shot(source, models, settings)
    unanswered = 0
    for text in messages:
        (prediction,) = few_shot.predict([text])
        unanswered += prediction.label is None
        if json:
            print_json(_record(text, prediction))
        else:
            _print_prediction(text, prediction)
    note_unanswered(unanswered, len(messages), settings.chat)


@app.command()
@with_examples(
    '"Free entry! Text WIN to 80086"',
    '-k 2 --order random "See you at eight"',
    '--chat --balance none "See you at eight"',
)
@with_few_shot_settings
def show_prompt(
    settings: FewShotConfig,
    source: TaskSource,
    models: ModelChoice,
    text: Annotated[str, typer.Argument(help="The message to classify.")],
) -> None:
    """Prints the exact text the language model reads."""
    if SELECTORS[settings.selector].votes:
        raise TuneshotError(
            f"selector {settings.selector!r} asks no language model, so it has no prompt"
        )
    prompt = load_few_shot(source, models, settings).prompt(text)
    from icl.prompt.prompt import as_text

    stderr.print(f"{prompt.tokens} tokens, {len(prompt.demonstrations)} examples")
    sys.stdout.write(as_text(prompt.text))


@app.command()
@with_examples(
    '"Free entry! Text WIN to 80086"',
    '--selector votek_pool --set annotate=50 "See you at eight"',
    '--selector bm25 -k 8 --json "See you at eight"',
)
@with_few_shot_settings
def select(
    settings: FewShotConfig,
    source: TaskSource,
    models: ModelChoice,
    text: Annotated[str, typer.Argument(help="The message to choose examples for.")],
    json: Json = False,
) -> None:
    """Shows what would be shown, by rank: row, similarity, score, label; and what was left out."""
    few_shot = load_few_shot(source, models, settings)
    shown, left_out = few_shot.select(text)
    if json:
        for rank, each in enumerate(shown, start=1):
            print_json({"rank": rank, "row": each.row, "label": each.label, "text": each.text,
                        "similarity": each.similarity, "score": each.score})  # fmt: skip
        for row in left_out:
            print_json({"row": row.row, "left_out": row.reason})
        return
    print_table(
        "rank", "row", "similarity", "score", "label", "message",
        rows=[
            (
                str(rank),
                str(each.row),
                *("" if n is None else f"{n:.4g}" for n in (each.similarity, each.score)),
                each.label,
                shortened(each.text, 100),
            )
            for rank, each in enumerate(shown, start=1)
        ],
    )  # fmt: skip
    for row in left_out:
        stdout.print(f"left out: row {row.row}, {row.reason}")


@app.command()
@with_examples(
    "--selector knn --limit 50",
    "--data mine.tsv --no-balanced --json",
    "--task ag_news --calibration batch --limit 100",
)
@with_few_shot_settings
def evaluate(
    settings: FewShotConfig,
    source: TaskSource,
    models: ModelChoice,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Labelled messages to ask about; default: the task's.", rich_help_panel=MESSAGES
        ),
    ] = None,
    limit: Annotated[
        int,
        typer.Option(min=1, help="How many messages to ask about.", rich_help_panel=MESSAGES),
    ] = 200,
    balanced: Annotated[
        bool,
        typer.Option(
            help="Ask about as many of each label, or the data's own shares.",
            rich_help_panel=MESSAGES,
        ),
    ] = True,
    json: Json = False,
) -> None:
    """Measures accuracy on labelled messages that the pool does not hold.

    Examples come from the task's training part, questions from its test part. With --data, its
    messages are split into both, unless --pool is given. The pool loses its copies of questions.
    """
    task = task_named(source.task, source)
    examples, questions = pool_and_questions(task, source, data)
    questions = draw(questions, limit, balanced, settings.seed)
    few_shot = build_few_shot(task, examples, models, settings)
    from clfcore.evaluation.evaluate import evaluate as measure

    name = f"{settings.selector}, k={settings.k}"
    with ProgressBars() as bars:
        result = measure(
            few_shot, questions, lambda done: bars(name, done, len(questions)), batch_size=8
        )
    note_unanswered(result.metrics.no_answer, len(questions), settings.chat)
    if not json:
        print_evaluation(result, f"{name}, {len(questions)} messages")
        return
    about = {
        **settings.to_dict(),
        "k": 0 if settings.selector == "zero" else settings.k,
        "balance": few_shot.balance,
        "task": task.name,
        "lm": None if few_shot.lm is None else few_shot.lm.name,
        "embedder": few_shot.embedder.name,
        "pool_messages": len(examples),
        "balanced": balanced,
    }
    print_json({**about, **result.to_dict()})


@app.command()
@with_examples(
    *(f"{name} {shlex.quote(prompt.questions[0][0])}" for name, prompt in FREE_PROMPTS.items()),
)
@with_config(ModelChoice, "models", without=("embedder",))
def complete(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(FREE_PROMPTS)}.")],
    text: Annotated[str, typer.Argument(help="What to translate, or to judge.")],
    models: ModelChoice,
) -> None:
    """Lets the language model continue one of the lecture's worked prompts."""
    if name not in FREE_PROMPTS:
        raise unknown_choice("prompt", name, FREE_PROMPTS)
    from icl.lm.open import open_lm

    prompt = FREE_PROMPTS[name]
    answer = open_lm(models.lm, models.base_url).generate(prompt.render(text), stop=prompt.stop)
    stdout.print(printable(answer.text.strip()))


@app.command()
@with_examples(
    "--tasks sms_spam --selectors topk,votek_pool",
    "--tasks sst2,ag_news --selectors topk,mmr --k 4,8 --seeds 5 --folder tables",
    "--tasks sms_spam --selectors topk --table",
)
@with_config(TaskSource, "source", without=("task",))
@with_config(ModelChoice, "models", without=("lm",))
@with_settings(FewShotConfig, defaults=True, without=("selector", "options", "k", "seed"))
def grid(
    *,
    settings: dict[str, Any],
    source: TaskSource,
    models: ModelChoice,
    tasks: Annotated[
        str,
        typer.Option(help="Names, separated by commas; see icl tasks.", rich_help_panel=CELLS),
    ],
    selectors: Annotated[
        str,
        typer.Option(help="Names, separated by commas; see icl selectors.", rich_help_panel=CELLS),
    ],
    lms: Annotated[
        str, typer.Option(help="As --lm of the other commands.", rich_help_panel=CELLS)
    ] = DEFAULT_LM,
    ks: Annotated[
        str, typer.Option("--k", help="Numbers, separated by commas.", rich_help_panel=CELLS)
    ] = "4",
    seeds: Annotated[
        int, typer.Option(min=1, help="Runs of each cell.", rich_help_panel=CELLS)
    ] = 3,
    limit: Annotated[
        int,
        typer.Option(min=1, help="Messages asked about in each cell.", rich_help_panel=MESSAGES),
    ] = 300,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="selector.option=value",
            metavar="S.N=V",
            rich_help_panel=EXAMPLES,
        ),
    ] = None,
    balanced: Annotated[
        bool,
        typer.Option(
            help="Ask about as many of each label, or the data's own shares.",
            rich_help_panel=MESSAGES,
        ),
    ] = True,
    out: Annotated[
        Path,
        typer.Option(help="Folder of records, answers and table.md.", rich_help_panel=OUTPUT),
    ] = Path("runs/grid"),
    ray: Annotated[
        str | None,
        typer.Option(
            help="Address of a Ray cluster to spread the cells over.", rich_help_panel=OUTPUT
        ),
    ] = None,
    table: Annotated[
        bool,
        typer.Option(
            "--table",
            help="Draw the table of --out again; run nothing.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
) -> None:
    """Evaluates models × tasks × selectors × k × seeds, with zero, random and knn beside them.

    A killed grid continues where it was when it is started again.
    """
    from clfcore.evaluation.runner import write_table
    from icl.grid.cell import cells
    from icl.grid.table import FEW_SHOT_GRID

    if table:
        typer.echo(write_table(out, FEW_SHOT_GRID))
        return
    of_selector: dict[str, dict[str, Any]] = {}
    for assignment in options or ():
        selector, dot, rest = assignment.partition(".")
        if not dot or selector not in SELECTORS:
            raise TuneshotError(f"expected selector.option=value, not {assignment!r}")
        of_selector.setdefault(selector, {}).update([read_option(selector, rest)])
    grid_cells = cells(
        tasks=_names(tasks), lms=_names(lms), selectors=_names(selectors), ks=_numbers(ks),
        seeds=range(seeds), options=of_selector, limit=limit, balanced=balanced, **settings,
    )  # fmt: skip
    records = run_grid(grid_cells, source, models, out, ray)
    failed = [record for record in records if "error" in record]
    stdout.print(f"{out / 'table.md'}: {len(records) - len(failed)} cells", soft_wrap=True)
    note_unanswered_records(records)
    for record in failed:
        stderr.print(f"failed: {record['config']['task']}: {printable(record['error'])}")
    if failed:
        raise typer.Exit(1)


@app.command("tasks")
@with_examples("")
def list_tasks() -> None:
    """Lists the tasks and their labels."""
    print_table(
        "task", "labels",
        rows=[
            (name, ", ".join(task.labels if len(task.labels) < 9 else (*task.labels[:6], "…")))
            for name, task in TASKS.items()
        ],
    )  # fmt: skip


@app.command("selectors")
@with_examples("")
def list_selectors() -> None:
    """Lists the selectors, what they do, and their options."""
    print_table(
        "selector", "what it shows", "options",
        rows=[
            (
                name,
                f"{selector.title}: {selector.description}"
                + (f" ({selector.source})" if selector.source else ""),
                ", ".join(f"{option}={value}" for option, value in options_of(name).items()),
            )
            for name, selector in SELECTORS.items()
        ],
    )  # fmt: skip


def main() -> None:
    """The console script."""
    run_app(app)


# --- reading ------------------------------------------------------------------------------------


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
        "text": text,
        **prediction_record(prediction),
        "demonstrations": [
            {"text": shown.text, "label": shown.label, "similarity": shown.similarity}
            for shown in prediction.demonstrations
        ],
        "prompt_tokens": prediction.prompt_tokens,
        "dropped": prediction.dropped,
    }


def _print_prediction(text: str, prediction: "FewShotPrediction") -> None:
    answer = NO_ANSWER if prediction.p is None else f"{prediction.label}  {prediction.p:.0%}"
    print_table(
        Column("example, in prompt order", overflow="fold"),
        Column("label", no_wrap=True),
        Column("similarity", justify="right", no_wrap=True),
        rows=[
            (
                shortened(shown.text, 200),
                shown.label,
                "" if shown.similarity is None else f"{shown.similarity:.3f}",
            )
            for shown in prediction.demonstrations
        ],
        title=f"{answer}   {shortened(text, 60)}",
        caption=f"{prediction.prompt_tokens} prompt tokens, {prediction.ms:.0f} ms",
        title_justify="left",
        caption_justify="left",
    )
    for note in prediction.notes:
        print_note(note)
