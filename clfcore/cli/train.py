"""``clf train``: one option for every field of ``TrainConfig``, and where things are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clfcore.cli import terminal
from clfcore.cli.terminal import Bars, Data, LabelColumnName, TextColumnName, stderr, stdout

if TYPE_CHECKING:
    from clfcore.training.loop import Step


_MODEL, _LOOP, _RUN = "What learns", "How it learns", "The run"


def _option(help_text: str, panel: str, *names: str, **more: Any) -> Any:  # noqa: ANN401
    return typer.Option(*names, help=help_text, rich_help_panel=panel, **more)


def train(
    base: Annotated[
        str,
        _option(
            "gpt2-mini, gpt2 … gpt2-xl, SmolLM2-135M-Instruct, a repository, a folder.", _MODEL
        ),
    ] = "gpt2-mini",
    weights: Annotated[str | None, _option("pretrained or random.", _MODEL)] = None,
    layers: Annotated[
        str | None,
        _option(
            "last_layer, last_block, last_two_blocks, last_four_blocks, all, an adapter (lora, "
            "adalora, ia3, …), or none: the trunk only makes features.",
            _MODEL,
        ),
    ] = None,
    head: Annotated[str | None, _option("With layers none: logistic or mlp.", _MODEL)] = None,
    rank: Annotated[int | None, _option("Of a low-rank adapter.", _MODEL)] = None,
    position: Annotated[
        str | None,
        _option("What the head reads: last_token, last_column, first or mean.", _MODEL),
    ] = None,
    causal: Annotated[
        bool | None,
        _option("GPT's causal mask, on or off.", _MODEL, "--causal-mask/--no-causal-mask"),
    ] = None,
    data: Data = None,
    text_column: TextColumnName = None,
    label_column: LabelColumnName = None,
    balance: Annotated[
        str | None,
        _option(
            "none, oversample, undersample, class_weights, tomek_links, enn, repeated_enn; with "
            "layers none also rose, smote, adasyn, cluster_centroids.",
            _LOOP,
        ),
    ] = None,
    balance_ratio: Annotated[
        float | None, _option("Rare labels are brought to this share of the commonest.", _LOOP)
    ] = None,
    padding: Annotated[
        str | None, _option("dynamic, longest, full_context or none.", _LOOP)
    ] = None,
    epochs: Annotated[int | None, _option("Passes over the training part.", _LOOP)] = None,
    batch_size: Annotated[int | None, _option("Messages in one pass.", _LOOP)] = None,
    accumulate: Annotated[int | None, _option("Passes a step.", _LOOP)] = None,
    learning_rate: Annotated[float | None, _option("Peak learning rate.", _LOOP)] = None,
    embedding_learning_rate: Annotated[
        float | None, _option("Likewise, of the token embedding.", _LOOP)
    ] = None,
    schedule: Annotated[
        str | None, _option("one_cycle, linear, cosine or constant.", _LOOP)
    ] = None,
    warmup: Annotated[float | None, _option("Share of the steps on the way up.", _LOOP)] = None,
    weight_decay: Annotated[float | None, _option("On matrices only.", _LOOP)] = None,
    label_smoothing: Annotated[
        float | None, _option("Share of the target spread over all labels.", _LOOP)
    ] = None,
    grad_clip: Annotated[float | None, _option("Largest gradient norm.", _LOOP)] = None,
    validate_every: Annotated[
        int | None, _option("Steps between two validations; 0: once an epoch.", _LOOP)
    ] = None,
    keep: Annotated[str | None, _option("best (by validation loss) or last.", _LOOP)] = None,
    patience: Annotated[
        int | None, _option("Stop after so many validations without gain; 0: never.", _LOOP)
    ] = None,
    mix: Annotated[
        float | None, _option("Share of the fine-tuned weights in the result (WiSE-FT).", _LOOP)
    ] = None,
    threshold: Annotated[
        float | None,
        _option("Of two labels, probability from which the second is answered.", _LOOP),
    ] = None,
    flag_at_most: Annotated[
        float | None,
        _option("Choose the threshold: share of ham that may be flagged, in validation.", _LOOP),
    ] = None,
    precision: Annotated[str | None, _option("auto, float32 or bfloat16.", _LOOP)] = None,
    split_seed: Annotated[
        int | None, _option("Which messages are for training, validation, test.", _RUN)
    ] = None,
    seed: Annotated[int | None, _option("Of everything else that is random.", _RUN)] = None,
    out: Annotated[Path, _option("Where the checkpoint goes.", _RUN)] = Path("runs/spam"),
    compact: Annotated[
        bool, _option("Store int8 rows: a quarter of the size.", _RUN, "--compact")
    ] = False,
    resume: Annotated[
        bool, _option("Go on where a killed run with this --out was.", _RUN, "--resume")
    ] = False,
    save_every: Annotated[
        float, _option("Seconds between two saves of an unfinished run.", _RUN, min=0)
    ] = 30.0,
    tensorboard: Annotated[Path | None, _option("Folder for TensorBoard's curves.", _RUN)] = None,
) -> None:
    """Fine-tune on the training part, calibrate on the validation part, report on the test part.

    Without an option, what suits the base is taken. A killed run goes on with --resume.
    """
    given = {name: value for name, value in locals().items() if value is not None}
    from dataclasses import fields

    from clfcore.data.messages import load_messages
    from clfcore.data.split import content_hash
    from clfcore.training.distributed import find_accelerator
    from clfcore.training.recipe import learn, save_and_judge
    from clfcore.training.resume import Unfinished
    from clfcore.training.settings import TrainConfig, settings_for
    from clfcore.weights.meta import check_free

    chosen = {f.name: given[f.name] for f in fields(TrainConfig) if f.name in given}
    config = settings_for(base, **chosen)
    check_free(out)  # before the work, not after it
    source = load_messages(data, text_column, label_column)
    accelerator = find_accelerator()
    first = accelerator is None or accelerator.is_main_process
    stdout.quiet = stderr.quiet = not first  # of several processes, one speaks
    stderr.print(f"{len(source.examples)} messages: {terminal.printable(source.name)}")
    run = {"base": base, "settings": config.to_dict(), "data": content_hash(source.examples)}
    unfinished = Unfinished(out, run, save_every)
    if resume and (out / "meta.json").exists() and not unfinished.path.exists():
        stderr.print(f"{out} is finished; leave --resume out to train anew")
        return
    if first and not resume:
        unfinished.remove()

    def on_note(sentence: str) -> None:
        stderr.print(f"note: {terminal.printable(sentence)}")

    with Bars() as bars, _tensorboard(tensorboard if first else None) as on_step:
        learnt = learn(
            base, source, config, on_note=on_note, on_progress=bars, on_step=on_step,
            accelerator=accelerator, unfinished=unfinished, resume=resume,
        )  # fmt: skip
        if not first:
            return
        evaluation = save_and_judge(learnt, out, compact, bars)
    unfinished.remove()
    terminal.print_evaluation(evaluation, f"test part of {terminal.printable(source.name)}")
    stdout.print(
        f"{learnt.learning:,} of {learnt.weights:,} weights learnt, {learnt.seconds:.0f} s"
    )
    stdout.print(f"checkpoint: {out}")


@contextmanager
def _tensorboard(folder: Path | None) -> Iterator[Callable[["Step"], None]]:
    """A callback that writes every step down, where that was asked for."""
    if folder is None:
        yield lambda step: None
        return
    from clfcore.training.curves import tensorboard_watch

    with tensorboard_watch(folder) as on_step:
        yield on_step
