"""From messages to a classifier: split, load the base, fine-tune, calibrate, evaluate, save."""

import math
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
from clfcore.data.messages import LabelledMessages
from clfcore.data.quality import check_quality
from clfcore.data.split import content_hash, data_record
from clfcore.errors import TuneshotError
from clfcore.evaluation.evaluate import Evaluation, evaluate
from clfcore.fine_tuned import FineTuned
from clfcore.model.adapters import ADAPTERS, adapt, adapter_record, after_step
from clfcore.model.batching import Encoded
from clfcore.model.classifier import TextClassifier, TrunkModel, sentence_vectors
from clfcore.model.heads import fit_head
from clfcore.model.precision import resolve
from clfcore.model.spec import GPTConfig, Reading
from clfcore.model.trainable import count_parameters, freeze_all_but
from clfcore.quantization.learning import ACTIVATION_BITS, round_linears, settle
from clfcore.training.calibrate import calibrate, threshold_for
from clfcore.training.classification import Practice, fit, planned_steps
from clfcore.training.distributed import gather, is_sharded
from clfcore.training.loop import StepMetrics
from clfcore.training.resume import ResumableRun
from clfcore.training.settings import FULL_PRECISION, NOTHING, TrainConfig
from clfcore.types import Example, OnProgress, ignore
from clfcore.weights.bases import Base, fingerprint, load_base
from clfcore.weights.checkpoint import save_checkpoint
from clfcore.weights.meta import Meta
from clfcore.weights.storage import AS_FLOATS, Storage

if TYPE_CHECKING:
    from accelerate import Accelerator

# What a message counts in the fit of a head that is only the start: one that answers all training
# messages right would leave the trunk nothing to learn.
_CAUTION = 0.04


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A classifier fresh from training, and how it came about.

    Attributes:
        classifier: ready to answer.
        history: the figures of each validation.
        trained_weights: how many weights were trained.
        all_weights: how many there are.
        seconds: wall-clock time of training and calibration; data and base were there already.
        val: the validation part.
        test: the test part, not used so far; empty if none was set aside.
    """

    classifier: FineTuned
    history: list[StepMetrics]
    trained_weights: int
    all_weights: int
    seconds: float
    val: list[Example]
    test: list[Example]


def fine_tune(
    base: str,
    messages: LabelledMessages,
    config: TrainConfig,
    *,
    on_note: Callable[[str], None] = ignore,
    on_progress: OnProgress = ignore,
    on_step: Callable[[StepMetrics], None] = ignore,
    accelerator: "Accelerator | None" = None,
    resumable: ResumableRun | None = None,
) -> TrainingResult:
    """Fine-tunes ``base`` on the training part of ``messages``, calibrates on the validation part.

    Args:
        base: see ``load_base``.
        messages: all parts together.
        config: the settings.
        on_note: called with what is odd about the data, one sentence each, before training.
        on_progress: called with (stage, done, total, figures).
        on_step: called after every optimiser step.
        accelerator: on which device and among how many processes.
        resumable: where the state of the run is kept, and resumed from.

    Raises:
        TuneshotError: unusable data or base, or settings that do not suit them.
    """
    examples = messages.examples
    labels = sorted({example.label for example in examples})  # ham, then spam: the positive one
    split = messages.split(config.split_seed)
    train, val, test = (
        [examples[row] for row in rows] for rows in (split.train, split.val, split.test)
    )
    with accelerator.main_process_first() if accelerator else nullcontext():
        start = load_base(
            base, len(labels), config.weights, [example.text for example in train],
            config.split_seed, config.seed, on_progress,
        )  # fmt: skip
    quality = check_quality(
        examples, lambda text: len(start.encode(text)), start.trunk.context_length
    )
    for warning in quality.warnings():
        on_note(warning)
    result = fine_tune_on(
        start, train, val, labels, config, on_progress=on_progress, on_step=on_step,
        accelerator=accelerator, resumable=resumable,
        about={
            "base": base,
            "data": {
                "source": messages.name,
                "columns": dict(messages.columns),
                "sha256": content_hash(examples),
                "learned_from": content_hash(messages.rest),
                "split_seed": config.split_seed,
                "train": data_record(train),
                "val": data_record(val),
                "test": data_record(test),
            },
        },
    )  # fmt: skip
    return replace(result, test=test)


def fine_tune_on(
    start: Base,
    train: list[Example],
    val: list[Example],
    labels: Sequence[str],
    config: TrainConfig,
    *,
    about: Mapping[str, Any],
    on_progress: OnProgress = ignore,
    on_step: Callable[[StepMetrics], None] = ignore,
    accelerator: "Accelerator | None" = None,
    resumable: ResumableRun | None = None,
) -> TrainingResult:
    """``fine_tune`` with a loaded base and parts that the caller has split in another way.

    Args:
        start: what to fine-tune; its trunk is changed.
        train: messages to train on; every label is among them.
        val: messages to calibrate on.
        labels: of both parts, in the order of the head's outputs.
        config: the settings.
        about: what the checkpoint says of the base and the data.
        on_progress: called with (stage, done, total, figures).
        on_step: called after every optimiser step.
        accelerator: on which device and among how many processes.
        resumable: where the state of the run is kept, and resumed from.

    Raises:
        TuneshotError: settings that do not suit the messages or the base.
    """
    begin = perf_counter()
    model = TextClassifier(start.trunk, Reading())
    trunk_fingerprint = fingerprint(start.trunk) if start.source else None  # before training
    adapted = config.layers in ADAPTERS
    numbers = [labels.index(example.label) for example in train]
    if config.layers != NOTHING:
        repeats = max(1, math.ceil(config.least_steps / planned_steps(numbers, config)))
        config = replace(config, epochs=config.epochs * repeats)
    if adapted:
        steps = planned_steps(numbers, config)
        adapt(model, config.layers, config.rank, steps, config.seed)
    elif config.layers == NOTHING:
        start.trunk.requires_grad_(False)
    else:
        freeze_all_but(start.trunk, config.layers)
    gpt_config: GPTConfig | None = getattr(start.trunk, "cfg", None)
    quantized = config.qat != FULL_PRECISION
    if quantized:
        if gpt_config is None:
            raise TuneshotError(
                f"qat {config.qat} is for a GPT-2, whose checkpoint holds all weights, and "
                f"{start.name} is none; choose gpt2-mini or gpt2, or layers lora"
            )
        round_linears(start.trunk.trf_blocks, ACTIVATION_BITS, config.qat)
    # After the adapter: a soft prompt takes some of the context.
    model.reading = _reading(config, start, [example.text for example in train])

    def read(text: str) -> list[int]:
        return model.reading.tokens(start.encode(text), start.trunk.context_length)

    def report(step: StepMetrics) -> None:
        on_progress("fine-tune", step.step, step.steps, step.in_words)
        on_step(step)

    train_rows, val_rows = (Encoded.of(part, labels, read) for part in (train, val))
    history: list[StepMetrics] = []
    if config.layers == NOTHING:
        _fit_head(model, train_rows, config)
    else:
        trained, total = count_parameters(model)
        on_progress("fine-tune", 0, 1, f"{trained:,} of {total:,} weights are trained")
        if config.fit_head_first:
            _fit_head(model, train_rows, replace(config, head="logistic"), _CAUTION)
        extra = None
        if config.practice:
            from clfcore.weights.practice import practice  # brings sentence-transformers: seconds

            texts, targets = practice(
                [example.text for example in train], train_rows.labels, train_rows.weights,
                len(labels), config.practice, config.seed, on_progress,
            )  # fmt: skip
            extra = Practice([read(text) for text in texts], targets)
        # A second copy of the weights, only where it is mixed in: gpt2-xl has 6 GB of them.
        before = deepcopy(start.trunk.state_dict()) if config.mix < 1 else {}
        twin = deepcopy(model) if is_sharded(accelerator) else None
        if twin is not None or (adapted and not ADAPTERS[config.layers].resumable):
            resumable = None  # no process has the whole state, or the weights are not all of it
        history = fit(
            model, train_rows, val_rows, config, report,
            practice=extra, accelerator=accelerator,
            resume=resumable.load() if resumable else None,
            on_state=resumable.save_if_due if resumable else ignore,
            after_step=after_step(model),
        )  # fmt: skip
        if twin is None:
            model.to("cpu")
        else:
            gather(model, twin)
            model = twin
        if config.mix < 1:
            mix_with(model, before, config.mix)
    settle(model.trunk.trf_blocks)
    trained, total = count_parameters(model)
    slope, shifts = calibrate(model, val_rows)
    threshold = (
        threshold_for(model, val_rows, config.flag_at_most)
        if config.flag_at_most < 1
        else config.threshold
    )
    seconds = perf_counter() - begin

    meta = Meta(
        name=start.name,
        labels=tuple(labels),
        model=gpt_config,
        source=start.source if adapted or gpt_config is None else None,  # None: stored whole
        fingerprint=trunk_fingerprint,
        adapter=adapter_record(model) if adapted else None,
        reading=model.reading,
        activation_bits=ACTIVATION_BITS if quantized else None,
        threshold=threshold,
        about={
            **about,
            "train": {**config.to_dict(), "history": [asdict(step) for step in history]},
            "weights": {"learning": trained, "all": total},
            "calibration": {"slope": slope, "shifts": shifts},
            "seconds": round(seconds, 1),
            "processes": accelerator.num_processes if accelerator else 1,
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
    classifier = FineTuned(model, meta, start.encode)
    return TrainingResult(classifier, history, trained, total, seconds, val, test=[])


def save_and_evaluate(
    result: TrainingResult, out: Path, storage: Storage, on_progress: OnProgress = ignore
) -> Evaluation:
    """Writes a checkpoint, evaluates what was written on the test part, and adds the figures to it.

    The stored weights are evaluated, not those in memory: codes round a little.

    Args:
        result: of ``fine_tune``.
        out: folder of the checkpoint.
        storage: see ``save_checkpoint``.
        on_progress: called with (stage, done, total, figures).

    Raises:
        TuneshotError: ``out`` cannot be written.
    """
    stored, meta = result.classifier, result.classifier.meta
    if storage != AS_FLOATS:
        save_checkpoint(out, stored.model, meta, storage)
        stored = FineTuned.load(out, trust_source=True)  # it is our own
    evaluation = evaluate(
        stored, result.test, lambda done: on_progress("evaluate", done, len(result.test), "")
    )
    about = {**meta.about, "test_metrics": evaluation.to_dict()}
    save_checkpoint(out, result.classifier.model, replace(meta, about=about), storage)
    return evaluation


@torch.no_grad()
def mix_with(model: TrunkModel, before: Mapping[str, Tensor], share: float) -> None:
    """Moves the trunk back towards what it was before fine-tuning; the head stays.

    ``share`` of the fine-tuned weights, the rest of the old ones (WiSE-FT, Wortsman et al. 2022,
    eq. 1): nearly all of what was learnt from the corpus stays, and more of what the base knew
    about other messages.
    """
    for name, weight in model.trunk.state_dict().items():
        if not name.startswith("out_head"):
            weight.lerp_(before[name], 1 - share)


def _reading(config: TrainConfig, base: Base, texts: Sequence[str]) -> Reading:
    pad_to = None
    if config.position == "last_column":
        limit = base.trunk.context_length
        longest = max(len(base.encode(text)) for text in texts)
        pad_to = min(longest, limit) if config.padding == "longest" else limit
    return Reading(config.position, pad_to, config.causal)


def _fit_head(
    model: TextClassifier, train: Encoded, config: TrainConfig, count: float = 1.0
) -> None:
    """A head for the vectors of the trunk as it is; each message counts ``count`` times."""
    x, y, each = balanced_points(
        sentence_vectors(model, train.tokens, resolve(config.precision, torch.device("cpu"))),
        train.labels,
        config.balance, config.seed, config.balance_ratio, train.weights,
    )  # (N, C), (N,), (N,)  # fmt: skip
    weights = class_weights(train.labels, config.balance, train.weights)
    each = count * each  # against the L2 penalty
    model.trunk.out_head = fit_head(x, y, len(weights), config.head, config.seed, weights, each)
