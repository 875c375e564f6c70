"""``icl train``: a language model is tuned to write the labels, in the prompt's own format."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from clfcore.cli.options import with_config, with_settings
from clfcore.cli.terminal import (
    ProgressBars,
    print_evaluation,
    print_note,
    stderr,
    stdout,
    with_examples,
)
from clfcore.cli.train import Resume, SaveEvery
from clfcore.data.columns import MESSAGES
from clfcore.data.draw import draw
from clfcore.data.split import data_record, spare_some
from clfcore.errors import TuneshotError
from clfcore.paths import expanded
from clfcore.training.instruction.settings import (
    ABOUT,
    TUNED,
    InstructionConfig,
    instruction_settings,
)
from clfcore.training.settings import RUN
from clfcore.weights.meta import check_free
from icl.cli.few_shot import build_few_shot, check_models, pool_and_questions, task_named
from icl.cli.options import (
    PROMPT_FIELDS,
    Balanced,
    ModelChoice,
    Questions,
    TaskSource,
    with_prompt_settings,
)
from icl.lm.connection import Connection
from icl.lm.open import API, no_weights_here, without_dtype
from icl.selectors.table import SELECTORS
from icl.settings import EXAMPLES, FewShotConfig


@with_examples(
    "--out runs/instructed",
    "--examples 4 --layers lora --out runs/in-context",
    "--task mine.csv --data mine.csv --messages 500 --out runs/mine",
)
@with_config(TaskSource, "source")
@with_config(ModelChoice, "models", without=[each.name for each in fields(Connection)])
@with_prompt_settings
@with_settings(InstructionConfig, defaults=False)
def train(
    *,
    settings: dict[str, Any],
    examples: Annotated[
        int,
        typer.Option(
            min=0,
            help="How many examples every prompt shows; 0: none, it only asks.",
            rich_help_panel=EXAMPLES,
        ),
    ] = 0,
    prompt: FewShotConfig,
    models: ModelChoice,
    source: TaskSource,
    data: Questions = None,
    messages: Annotated[
        int,
        typer.Option(
            min=0,
            help="How many of the labelled messages it learns from; 0: all.",
            rich_help_panel=MESSAGES,
        ),
    ] = 0,
    limit: Annotated[
        int,
        typer.Option(
            min=1, help="How many questions are asked in the end.", rich_help_panel=MESSAGES
        ),
    ] = 200,
    balanced: Balanced = True,
    out: Annotated[
        Path, typer.Option(help="Where the language model goes.", rich_help_panel=RUN)
    ] = Path("runs/instructed"),
    resume: Resume = False,
    save_every: SaveEvery = 30.0,
) -> None:
    """Tunes a language model to write the labels after its prompts: instruction tuning.

    The messages are those that a prompt may show. A tenth of them validates; questions are the
    same as icl evaluate's. The result is a folder for --lm. A killed run continues with --resume.
    """
    config = instruction_settings(**settings)
    prompt = _with_examples(prompt, examples, config.seed)
    name = without_dtype(models.lm)
    if name.startswith(API):
        raise no_weights_here(models.lm)
    check_models(models, prompt)
    check_free(out, ABOUT, TUNED)  # before the work, not after it
    if out.exists() and out.resolve() == expanded(name).resolve():
        raise TuneshotError(
            f"{out} is the language model that is to be tuned; choose another --out"
        )
    task = task_named(source.task, source)
    pool, questions = pool_and_questions(task, source, data)
    questions = draw(questions, limit, balanced, config.seed)
    if messages:
        pool = draw(pool, messages, balanced=False, seed=config.seed)
    learned, val = spare_some(pool, config.seed)
    stderr.print(f"{len(learned):,} messages to learn from, {len(val):,} to validate on")
    if val is learned:
        print_note("they are the same: some label has too few messages to spare some")
    from clfcore.evaluation.evaluate import evaluate
    from clfcore.training.distributed import find_accelerator
    from clfcore.training.instruction.folder import add_figures, save_tuned
    from clfcore.training.resume import ResumableRun
    from icl.instruction import instruct

    about = {
        "lm": name,
        "task": task.name,
        "prompt": {
            **{field: getattr(prompt, field) for field in ("k", *PROMPT_FIELDS)},
            "template": task.template.digest,
            "embedder": models.embedder,
        },
        "data": {"train": data_record(learned), "val": data_record(val)},
    }
    resumable = ResumableRun(out, {**about, "settings": config.to_dict()}, save_every, resume)
    if resume and (out / ABOUT).exists() and not resumable.path.exists():
        stderr.print(f"{out} is finished; leave --resume out to train anew")
        return
    if not resume:
        resumable.remove()
    with ProgressBars() as bars:
        few_shot = build_few_shot(task, learned, models, prompt)
        tuned = instruct(
            few_shot, name, learned, val, config, on_progress=bars,
            accelerator=find_accelerator(), resumable=resumable,
        )  # fmt: skip
        save_tuned(out, tuned, config, about)
        resumable.remove()
        # What was stored is asked, not what is in memory.
        stored = replace(models, lm=models.lm.removesuffix(name) + str(out))
        few_shot = build_few_shot(task, learned, stored, prompt)
        evaluation = evaluate(
            few_shot, questions, lambda done: bars("evaluate", done, len(questions)), 8
        )
        add_figures(out, {"test_metrics": evaluation.to_dict()})
    print_evaluation(evaluation, f"{len(questions)} questions, {examples} examples in the prompt")
    stdout.print(
        f"{tuned.trained_weights:,} of {tuned.all_weights:,} weights trained, {tuned.seconds:.0f} s"
    )
    stdout.print(f"language model: {out}", soft_wrap=True)


def _with_examples(prompt: FewShotConfig, examples: int, seed: int) -> FewShotConfig:
    """``prompt`` with so many examples, or none.

    Raises:
        TuneshotError: the selector does not go with that.
    """
    selector = SELECTORS[prompt.selector]
    if selector.votes:
        raise TuneshotError(
            f"selector {prompt.selector!r} lets messages vote, without a prompt, so there is "
            "nothing to tune; choose another"
        )
    if not examples and prompt.selector not in ("topk", "zero"):
        raise TuneshotError(
            f"selector {prompt.selector!r} chooses examples, and none are shown; say how many with "
            "--examples"
        )
    if examples and prompt.selector == "zero":
        raise TuneshotError("selector 'zero' shows no examples; leave --examples or it out")
    if not examples:
        return replace(prompt, selector="zero", options={}, k=0, seed=seed)
    return replace(prompt, k=examples, seed=seed)
