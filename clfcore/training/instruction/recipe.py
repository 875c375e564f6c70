"""From pairs to a tuned language model: load, choose what learns, train, merge."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from torch import nn

from clfcore.errors import TuneshotError
from clfcore.model.adapters import ADAPTERS, after_step, merge
from clfcore.model.trainable import count_parameters
from clfcore.quantization.frozen import freeze_in_nf4
from clfcore.training.distributed import device_of
from clfcore.training.instruction.model import LanguageModel, choose_weights
from clfcore.training.instruction.pairs import Pair, TargetTokens, balanced_targets
from clfcore.training.instruction.settings import InstructionConfig
from clfcore.training.loop import StepMetrics, count_steps, learn
from clfcore.training.resume import ResumableRun
from clfcore.types import OnProgress, ignore
from clfcore.weights.language_model import load_transformer

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True, slots=True)
class TunedLM:
    """A language model fresh from tuning, an adapter merged, on the CPU and in float32.

    Attributes:
        network, tokenizer: those of transformers.
        history: the figures of each validation; an accuracy is the share of pairs whose target
            would be written.
        trained_weights: how many weights were trained.
        all_weights: how many there are.
        seconds: wall-clock time, loading included.
    """

    network: Any
    tokenizer: Any
    history: list[StepMetrics]
    trained_weights: int
    all_weights: int
    seconds: float


def tune_language_model(
    source: str,
    train: Sequence[Pair],
    val: Sequence[Pair],
    config: InstructionConfig,
    *,
    on_progress: OnProgress = ignore,
    on_step: Callable[[StepMetrics], None] = ignore,
    accelerator: "Accelerator | None" = None,
    resumable: ResumableRun | None = None,
) -> TunedLM:
    """Tunes the language model ``source`` to write the targets after their prompts.

    Without examples in the prompts this is instruction tuning (Wei et al. 2022, FLAN), with them
    in-context tuning (Chen et al. 2022; Min et al. 2022, MetaICL).

    Args:
        source: see ``load_transformer``; in its tokens the pairs are.
        train: pairs to learn from.
        val: pairs to validate on.
        config: the settings.
        on_progress: called with (stage, done, total, figures).
        on_step: called after every optimiser step.
        accelerator: on which device.
        resumable: where the state of the run is kept, and resumed from.

    Raises:
        TuneshotError: the model cannot be loaded or tuned, or settings that do not suit it or the
            pairs; several processes.
    """
    if accelerator is not None and accelerator.num_processes > 1:
        raise TuneshotError(
            "a language model is tuned by one process; start the command without a launcher"
        )
    begin = perf_counter()
    tokenizer, network = load_network(source, config)
    model = LanguageModel(network)
    longest = max(len(pair.read) for pair in (*train, *val))
    if longest > model.trunk.context_length:
        raise TuneshotError(
            f"{source} reads {model.trunk.context_length:,} tokens, and a prompt with its answer "
            f"has {longest:,}; show fewer or shorter examples"
        )
    rows = len(balanced_targets(train, config))
    repeats = max(1, math.ceil(config.least_steps / count_steps(rows, config)))
    config = replace(config, epochs=config.epochs * repeats)
    steps = count_steps(rows, config)
    choose_weights(model, config, steps)
    trained, total = count_parameters(model)
    on_progress("tune", 0, steps, f"{trained:,} of {total:,} weights are trained")

    def report(step: StepMetrics) -> None:
        on_progress("tune", step.step, step.steps, step.in_words)
        on_step(step)

    device = device_of(accelerator)
    model.to(device)
    if config.layers in ADAPTERS and not ADAPTERS[config.layers].resumable:
        resumable = None  # the weights are not all that it needs to continue
    history = learn(
        model, TargetTokens(model, train, val, config, device), config, report,
        accelerator=accelerator,
        resume=resumable.load() if resumable else None,
        on_state=resumable.save_if_due if resumable else ignore,
        after_step=after_step(model),
    )  # fmt: skip
    if model.adapter is not None:
        merge(model)
    model.to("cpu")
    return TunedLM(network, tokenizer, history, trained, total, perf_counter() - begin)


def load_network(source: str, config: InstructionConfig) -> tuple[Any, Any]:
    """Tokenizer and network; for qlora without ever having all weights in memory as floats.

    They come in the precision of their file, and only what is not quantized becomes float32.
    """
    if config.layers != "qlora":
        return load_transformer(source, "AutoModelForCausalLM")
    tokenizer, network = load_transformer(source, "AutoModelForCausalLM", "auto")
    for part in network.base_model.children():
        if isinstance(part, nn.ModuleList):  # the blocks
            freeze_in_nf4(part)
    return tokenizer, network.float()
