"""``icl tune``: chooses the settings of a prompt by labelled messages, and writes a recipe."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column

from clfcore.cli.options import with_config
from clfcore.cli.terminal import (
    OUTPUT,
    Json,
    ProgressBars,
    print_json,
    print_note,
    print_table,
    stdout,
    with_examples,
)
from clfcore.data.columns import MESSAGES
from clfcore.errors import TuneshotError
from clfcore.json_text import to_json
from clfcore.paths import atomic_write, check_can_write
from icl.cli.few_shot import pool_and_questions, task_named
from icl.cli.options import ModelChoice, TaskSource
from icl.lm.open import check_lm, open_lm
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig
from icl.tuning.candidates import TUNED
from icl.tuning.race import USUAL_READS

if TYPE_CHECKING:
    from icl.tuning.tune import Tuned

CHOICE = "The choice"  # a heading of --help
SHOWN = 10  # settings in the table


@with_examples(
    "--data mine.tsv --out recipe.json",
    "--task ag_news --folder tables --reads 1000 --no-vote",
    "--task mine.csv --lm api:openai/gpt-4o-mini --reads 100 --out runs/api.json",
)
@with_config(TaskSource, "source")
@with_config(ModelChoice, "models")
@with_config(FewShotConfig, "settings", without=(*TUNED, "shares"))
def tune(
    *,
    settings: FewShotConfig,
    source: TaskSource,
    models: ModelChoice,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Labelled messages, of which the training part is used: icl evaluate asks about "
            "the test part. With --pool, all of the pool is used but the copies of these.",
            rich_help_panel=MESSAGES,
        ),
    ] = None,
    reads: Annotated[
        int,
        typer.Option(
            min=1, help="How often the language model may be asked.", rich_help_panel=CHOICE
        ),
    ] = USUAL_READS,
    vote: Annotated[
        bool,
        typer.Option(
            help="The vote of the nearest, which asks no language model, may be chosen.",
            rich_help_panel=CHOICE,
        ),
    ] = True,
    out: Annotated[
        Path,
        typer.Option(
            help="The recipe, ending in .json; what was tried is in a .jsonl beside it.",
            rich_help_panel=OUTPUT,
        ),
    ] = Path("recipe.json"),
    json: Json = False,
) -> None:
    """Chooses selector, k, balance, order, scoring and calibration by your labelled messages.

    Each message is asked about, with the others to show. The other commands read the recipe with
    --recipe.
    """
    if out.suffix != ".json" or out.is_dir():
        raise TuneshotError(f"--out must be a file that ends in .json, not {out}")
    if (tried := out.with_suffix(".jsonl")).is_dir():
        raise TuneshotError(
            f"{tried} is a folder, and what was tried goes there; choose another --out"
        )
    check_can_write(out.parent)
    check_lm(models.lm, models.base_url)
    from icl.pool.embed import SentenceEmbedder, check_embedder

    check_embedder(models.embedder)
    task = task_named(source.task, source)
    task.check_prompt()
    labelled, _ = pool_and_questions(task, source, data, may_lack_questions=True)
    from icl.tuning.tune import tune as choose

    lm = open_lm(models.lm, chat=settings.chat, **models.given)
    with ProgressBars() as bars:
        tuned = choose(
            labelled, task, lm, SentenceEmbedder(models.embedder),
            default=settings, reads=reads, vote=vote, note=print_note, on_progress=bars,
        )  # fmt: skip
    with atomic_write(tried) as new:
        new.write_text("".join(to_json(trial) + "\n" for trial in tuned.tried), encoding="utf-8")
    tuned.recipe.write(out)
    if json:
        print_json({"recipe": str(out), "settings": _tuned(tuned.recipe.settings.to_dict()),
                    **tuned.recipe.basis})  # fmt: skip
        return
    if tuned.tried:
        _print_best(tuned)
    stdout.print(tuned.recipe.basis["summary"], soft_wrap=True)
    stdout.print(f"{out}: use it with --recipe {out}; {tried} has all", soft_wrap=True)


def _tuned(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: settings[name] for name in TUNED}


def _print_best(tuned: "Tuned") -> None:
    """The best way to answer with each prompt; those on most messages first."""
    best: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for trial in sorted(tuned.tried, key=lambda trial: (not trial["chosen"], trial["nats"])):
        shown = trial["settings"]
        best.setdefault(tuple(shown[name] for name in ("selector", "k", "balance", "order")), trial)
    rows = sorted(best.values(), key=lambda trial: (-trial["messages"], trial["nats"]))
    print_table(
        "", "prompt", "answer",
        *(Column(heading, justify="right") for heading in ("messages", "right", "nats")),
        rows=[
            (
                "→" if trial["chosen"] else "",
                _prompt_in_words(trial["settings"]),
                _answer_in_words(trial["settings"]),
                str(trial["messages"]),
                f"{trial['accuracy']:.1%}",
                f"{trial['nats']:.3f}",
            )
            for trial in rows[:SHOWN]
        ],
        caption="prompt: selector, k, balance, order; answer: scoring, calibration, vote",
        caption_justify="left",
    )  # fmt: skip


def _prompt_in_words(settings: Mapping[str, Any]) -> str:
    """Which examples are shown, or which messages vote; the usual order is not named."""
    selector = SELECTORS[settings["selector"]]
    if settings["selector"] == "zero":
        return "zero"
    words = [f"{settings['selector']} {settings['k']}"]
    if selector.balance is None:
        words.append(settings["balance"])
    if not selector.votes and settings["order"] != FewShotConfig().order:
        words.append(settings["order"])
    return ", ".join(words)


def _answer_in_words(settings: Mapping[str, Any]) -> str:
    """How what was read is answered."""
    words = [] if SELECTORS[settings["selector"]].votes else [settings["scoring"]]
    if words and settings["calibration"] != "none":
        words.append(settings["calibration"])
    if settings["vote"]:
        words.append(f"vote {settings['vote']:g}")
    return ", ".join(words)
