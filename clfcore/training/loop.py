"""The training loop: no files, no prints, no globals. Progress is reported through callbacks.

What a row is, and what its loss is, an ``Objective`` says; a classifier's is in
``classification.py``.

One step takes ``batch_size * accumulate`` rows. However they are divided, into micro-batches to
save memory or among processes to save time, the gradient is that of their mean loss, weighted
where rows have weights.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from clfcore.errors import TuneshotError
from clfcore.json_text import shortened_repr
from clfcore.model.batching import shuffled
from clfcore.model.classifier import TrunkModel
from clfcore.model.trainable import train_above_frozen
from clfcore.training.distributed import device_of, distribute, local_shard
from clfcore.training.settings import LoopConfig
from clfcore.types import ignore

if TYPE_CHECKING:
    from accelerate import Accelerator


# (rows a step, random numbers) -> the rows of each step of an epoch
Order = Callable[[int, np.random.Generator], Iterable[list[int]]]


class Validation(NamedTuple):
    """What an objective measures on its validation part, where that is more than two figures.

    Attributes:
        loss: mean loss in nats.
        accuracy: the share that is answered right.
        figures: others, by their names.
    """

    loss: float
    accuracy: float
    figures: Mapping[str, float]


class Objective(Protocol):
    """What is learned: rows, and the loss on them. It knows the model that it is about.

    Attributes:
        rows: those of an epoch; a row may stand there several times.
        lengths: of every row, in tokens: rows of similar length share a step.
    """

    rows: Sequence[int]
    lengths: Sequence[int]

    def passes(self, rows: list[int]) -> list[list[int]]:
        """The rows of a micro-batch that go through the model together; usually all of them."""

    def weight(self, rows: list[int]) -> Tensor:
        """How much ``rows`` count together: (), above 0."""

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, float]:
        """Summed weighted loss of ``rows`` in nats, and how many of them are answered right.

        A row that asks for many answers counts the share of them that is right.

        Args:
            model: the one it is about, or what several processes have wrapped around it.
            rows: of the training part.
        """

    def validate(self) -> tuple[float, float] | Validation:
        """Mean loss on the validation part in nats, and the share of it that is answered right."""


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """The figures of an optimiser step; losses in nats.

    Those that may be ``None`` are set when the step was followed by a validation, ``figures`` by an
    objective that measures more. The training figures are means over the rows since the previous
    validation, each as it was in its own step. A loss, and the accuracy of a validation, count
    each row as often as its weight says.
    """

    step: int
    steps: int
    epoch: int
    examples_seen: int
    loss: float
    train_loss: float | None = None
    train_accuracy: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    figures: Mapping[str, float] | None = None

    @property
    def in_words(self) -> str:
        """What a progress bar says of it."""
        if self.val_accuracy is None:
            return f"loss {self.loss:.3f}"
        return f"validation loss {self.val_loss:.3f}, accuracy {self.val_accuracy:.4f}"


@dataclass(slots=True)
class TrainingState:
    """Everything a run needs to continue after a step as if it had never stopped.

    Attributes:
        step: optimiser steps done.
        examples_seen: rows trained on, repeats counted.
        history: the validations so far.
        tally: rows, summed loss and correct answers since the last validation.
        best_loss: smallest validation loss so far, in nats.
        since_best: validations since then.
        tensors: the trained weights (``weight/…``), the optimiser's moments (``moment/…``), the
            best weights (``best/…``) and the random number generator (``random``).
    """

    step: int = 0
    examples_seen: int = 0
    history: list[StepMetrics] = field(default_factory=list)
    tally: tuple[int, float, float] = (0, 0.0, 0.0)
    best_loss: float = float("inf")
    since_best: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)


def learn(
    model: TrunkModel,
    objective: Objective,
    config: LoopConfig,
    on_step: Callable[[StepMetrics], None] = ignore,
    *,
    accelerator: "Accelerator | None" = None,
    resume: TrainingState | None = None,
    on_state: Callable[[Callable[[], TrainingState]], None] = ignore,
    after_step: Callable[[int], None] = ignore,
    order: Order | None = None,
) -> list[StepMetrics]:
    """Trains the weights of ``model`` that require gradients, in place.

    Args:
        model: on the accelerator's device; left there, in evaluation mode.
        objective: what it learns.
        config: the settings.
        on_step: called after every step.
        accelerator: on which device and among how many processes; default: alone, on the CPU.
        resume: the state to continue from.
        on_state: called after every step with a function that makes the state to resume from.
        after_step: called with the step's number while its gradients are still there (adapters
            that prune themselves).
        order: which rows share a step; default: rows at random, of similar length.

    Returns:
        The steps that were followed by a validation.

    Raises:
        TuneshotError: a loss that is no longer a number.
    """
    run = _TrainingRun(model, objective, config, accelerator, after_step, order)
    if resume is not None:
        run.restore(resume)
    for step in run.steps():
        on_step(step)
        on_state(run.snapshot)
    run.finish()
    return run.state.history


def count_steps(rows: int, config: LoopConfig) -> int:
    """Optimiser steps of a run with so many rows an epoch."""
    return config.epochs * math.ceil(rows / (config.batch_size * config.accumulate))


class _TrainingRun:
    """One training run: what stays the same through it, and its state."""

    def __init__(
        self,
        model: TrunkModel,
        objective: Objective,
        config: LoopConfig,
        accelerator: "Accelerator | None",
        after_step: Callable[[int], None],
        order: Order | None,
    ) -> None:
        self.model, self.objective, self.config = model, objective, config
        self.accelerator, self.after_step = accelerator, after_step
        self.order = order or partial(shuffled, objective.lengths, objective.rows)
        self.world = accelerator.num_processes if accelerator else 1
        self.rank = accelerator.process_index if accelerator else 0
        self.device = device_of(accelerator)
        self.state = TrainingState()

        self.step_size = config.batch_size * config.accumulate
        self.total = count_steps(len(objective.rows), config)
        self.steps_an_epoch = self.total // config.epochs

        self.wrapped: nn.Module = model
        self.optimizer, self.schedule = _optimizer(model, config, self.total)
        if accelerator is not None and self.world > 1:
            self.wrapped, self.optimizer = distribute(accelerator, model, self.optimizer)
        self.trained = {n: w for n, w in model.named_parameters() if w.requires_grad}
        torch.manual_seed(config.seed + self.rank)  # dropout

    def steps(self) -> Iterator[StepMetrics]:
        """Trains, one step at a time."""
        state, config = self.state, self.config
        while state.step < self.total:
            epoch, done = divmod(state.step, self.steps_an_epoch)
            # Seeded by the epoch, so that a resumed run finds its place in the same order.
            order = self.order(self.step_size, np.random.default_rng([config.seed, epoch]))
            for rows in islice(order, done, None):
                if 0 < config.patience <= state.since_best:
                    return
                loss = self._update(rows)
                state.step += 1
                state.examples_seen += len(rows)
                step = StepMetrics(state.step, self.total, epoch + 1, state.examples_seen, loss)
                end = state.step % self.steps_an_epoch == 0
                if end or (config.validate_every and state.step % config.validate_every == 0):
                    step = self._validated(step)
                yield step

    def _update(self, rows: list[int]) -> float:
        """One optimiser step on ``rows``; their mean loss in nats."""
        self.wrapped.train()
        train_above_frozen(self.model.trunk)
        self.optimizer.zero_grad()
        micro_batches = self._micro_batches(rows)
        weight = self.objective.weight(rows)
        loss_sum, right = 0.0, 0.0
        for number, micro_batch in enumerate(micro_batches, start=1):
            shard = micro_batch[self.rank :: self.world]
            # A process without a row still takes part, but its loss counts for nothing.
            shard, counts = (shard, 1) if shard else (micro_batch[:1], 0)
            with (
                self.accelerator.no_sync(self.wrapped)
                if self.accelerator and number < len(micro_batches)
                else nullcontext()
            ):
                summed, hits = self.objective.loss(self.wrapped, shard)
                loss = counts * summed / weight
                (loss * self.world).backward()  # processes average their gradients
            loss_sum += loss.item()
            right += counts * hits
        loss_sum, right = self._sum_over_processes(loss_sum, right)
        if not math.isfinite(loss_sum):
            raise TuneshotError(
                f"the loss is {loss_sum} in step {self.state.step + 1}; choose a smaller "
                f"--learning-rate than {self.config.learning_rate:g}"
            )
        nn.utils.clip_grad_norm_(list(self.trained.values()), self.config.grad_clip)
        self.optimizer.step()
        self.schedule.step()
        self.after_step(self.state.step + 1)
        seen, total, correct = self.state.tally
        self.state.tally = (seen + len(rows), total + loss_sum * len(rows), correct + right)
        return loss_sum

    def _micro_batches(self, rows: list[int]) -> list[list[int]]:
        """The forward and backward passes of one step."""
        size = self.config.batch_size
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        return [part for batch in batches for part in self.objective.passes(batch)]

    @torch.no_grad()
    def _validated(self, step: StepMetrics) -> StepMetrics:
        """``step`` with the figures of a validation; remembers the best weights.

        Every process reads the whole validation part.
        """
        state = self.state
        self.wrapped.eval()
        validation = self.objective.validate()
        val_loss, val_accuracy = validation[:2]
        seen, loss, right = state.tally
        step = replace(
            step, train_loss=loss / seen, train_accuracy=right / seen,
            val_loss=val_loss, val_accuracy=val_accuracy,
            figures=validation.figures if isinstance(validation, Validation) else None,
        )  # fmt: skip
        state.history.append(step)
        state.tally = (0, 0.0, 0.0)
        state.since_best += 1
        if val_loss < state.best_loss:
            state.best_loss, state.since_best = val_loss, 0
            if self.config.keep == "best":
                self._copy_weights("best")
        return step

    # --- state ----------------------------------------------------------------------------------

    def snapshot(self) -> TrainingState:
        """The state to resume from, on the CPU and no longer changing."""
        self._copy_weights("weight")
        tensors = self.state.tensors
        for name, weight in self.trained.items():
            for key, value in self.optimizer.state.get(weight, {}).items():
                tensors[f"moment/{name}/{key}"] = torch.as_tensor(value).detach().cpu().clone()
        tensors["random"] = torch.get_rng_state()
        return self.state

    def restore(self, state: TrainingState) -> None:
        """Continues from ``state``.

        Raises:
            TuneshotError: it is not that of such a run.
        """
        try:
            if state.step > self.total:
                raise ValueError(f"step {state.step:,} of {self.total:,}")
            self._restore(state)
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise TuneshotError(
                f"the run to continue is damaged ({shortened_repr(error)}); start it anew, without "
                "--resume"
            ) from error

    @torch.no_grad()
    def _restore(self, state: TrainingState) -> None:
        self.state = state
        for name, weight in self.trained.items():
            weight.copy_(state.tensors[f"weight/{name}"])
            moments = {
                key: state.tensors[f"moment/{name}/{key}"].to(self.device)
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"moment/{name}/{key}" in state.tensors
            }
            if any(
                key != "step" and moment.shape != weight.shape for key, moment in moments.items()
            ):
                raise ValueError(f"moments of another shape for {name}")
            if moments:
                self.optimizer.state[weight] = moments
        with warnings.catch_warnings():  # it expects the optimiser's steps in between
            warnings.simplefilter("ignore")
            for _ in range(state.step):
                self.schedule.step()
        torch.set_rng_state(state.tensors["random"])

    @torch.no_grad()
    def finish(self) -> None:
        """Restores the best weights, with ``keep="best"``."""
        if self.config.keep == "best":
            for name, weight in self.trained.items():
                local_shard(weight).copy_(self.state.tensors[f"best/{name}"])
        self.model.eval()

    def _copy_weights(self, kind: str) -> None:
        for name, weight in self.trained.items():
            self.state.tensors[f"{kind}/{name}"] = local_shard(weight.detach()).cpu().clone()

    # --- several processes ----------------------------------------------------------------------

    def _sum_over_processes(self, *numbers: float) -> list[float]:
        if self.accelerator is None or self.world == 1:
            return list(numbers)
        own = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        return self.accelerator.reduce(own, "sum").tolist()


def _optimizer(
    model: TrunkModel, config: LoopConfig, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW over three groups: token embedding, matrices (decayed), vectors (not decayed)."""
    embedding = [weight for weight in model.trunk.tok_emb.parameters() if weight.requires_grad]
    others = [weight for weight in model.parameters()
              if weight.requires_grad and weight is not model.trunk.tok_emb.weight]  # fmt: skip
    matrices = [weight for weight in others if weight.squeeze().dim() > 1]
    vectors = [weight for weight in others if weight.squeeze().dim() <= 1]
    groups: list[dict[str, Any]] = [
        {"params": embedding, "lr": config.embedding_learning_rate, "weight_decay": 0.0},
        {"params": matrices, "lr": config.learning_rate, "weight_decay": config.weight_decay},
        {"params": vectors, "lr": config.learning_rate, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    optimizer = torch.optim.AdamW(groups, fused=True)
    if config.schedule == "one_cycle":
        peaks = [group["lr"] for group in groups]
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, peaks, total_steps=steps)
    warmup = round(config.warmup * steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return SHAPES[config.schedule]((step - warmup) / max(1, steps - warmup))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


# Share of the peak learning rate after a share of the steps that follow the warm-up.
SHAPES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1 - done,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
}
