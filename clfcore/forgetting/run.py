"""One remedy from its first step to its last: what was learned and what was forgotten, by step."""

from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch

from clfcore.evaluation.records import Record
from clfcore.forgetting.remedies import Learning, Remedy
from clfcore.forgetting.replay import Replay
from clfcore.forgetting.settings import ForgettingConfig
from clfcore.model.adapters import ADAPTERS, adapt
from clfcore.model.classifier import TrunkModel
from clfcore.model.trainable import count_parameters, freeze_all_but
from clfcore.training.loop import StepMetrics, Validation, learn
from clfcore.training.resume import ResumableRun
from clfcore.training.settings import LoopConfig
from clfcore.types import OnProgress, ignore

if TYPE_CHECKING:
    from accelerate import Accelerator


def choose_weights(
    model: TrunkModel, remedy: Remedy, config: ForgettingConfig, seed: int, new_head: bool
) -> None:
    """The first hook: marks the weights that learn, or puts the adapter into ``model``.

    Args:
        model: changed in place.
        remedy: which says so.
        config: has the rank of an adapter.
        seed: of an adapter.
        new_head: whether the head is new and learns in any case; a vocabulary's learns with all
            layers only.
    """
    if remedy.layers in ADAPTERS:
        adapt(model, remedy.layers, config.rank, 1, seed)
    else:
        freeze_all_but(model.trunk, remedy.layers)
    if not new_head and remedy.layers != "all":
        model.trunk.out_head.requires_grad_(False)


def loop_config(remedy: Remedy, config: ForgettingConfig, seed: int) -> dict[str, Any]:
    """The settings of the loop, as every kind of model takes them."""
    rate = config.learning_rate * remedy.rate
    return {
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "learning_rate": rate,
        "embedding_learning_rate": rate,
        "schedule": "constant",
        "warmup": 0.1,
        "weight_decay": 0.0,
        "validate_every": config.every,
        "keep": "last",
        "precision": config.precision,
        "seed": seed,
    }


def follow(
    learning: Learning,
    remedy: Remedy,
    config: LoopConfig,
    on_progress: OnProgress = ignore,
    resumable: ResumableRun | None = None,
    accelerator: "Accelerator | None" = None,
) -> Record:
    """Learns the new task with ``remedy``, in place; measures before, on the way and in the end.

    Args:
        learning: the model at the start.
        remedy: the second hook is its ``around``.
        config: the settings of the loop.
        on_progress: called with (stage, done, total, figures).
        resumable: where the state of the run is kept, and resumed from.
        accelerator: on which device.

    Returns:
        ``curve``: of each measurement, the first before any step: ``step``, the new task's
        ``accuracy`` and ``loss`` in nats, and the scores by their names; ``weights``: how many
        learn; ``seconds``: of this process.
    """
    begin = perf_counter()
    on_progress("measure", 0, 1, "")
    learning.model.eval()
    with torch.no_grad():
        start = learning.new.validate()
    on_progress("measure", 1, 1, "")
    objective = remedy.around(learning)
    order = objective.order if isinstance(objective, Replay) else None

    def report(step: StepMetrics) -> None:
        on_progress("learn", step.step, step.steps, step.in_words)

    history = learn(
        learning.model, objective, config, report,
        accelerator=accelerator,
        resume=resumable.load() if resumable else None,
        on_state=resumable.save_if_due if resumable else ignore,
        order=order,
    )  # fmt: skip
    return {
        "curve": [
            _point(0, start),
            *(_point(s.step, Validation(s.val_loss or 0.0, s.val_accuracy or 0.0, s.figures or {}))
              for s in history),
        ],
        "weights": count_parameters(learning.model)[0],
        "seconds": round(perf_counter() - begin, 1),
    }  # fmt: skip


def _point(step: int, measured: Validation) -> Record:
    return {
        "step": step,
        "accuracy": measured.accuracy,
        "loss": measured.loss,
        **measured.figures,
    }
