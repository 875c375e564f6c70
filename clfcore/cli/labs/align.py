"""``clf align``: a language model learns which of two answers is better."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clfcore.alignment.preferences import (
    BUNDLED,
    hold_out,
    preferences_hash,
    read_preferences,
)
from clfcore.alignment.settings import FIXED, AlignConfig
from clfcore.cli import terminal
from clfcore.cli.options import with_config
from clfcore.cli.terminal import Json, ProgressBars, stderr, stdout, with_examples
from clfcore.cli.train import Resume, SaveEvery
from clfcore.config import DEFAULT_LM
from clfcore.data.columns import MESSAGES
from clfcore.errors import TuneshotError
from clfcore.evaluation.intervals import Share, paired_over_seeds
from clfcore.paths import expanded
from clfcore.training.instruction.settings import ABOUT, TUNED
from clfcore.training.settings import MODEL, RUN
from clfcore.weights.meta import check_free
from clfcore.weights.source import check_source

if TYPE_CHECKING:
    from clfcore.alignment.recipe import Aligned


@with_examples(
    "--out runs/aligned",
    "--beta 0.3 --epochs 1 --validate-every 5 --json",
    "--lm runs/instructed --data mine.jsonl --out runs/mine",
)
@with_config(AlignConfig, "config", without=FIXED)
def align(
    lm: Annotated[
        str,
        typer.Option(
            help="SmolLM2-135M-Instruct, a folder, a GGUF file, a name on Hugging Face.",
            rich_help_panel=MODEL,
        ),
    ] = DEFAULT_LM,
    data: Annotated[
        Path | None,
        typer.Option(
            help="A table with the columns context, better, worse and topic. Default: pairs "
            "written for this project.",
            rich_help_panel=MESSAGES,
        ),
    ] = None,
    *,
    config: AlignConfig,
    out: Annotated[
        Path, typer.Option(help="Where the language model goes.", rich_help_panel=RUN)
    ] = Path("runs/aligned"),
    resume: Resume = False,
    save_every: SaveEvery = 30.0,
    as_json: Json = False,
) -> None:
    """Teach a language model which of two answers is better: direct preference optimisation.

    Whole topics are held out and only measured. The result is a folder for --lm of every other
    command. A killed run continues with --resume.
    """
    check_free(out, ABOUT, TUNED)  # before the work, not after it
    check_source(lm)
    if out.exists() and out.resolve() == expanded(lm).resolve():
        raise TuneshotError(f"{out} is the language model to be aligned; choose another --out")
    pairs = read_preferences(BUNDLED if data is None else expanded(data))
    train, held_out = hold_out(pairs, config.held_out, config.seed)
    stderr.print(f"{len(train):,} pairs to learn from, {len(held_out):,} of other topics held out")
    from clfcore.alignment.measures import sample_perplexity
    from clfcore.alignment.recipe import align_language_model
    from clfcore.evaluation.provenance import about_this_run, machine, model_files
    from clfcore.training.distributed import find_accelerator
    from clfcore.training.instruction.folder import save_tuned
    from clfcore.training.resume import ResumableRun

    inputs = {"lm": lm, "lm_files": model_files(lm), "data": preferences_hash(pairs)}
    resumable = ResumableRun(out, {**inputs, "settings": config.to_dict()}, save_every, resume)
    if resume and (out / ABOUT).exists() and not resumable.path.exists():
        stderr.print(f"{out} is finished; leave --resume out to align anew")
        return
    if not resume:
        resumable.remove()
    accelerator = find_accelerator()
    with ProgressBars() as bars:
        aligned = align_language_model(
            lm, train, held_out, config, scores={"perplexity": sample_perplexity},
            on_progress=bars, accelerator=accelerator, resumable=resumable,
        )  # fmt: skip
        figures = _figures(aligned)
        about = {
            "lm": lm,
            "inputs": inputs,
            "data": {
                "name": BUNDLED.name if data is None else data.name,
                "pairs": len(train),
                "held_out": len(held_out),
                "held_out_topics": sorted({pair.topic for pair in held_out}),
            },
        }
        save_tuned(out, aligned.tuned, config, {"objective": "preferences", **about, **figures})
    resumable.remove()
    if as_json:
        terminal.print_json(
            {
                "config": config.to_dict(),
                **about,
                **figures,
                "steps": _steps(aligned),
                "weights": aligned.tuned.trained_weights,
                "seconds": round(aligned.tuned.seconds, 1),
                "machine": machine(accelerator),
                **about_this_run(),
            }
        )
        return
    _print(aligned, figures)
    stdout.print(f"language model: {out}", soft_wrap=True)


def _figures(aligned: "Aligned") -> dict[str, Any]:
    """What was measured before and after, as JSON values."""
    before, after = aligned.preferred
    return {
        "preferred": {
            "before": asdict(Share.count(sum(before), len(before))),
            "after": asdict(Share.count(sum(after), len(after))),
            "gain": asdict(paired_over_seeds([(after, before)])),
            "pairs": {"before": before, "after": after},
        },
        "scores": {
            name: {"before": old, "after": new} for name, (old, new) in aligned.scores.items()
        },
        "replies": [asdict(each) for each in aligned.replies],
    }


def _steps(aligned: "Aligned") -> list[dict[str, Any]]:
    """The figures of the held-out pairs by step, the first before any step."""
    before = aligned.preferred[0]
    start = {"step": 0, "loss": math.log(2), "preferred": sum(before) / len(before),
             "margin": 0.0, "kl": 0.0}  # fmt: skip
    return [
        start,
        *(
            {"step": each.step, "loss": each.val_loss, "preferred": each.val_accuracy,
             **(each.figures or {})}
            for each in aligned.tuned.history
        ),
    ]  # fmt: skip


def _print(aligned: "Aligned", figures: dict[str, Any]) -> None:
    before, after = aligned.preferred
    shares = [Share.count(sum(right), len(right)) for right in (before, after)]
    terminal.print_table(
        "held-out pairs", "before", "after", "change",
        rows=[
            (
                "preferred, % [95 %]",
                *(share.percent() for share in shares),
                f"{paired_over_seeds([(after, before)]).points()} points",
            ),
            *(
                (name, f"{old:,.2f}", f"{new:,.2f}", f"{new - old:+,.2f}")
                for name, (old, new) in aligned.scores.items()
            ),
        ],
    )  # fmt: skip
    terminal.print_table(
        "step", "loss", "preferred", "margin, nats", "KL, nats a token",
        rows=[
            (
                str(each["step"]),
                f"{each['loss']:.3f}",
                f"{each['preferred']:.1%}",
                f"{each['margin']:+.3f}",
                f"{each['kl']:.4f}",
            )
            for each in _steps(aligned)
        ],
        title="the held-out pairs, by step",
    )  # fmt: skip
    for each in aligned.replies:
        terminal.print_table(
            "before", "after", "the better answer",
            rows=[(each.before, each.after, each.better)],
            title=each.context,
        )  # fmt: skip
    stdout.print(
        f"{aligned.tuned.trained_weights:,} weights trained, {aligned.tuned.seconds:.0f} s"
    )
