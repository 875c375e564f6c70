"""``tuneshot``: the front door. Both methods answer, are compared, or are served for a class.

What is heavy is imported inside the commands, after what was asked is checked.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from clfcore.cli.clf import evaluate, load_fine_tuned
from clfcore.cli.terminal import (
    Checkpoint,
    File,
    Json,
    ProgressBars,
    Texts,
    TrustSource,
    new_app,
    prediction_record,
    print_json,
    print_table,
    read_messages,
    run_app,
    shortened,
    stderr,
    stdout,
    with_examples,
)
from clfcore.cli.train import train
from clfcore.errors import TuneshotError
from clfcore.types import NO_ANSWER, Classifier, Prediction
from clfcore.weights.meta import trained_columns
from clfcore.wording import printable
from icl.chat.__main__ import chat
from icl.cli.compare import compare
from icl.cli.few_shot import load_few_shot, note_unanswered
from icl.cli.options import (
    TASK,
    FewShotOptions,
    ModelChoice,
    TaskSource,
    with_few_shot_settings,
)
from icl.cli.serve import serve

app = new_app(
    "Two ways to teach a language model one task: fine-tune it, or show it a few examples. "
    "clf is the fine-tuned side alone, icl the few-shot side alone, each with more commands."
)
votes = new_app("What people said is right.", version=False)
app.add_typer(votes, name="votes")
for command in (chat, serve, train, evaluate, compare):  # two of them are commands of clf
    app.command()(command)


@votes.command()
@with_examples("votes.tsv", "votes.tsv --task ag_news", "/tmp/votes.tsv --task sms_spam")
def export(
    out: Annotated[Path, typer.Argument(help="A new file, ending in .tsv.")],
    task: Annotated[str, typer.Option(help="Whose votes.", rich_help_panel=TASK)] = "sms_spam",
) -> None:
    """Write what people agree on as labelled messages, for clf train --data and icl --pool."""
    from icl.session.votes import export as write

    result = write(None, out, task)
    ties = f"; {result.ties} tied, left out" if result.ties else ""
    stdout.print(f"{out}: {len(result.examples)} labelled messages{ties}", soft_wrap=True)


@app.command()
@with_examples(
    '"You have won a prize, call now!"',
    "--file messages.txt --json",
    '--checkpoint runs/mini --selector votek_pool "See you at eight"',
)
@with_few_shot_settings
def classify(
    settings: FewShotOptions,
    source: TaskSource,
    models: ModelChoice,
    texts: Texts = None,
    file: File = None,
    checkpoint: Checkpoint = None,
    trust_source: TrustSource = False,
    as_json: Json = False,
) -> None:
    """Label messages with both methods, side by side: as clf classify and icl classify do.

    If one method cannot answer, the other does, and the exit status is 1.
    """
    source = source.remembering(trained_columns(checkpoint))
    messages = read_messages(texts, file, source.text_column)
    answers = {
        "fine_tuned": _ask(
            "fine-tuned", partial(load_fine_tuned, checkpoint, trust_source), messages
        ),
        "few_shot": _ask("few-shot", partial(load_few_shot, source, models, settings), messages),
    }
    if as_json:
        for row, text in enumerate(messages):
            print_json({"text": text} | {name: _record(a, row) for name, a in answers.items()})
    else:
        print_table(
            "fine-tuned", "few-shot", "message",
            rows=[
                (*(_cell(a, row) for a in answers.values()), shortened(text, 200))
                for row, text in enumerate(messages)
            ],
            box=None, pad_edge=False,
        )  # fmt: skip
    if not isinstance(few_shot := answers["few_shot"], TuneshotError):
        unanswered = sum(answer.label is None for answer in few_shot)
        note_unanswered(unanswered, len(messages), settings.chat is not False)
    if any(isinstance(answer, TuneshotError) for answer in answers.values()):
        raise typer.Exit(1)


def main() -> None:
    """The console script."""
    run_app(app)


Answers = Sequence[Prediction] | TuneshotError  # of all messages, or why there are none


def _ask(name: str, load: Callable[[], Classifier], messages: list[str]) -> Answers:
    """The answers of one method; if it cannot answer, one line on stderr says why."""
    try:
        classifier, answers = load(), list[Prediction]()
        with ProgressBars() as bars:
            for text in messages:
                answers += classifier.predict([text])
                bars(name, len(answers), len(messages))
        return answers
    except TuneshotError as error:
        stderr.print(f"{name}: {printable(str(error))}", soft_wrap=True)
        return error


def _record(answers: Answers, row: int) -> dict[str, Any]:
    """What ``--json`` says of one message and method."""
    if isinstance(answers, TuneshotError):
        return {"error": str(answers)}
    return prediction_record(answers[row])


def _cell(answers: Answers, row: int) -> str:
    """What the table says of one message and method."""
    if isinstance(answers, TuneshotError):
        return "-"
    answer = answers[row]
    return NO_ANSWER if answer.p is None else f"{answer.label} {answer.p:.1%}"
