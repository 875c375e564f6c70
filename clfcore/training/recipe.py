"""From messages to a classifier: split, base, fine-tune, calibrate, judge, save."""

import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from clfcore.data.balance import balanced_points, class_weights
from clfcore.data.messages import Source
from clfcore.data.quality import survey
from clfcore.data.split import content_hash, grouped_stratified_split
from clfcore.errors import TuneshotError
from clfcore.evaluation.evaluate import Evaluation, evaluate
from clfcore.fine_tuned import FineTuned
from clfcore.model.adapters import ADAPTERS, adapt, adapter_record, after_step
from clfcore.model.batching import Encoded
from clfcore.model.classifier import TextClassifier, sentence_vectors
from clfcore.model.heads import fit_head
from clfcore.model.precision import resolve
from clfcore.model.spec import GPTConfig, Reading
from clfcore.model.trainable import count_parameters, freeze_all_but
from clfcore.training.calibrate import calibrate, threshold_for
from clfcore.training.distributed import gather, is_sharded
from clfcore.training.loop import Step, fit, planned_steps
from clfcore.training.resume import Unfinished
from clfcore.training.settings import NOTHING, TrainConfig
from clfcore.types import Example, OnProgress, ignore
from clfcore.weights.bases import Base, fingerprint, load_base
from clfcore.weights.checkpoint import save_checkpoint
from clfcore.weights.meta import Meta

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True, slots=True)
class Learnt:
    """A classifier fresh from training, and how it came about.

    Attributes:
        classifier: ready to answer.
        history: the looks at the validation part.
        learning: weights that learnt.
        weights: weights there are.
        seconds: wall-clock time of learning and calibrating, data and base at hand.
        val: the validation part.
        test: the test part, not looked at so far; empty if none was set aside.
    """

    classifier: FineTuned
    history: list[Step]
    learning: int
    weights: int
    seconds: float
    val: list[Example]
    test: list[Example]


def learn(
    base: str,
    source: Source,
    config: TrainConfig,
    *,
    on_note: Callable[[str], None] = ignore,
    on_progress: OnProgress = ignore,
    on_step: Callable[[Step], None] = ignore,
    accelerator: "Accelerator | None" = None,
    unfinished: Unfinished | None = None,
    resume: bool = False,
) -> Learnt:
    """Fine-tunes ``base`` on the training part of ``source``; calibrates on the validation part.

    Args:
        base: see ``load_base``.
        source: labelled messages.
        config: how.
        on_note: called with what is odd about the data, one sentence each, before training.
        on_progress: called with (stage, done, total, figures).
        on_step: called after every optimiser step.
        accelerator: on which device and among how many processes.
        unfinished: where to keep the state of the run while it goes on.
        resume: go on from that state, if there is one.

    Raises:
        TuneshotError: unusable data or base, or settings that do not suit them.
    """
    labels = label_names(source.examples)
    split = grouped_stratified_split(source.examples, config.split_seed)
    train, val, test = (
        [source.examples[row] for row in rows] for rows in (split.train, split.val, split.test)
    )
    texts = [example.text for example in train]
    with accelerator.main_process_first() if accelerator else nullcontext():
        start = load_base(
            base, len(labels), config.weights, texts, config.split_seed, config.seed, on_progress
        )
    for warning in survey(
        source.examples, lambda text: len(start.encode(text)), start.trunk.context_length
    ).warnings():
        on_note(warning)
    learnt = teach(
        start, train, val, labels, config, on_progress=on_progress, on_step=on_step,
        accelerator=accelerator, unfinished=unfinished, resume=resume,
        about={
            "base": base,
            "data": {
                "source": source.name,
                "sha256": content_hash(source.examples),
                "split_seed": config.split_seed,
                **{
                    name: {"messages": len(part), "sha256": content_hash(part)}
                    for name, part in (("train", train), ("val", val), ("test", test))
                },
            },
        },
    )  # fmt: skip
    return replace(learnt, test=test)


def teach(
    start: Base,
    train: list[Example],
    val: list[Example],
    labels: Sequence[str],
    config: TrainConfig,
    *,
    about: Mapping[str, Any],
    on_progress: OnProgress = ignore,
    on_step: Callable[[Step], None] = ignore,
    accelerator: "Accelerator | None" = None,
    unfinished: Unfinished | None = None,
    resume: bool = False,
) -> Learnt:
    """``learn`` from its parts on: for who loads the base and splits the messages another way.

    Args:
        start: what to fine-tune; its trunk is changed.
        train: messages to learn from; every label is among them.
        val: messages to calibrate on.
        labels: of both parts, in the order of the head's outputs.
        config: how.
        about: what the checkpoint shall say of the base and the data.
        on_progress: called with (stage, done, total, figures).
        on_step: called after every optimiser step.
        accelerator: on which device and among how many processes.
        unfinished: where to keep the state of the run while it goes on.
        resume: go on from that state, if there is one.

    Raises:
        TuneshotError: settings that do not suit the messages or the base.
    """
    begin = perf_counter()
    model = TextClassifier(start.trunk, Reading())
    trunk_print = fingerprint(start.trunk) if start.source else None  # as it comes
    if config.layers in ADAPTERS:
        steps = planned_steps([labels.index(example.label) for example in train], config)
        adapt(model, config.layers, config.rank, steps, config.seed)
        if not ADAPTERS[config.layers].resumable:
            unfinished = None
    # After the adapter: a soft prompt takes some of the context.
    model.reading = _reading(config, start, [example.text for example in train])
    learning_rows, watched = (encoded(part, labels, start, model.reading) for part in (train, val))

    def report(step: Step) -> None:
        figures = f"loss {step.loss:.3f}"
        if step.val_accuracy is not None:
            figures = f"validation loss {step.val_loss:.3f}, accuracy {step.val_accuracy:.4f}"
        on_progress("fine-tune", step.step, step.steps, figures)
        on_step(step)

    history: list[Step] = []
    if config.layers == NOTHING:
        start.trunk.requires_grad_(False)
        _fit_head(model, learning_rows, config)
        start.trunk.out_head.requires_grad_(True)
    else:
        if config.layers not in ADAPTERS:
            freeze_all_but(start.trunk, config.layers)
        learning, weights = count_parameters(model)
        on_progress("fine-tune", 0, 1, f"{learning:,} of {weights:,} weights learn")
        # A second copy of the weights, only where it is mixed in: gpt2-xl has 6 GB of them.
        before = deepcopy(start.trunk.state_dict()) if config.mix < 1 else {}
        twin = deepcopy(model) if is_sharded(accelerator) else None
        if twin is not None:
            unfinished = None  # no process has the whole state
        history = fit(
            model, learning_rows, watched, config, report,
            accelerator=accelerator,
            resume=unfinished.load() if unfinished and resume else None,
            offer_state=unfinished.offer if unfinished else lambda make: None,
            after_step=after_step(model),
        )  # fmt: skip
        if twin is None:
            model.to("cpu")
        else:
            gather(model, twin)
            model = twin
        if config.mix < 1:
            mix_with(model, before, config.mix)
    learning, weights = count_parameters(model)
    slope, shifts = calibrate(model, watched)
    threshold = config.threshold
    if config.flag_at_most < 1:
        threshold = threshold_for(model, watched, config.flag_at_most)
    seconds = perf_counter() - begin

    meta = Meta(
        name=start.name,
        labels=tuple(labels),
        model=getattr(start.trunk, "cfg", None),
        source=_source(config, start),
        fingerprint=trunk_print,
        adapter=adapter_record(model) if config.layers in ADAPTERS else None,
        reading=model.reading,
        threshold=threshold,
        about={
            **about,
            "train": {**config.to_dict(), "history": [asdict(step) for step in history]},
            "weights": {"learning": learning, "all": weights},
            "calibration": {"slope": slope, "shifts": shifts},
            "seconds": round(seconds, 1),
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
    classifier = FineTuned(model, meta, start.encode)
    return Learnt(classifier, history, learning, weights, seconds, val, test=[])


def save_and_judge(
    learnt: Learnt, out: Path, compact: bool, on_progress: OnProgress = ignore
) -> Evaluation:
    """Writes a checkpoint, judges what was written on the test part, and writes that down too.

    What was stored is judged, not what was in memory: int8 rows round a little.

    Raises:
        TuneshotError: ``out`` cannot be written.
    """
    model, meta = learnt.classifier.model, learnt.classifier.meta
    stored = learnt.classifier
    if compact:
        save_checkpoint(out, model, meta, compact)
        stored = FineTuned.load(out)
    result = evaluate(
        stored, learnt.test, lambda done: on_progress("judge", done, len(learnt.test), "")
    )
    about = {**meta.about, "test_metrics": result.to_dict()}
    save_checkpoint(out, model, replace(meta, about=about), compact)
    return result


@torch.no_grad()
def mix_with(model: TextClassifier, before: Mapping[str, Tensor], share: float) -> None:
    """Moves the trunk back towards what it was before fine-tuning; the head stays.

    ``share`` of the fine-tuned weights, the rest of the old ones (WiSE-FT, Wortsman et al. 2022,
    eq. 1): nearly all of what was learnt from the corpus stays, and more of what the base knew
    of other messages.
    """
    for name, weight in model.trunk.state_dict().items():
        if not name.startswith("out_head"):
            weight.lerp_(before[name], 1 - share)


def label_names(examples: Sequence[Example]) -> tuple[str, ...]:
    """The labels in alphabetical order: of ham and spam, spam is the second, the positive one.

    Raises:
        TuneshotError: there are fewer than two.
    """
    labels = tuple(sorted({example.label for example in examples}))
    if len(labels) < 2:
        raise TuneshotError(f"training needs at least 2 labels, found only {', '.join(labels)}")
    return labels


def encoded(
    examples: Sequence[Example], labels: Sequence[str], base: Base, reading: Reading
) -> Encoded:
    """Token ids as they are read, and label numbers."""
    number = {label: i for i, label in enumerate(labels)}
    limit = base.trunk.context_length
    return Encoded(
        tokens=[reading.tokens(base.encode(example.text), limit) for example in examples],
        labels=[number[example.label] for example in examples],
    )


def _reading(config: TrainConfig, base: Base, texts: Sequence[str]) -> Reading:
    pad_to = None
    if config.position == "last_column":
        limit = base.trunk.context_length
        longest = max(len(base.encode(text)) for text in texts)
        pad_to = min(longest, limit) if config.padding == "longest" else limit
    return Reading(config.position, pad_to, config.causal)


def _fit_head(model: TextClassifier, train: Encoded, config: TrainConfig) -> None:
    """The feature-based approach: a head for the vectors of a trunk that stays as it is."""
    x, y = balanced_points(
        sentence_vectors(model, train.tokens, resolve(config.precision, torch.device("cpu"))),
        train.labels,
        config.balance, config.seed, config.balance_ratio,
    )  # (N, C), (N,)  # fmt: skip
    weights = class_weights(train.labels, config.balance)
    model.trunk.out_head = fit_head(x, y, len(weights), config.head, config.seed, weights)


def _source(config: TrainConfig, base: Base) -> str | None:
    """Where the trunk comes from, if the checkpoint can leave it out."""
    whole = isinstance(getattr(base.trunk, "cfg", None), GPTConfig)
    return None if whole and config.layers not in ADAPTERS else base.source
