"""From texts to a language model: load, pack, train, and write a folder that is a base again."""

import math
import platform
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch

from clfcore import __version__
from clfcore.errors import TuneshotError
from clfcore.json_text import to_json
from clfcore.model.trainable import count_parameters
from clfcore.paths import atomic_write
from clfcore.pretraining.documents import Documents, pack
from clfcore.pretraining.language_model import (
    NextTokenModel,
    WritingBase,
    load_writing_base,
)
from clfcore.pretraining.next_token import NextTokens, perplexity
from clfcore.pretraining.sample import write
from clfcore.pretraining.settings import (
    ABOUT,
    LONGEST_USUAL_BLOCK,
    PRETRAINED,
    PretrainingConfig,
    SampleConfig,
)
from clfcore.training.distributed import device_of, gather, is_sharded
from clfcore.training.loop import StepMetrics, count_steps, learn
from clfcore.training.resume import ResumableRun
from clfcore.types import OnProgress, ignore
from clfcore.weights.meta import check_free

if TYPE_CHECKING:
    from accelerate import Accelerator

_FORMAT = 1
_KIND = "tuneshot-language-model"


@dataclass(frozen=True, slots=True)
class Samples:
    """Texts that are written while the model learns, unless processes share its weights.

    Attributes:
        every: steps between two of them; 0: none is written.
        beginning: of each text.
        config: how they are drawn.
        show: called with the step and the text.
    """

    every: int = 0
    beginning: str = ""
    config: SampleConfig = SampleConfig(tokens=40)  # noqa: RUF009 - frozen
    show: Callable[[int, str], None] = ignore


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A language model fresh from learning, on the CPU, and how it came about.

    Attributes:
        model: writes, and can be saved.
        before, after: of the held-out documents: the loss in nats a token, and the share of tokens
            that were the likeliest.
        history: the figures of each validation.
        tokens: learned from in one pass, and held out.
        weights: how many were trained.
        about: what the folder says of the run.
    """

    model: WritingBase
    before: tuple[float, float]
    after: tuple[float, float]
    history: list[StepMetrics]
    tokens: tuple[int, int]
    weights: int
    about: dict[str, Any]


def pretrain(
    base: str,
    documents: Documents,
    config: PretrainingConfig,
    *,
    samples: Samples = Samples(),
    on_progress: OnProgress = ignore,
    on_step: Callable[[StepMetrics], None] = ignore,
    accelerator: "Accelerator | None" = None,
    resumable: ResumableRun | None = None,
) -> Pretrained:
    """Teaches ``base`` to predict each token of ``documents``: all its weights learn.

    From random weights this is pretraining; from a base's own it is continued pretraining, on the
    texts of a task also called task-adaptive (Gururangan et al. 2020).

    Args:
        base: see ``load_base``.
        documents: to learn from and to measure on.
        config: the settings.
        samples: texts that are written meanwhile.
        on_progress: called with (stage, done, total, figures).
        on_step: called after every optimiser step.
        accelerator: on which device and among how many processes.
        resumable: where the state of the run is kept, and resumed from.

    Raises:
        TuneshotError: an unusable base, too little text, or a block longer than the base reads.
    """
    begin = perf_counter()
    with accelerator.main_process_first() if accelerator else nullcontext():
        start = load_writing_base(base, config.weights, config.seed)
    size = _block_size(start, config)
    train, held_out = (
        pack(texts, start.encode, start.end, size)
        for texts in (documents.train, documents.held_out)
    )
    if train.tokens < size:
        raise TuneshotError(
            f"{documents.name} has {train.tokens:,} tokens to learn from, and a block has "
            f"{size:,}; give more text, or a --block of at most {train.tokens:,}"
        )
    repeats = math.ceil(config.least_steps / count_steps(len(train.read), config))
    config = replace(config, epochs=config.epochs * max(1, repeats))

    model = NextTokenModel(start.trunk)
    weights, _ = count_parameters(model)
    device = device_of(accelerator)
    model.to(device).eval()
    objective = NextTokens(model, train, held_out, config, device)
    on_progress("measure", 0, 1, "")
    before = objective.validate()
    on_progress("measure", 1, 1, f"perplexity {perplexity(before[0]):,.1f}")

    sharded = is_sharded(accelerator)

    def report(step: StepMetrics) -> None:
        words = f"loss {step.loss:.3f}"
        if step.val_loss is not None:
            words = f"held-out perplexity {perplexity(step.val_loss):,.1f}"
        on_progress("pretrain", step.step, step.steps, words)
        on_step(step)
        if samples.every and not sharded and step.step % samples.every == 0:
            samples.show(step.step, "".join(write(start, samples.beginning, samples.config)))

    if sharded:
        resumable = None  # no process has the whole state
    history = learn(
        model, objective, config, report,
        accelerator=accelerator,
        resume=resumable.load() if resumable else None,
        on_state=resumable.save_if_due if resumable else ignore,
    )  # fmt: skip
    after = objective.validate()
    if sharded:
        start = load_writing_base(base, config.weights, config.seed)
        gather(model, NextTokenModel(start.trunk))
    else:
        model.to("cpu")
    about = {
        "format": _FORMAT,
        "kind": _KIND,
        "clfcore": __version__,
        "base": base,
        "data": {
            "source": documents.name,
            "sha256": documents.sha256,
            "documents": {"train": len(documents.train), "held_out": len(documents.held_out)},
            "tokens": {"train": train.tokens, "held_out": held_out.tokens},
        },
        "block": size,
        "train": {**config.to_dict(), "history": [asdict(step) for step in history]},
        "held_out": {
            name: {"loss": loss, "perplexity": perplexity(loss), "accuracy": right}
            for name, (loss, right) in (("before", before), ("after", after))
        },
        "weights": weights,
        "seconds": round(perf_counter() - begin, 1),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    tokens = train.tokens, held_out.tokens
    return Pretrained(start, before, after, history, tokens, weights, about)


def save_pretrained(folder: Path, pretrained: Pretrained) -> None:
    """Writes ``folder`` in one step: a base for ``load_base``, and ``pretraining.json``.

    Args:
        folder: created, or replaced if it is a pretrained language model already.
        pretrained: the model.

    Raises:
        TuneshotError: the disk is full, or ``folder`` is something else.
    """
    check_free(folder, ABOUT, PRETRAINED)
    with atomic_write(folder) as new:
        pretrained.model.save(new)
        (new / ABOUT).write_text(to_json(pretrained.about, indent=2) + "\n", encoding="utf-8")


def _block_size(start: WritingBase, config: PretrainingConfig) -> int:
    """Tokens of a block.

    Raises:
        TuneshotError: more than the model reads.
    """
    limit = start.trunk.context_length
    if config.block > limit:
        raise TuneshotError(
            f"{start.name} reads {limit:,} tokens, and --block is {config.block:,}; choose one of "
            f"at most {limit:,}"
        )
    return config.block or min(limit, LONGEST_USUAL_BLOCK)
