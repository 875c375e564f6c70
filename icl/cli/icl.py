"""``icl``: few-shot classification on the command line.

Models are imported inside the commands, so that ``--help`` answers at once.
"""

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column

from clfcore.cli.options import with_config
from clfcore.cli.terminal import (
    File,
    Json,
    ProgressBars,
    Texts,
    new_app,
    prediction_record,
    print_evaluation,
    print_exact,
    print_json,
    print_note,
    print_table,
    read_messages,
    run_app,
    shortened,
    stderr,
    stdout,
    with_examples,
)
from clfcore.data.columns import MESSAGES
from clfcore.data.draw import draw, fewer_asked
from clfcore.data.split import content_hash
from clfcore.errors import TuneshotError, unknown_choice
from clfcore.types import NO_ANSWER
from clfcore.wording import printable
from icl.cli.few_shot import (
    build_few_shot,
    check_models,
    load_few_shot,
    note_unanswered,
    pool_and_questions,
    task_named,
)
from icl.cli.grid import grid
from icl.cli.labs.composition import composition
from icl.cli.labs.forget import forget
from icl.cli.options import (
    Balanced,
    FewShotOptions,
    ModelChoice,
    Questions,
    TaskSource,
    with_few_shot_settings,
)
from icl.cli.train import train
from icl.cli.tune import tune
from icl.lm.open import API
from icl.prompt.free_prompts import FREE_PROMPTS
from icl.prompt.tasks import TASKS
from icl.selectors.table import SELECTORS
from icl.settings import options_of

if TYPE_CHECKING:
    from icl.answering import FewShotPrediction


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
    settings: FewShotOptions,
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
    note_unanswered(unanswered, len(messages), few_shot.chat)


@app.command()
@with_examples(
    '"Free entry! Text WIN to 80086"',
    '-k 2 --order random "See you at eight"',
    '--chat --balance none "See you at eight"',
)
@with_few_shot_settings
def show_prompt(
    settings: FewShotOptions,
    source: TaskSource,
    models: ModelChoice,
    text: Annotated[str, typer.Argument(help="The message to classify.")],
) -> None:
    """Prints the exact text the language model reads."""
    if SELECTORS[settings.selector].votes:
        raise TuneshotError(
            f"selector {settings.selector!r} votes, so it has no prompt; choose another selector"
        )
    prompt = load_few_shot(source, models, settings, answers=False).prompt(text)
    from icl.prompt.prompt import as_text

    stderr.print(f"{prompt.tokens} tokens, {len(prompt.demonstrations)} examples")
    print_exact(as_text(prompt.text))


@app.command()
@with_examples(
    '"Free entry! Text WIN to 80086"',
    '--selector votek_pool --set annotate=50 "See you at eight"',
    '--selector bm25 -k 8 --json "See you at eight"',
)
@with_few_shot_settings
def select(
    settings: FewShotOptions,
    source: TaskSource,
    models: ModelChoice,
    text: Annotated[str, typer.Argument(help="The message to choose examples for.")],
    json: Json = False,
) -> None:
    """Shows what would be shown, by rank: row, similarity, score, label; and what was left out."""
    few_shot = load_few_shot(source, models, settings, answers=False)
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
        stdout.print(f"left out: row {row.row}, {row.reason}", soft_wrap=True)


@app.command()
@with_examples(
    "--selector knn --limit 50",
    "--data mine.tsv --no-balanced --json",
    "--task ag_news --calibration batch --limit 100",
)
@with_few_shot_settings
def evaluate(
    settings: FewShotOptions,
    source: TaskSource,
    models: ModelChoice,
    data: Questions = None,
    limit: Annotated[
        int,
        typer.Option(min=1, help="How many messages to ask about.", rich_help_panel=MESSAGES),
    ] = 200,
    balanced: Balanced = True,
    json: Json = False,
) -> None:
    """Measures accuracy on labelled messages that the pool does not hold.

    Examples come from the task's training part, questions from its test part. With --data, its
    messages are split into both, unless --pool is given. The pool loses its copies of questions.
    """
    check_models(models, settings)
    task = task_named(source.task, source)
    settings.check_task(task)
    examples, questions = pool_and_questions(task, source, data)
    questions = draw(questions, limit, balanced, settings.seed)
    if sentence := fewer_asked(questions, limit, balanced):
        print_note(sentence)
    with ProgressBars() as bars:
        few_shot = build_few_shot(task, examples, models, settings, bars)
    from clfcore.evaluation.evaluate import EndedEarlyError
    from clfcore.evaluation.evaluate import evaluate as measure
    from clfcore.evaluation.shown import labels_in_words, number_in_words, shown_together
    from icl.prompt.reply_scores import SOURCES

    name = f"{settings.selector}, k={settings.k}"
    batch = 1 if models.lm.startswith(API) else 8  # what was paid for is not lost with a batch
    ended: TuneshotError | None = None
    with ProgressBars() as bars:
        try:
            result = measure(few_shot, questions, lambda n: bars(name, n, len(questions)), batch)
        except EndedEarlyError as error:
            ended, result = error, error.evaluation
    answers = len(result.predictions)
    note_unanswered(result.metrics.no_answer, answers, few_shot.chat)
    sources = Counter(note for p in result.predictions for note in p.notes if note in SOURCES)
    for source_note, count in sources.items():
        print_note(f"{count:,} of {answers:,} answers: {source_note}")
    shown = shown_together(result.predictions, few_shot.labels)
    about = {
        **settings.to_dict(),
        "chat": few_shot.chat,
        "k": 0 if settings.selector == "zero" else settings.k,
        "balance": few_shot.config.shown_balance,
        "task": task.name,
        "lm": None if few_shot.lm is None else few_shot.lm.name,
        "embedder": few_shot.embedder.name,
        "pool_messages": len(examples),
        "pool_sha256": content_hash(examples),
        "shown": shown,
        "asked": len(questions),
        "balanced": balanced,
        "probabilities": dict(sources),
    }
    if json:
        print_json({**about, **({"error": str(ended)} if ended else {}), **result.to_dict()})
    else:
        print_evaluation(result, f"{name}, {answers} messages")
        stdout.print(f"examples shown: {number_in_words(shown)}; {labels_in_words(shown)}")
    if ended:
        raise ended


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
    from icl.lm.open import check_lm, open_lm

    check_lm(models.lm, models.base_url)
    prompt = FREE_PROMPTS[name]
    answer = open_lm(models.lm, chat=False, **models.given).generate(
        prompt.render(text), stop=prompt.stop
    )
    stdout.print(printable(answer.text.strip()))


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


app.command()(composition)
app.command()(forget)
app.command()(grid)
app.command()(train)
app.command()(tune)


def main() -> None:
    """The console script."""
    run_app(app)


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
    shown = "example, in prompt order" if prediction.prompt else "voter, nearest last"
    print_table(
        Column(shown, overflow="fold"),
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
