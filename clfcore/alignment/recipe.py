"""From preferences to an aligned language model: load, adapt, train, merge, measure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from clfcore.alignment.measures import reply
from clfcore.alignment.objective import Choice, PreferredAnswers, preferred
from clfcore.alignment.preferences import Preference
from clfcore.alignment.settings import AlignConfig
from clfcore.errors import TuneshotError
from clfcore.model.adapters import adapt, adapter_off, merge
from clfcore.model.trainable import count_parameters
from clfcore.training.distributed import device_of
from clfcore.training.instruction.model import LanguageModel
from clfcore.training.instruction.pairs import Pair
from clfcore.training.instruction.recipe import TunedLM
from clfcore.training.loop import StepMetrics, count_steps, learn
from clfcore.training.resume import ResumableRun
from clfcore.types import OnProgress, ignore, without_lone_surrogates
from clfcore.weights.language_model import load_transformer

if TYPE_CHECKING:
    from accelerate import Accelerator

Score = Callable[[Any, Any], float]  # of a network and its tokenizer
_REPLIES = 3


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model writes to a held-out question, and the better answer to it."""

    context: str
    before: str
    after: str
    better: str


@dataclass(frozen=True, slots=True)
class Aligned:
    """An aligned language model, the adapter merged, and what that changed.

    Attributes:
        tuned: the model; its history has margin and KL of the held-out pairs, in nats.
        preferred: of each held-out pair, whether it was preferred before and is after.
        replies: to held-out questions of different topics.
        scores: figure -> its value before and after.
    """

    tuned: TunedLM
    preferred: tuple[list[bool], list[bool]]
    replies: list[Reply]
    scores: dict[str, tuple[float, float]]


def align_language_model(
    source: str,
    train: Sequence[Preference],
    held_out: Sequence[Preference],
    config: AlignConfig,
    *,
    scores: Mapping[str, Score] | None = None,
    on_progress: OnProgress = ignore,
    accelerator: "Accelerator | None" = None,
    resumable: ResumableRun | None = None,
) -> Aligned:
    """Teaches the language model ``source`` which answers are better (DPO with LoRA).

    Args:
        source: see ``load_transformer``.
        train: pairs to learn from.
        held_out: pairs that are only measured; nothing is chosen by them.
        config: the settings.
        scores: what else is measured before and after, such as its accuracy in a prompt.
        on_progress: called with (stage, done, total, figures).
        accelerator: on which device.
        resumable: where the state of the run is kept, and resumed from.

    Raises:
        TuneshotError: the model cannot be loaded or adapted, or reads fewer tokens than a pair has;
            several processes.
    """
    if accelerator is not None and accelerator.num_processes > 1:
        raise TuneshotError(
            "a language model is aligned by one process; start the command without a launcher"
        )
    begin = perf_counter()
    tokenizer, network = load_transformer(source, "AutoModelForCausalLM")
    model = LanguageModel(network)
    learned, measured = (
        [choice_of(tokenizer, each) for each in part] for part in (train, held_out)
    )
    longest = max(choice.length // 2 for choice in (*learned, *measured))
    if longest > model.trunk.context_length:
        raise TuneshotError(
            f"{source} reads {model.trunk.context_length:,} tokens, and a question with its answer "
            f"has {longest:,}; shorten it"
        )
    steps = count_steps(len(learned), config)
    adapt(model, "lora", config.rank, steps, config.seed)
    model.trunk.out_head.requires_grad_(False)
    trained, total = count_parameters(model)
    on_progress("align", 0, steps, f"{trained:,} of {total:,} weights are trained")
    device = device_of(accelerator)
    model.to(device)

    asked = list({pair.topic: row for row, pair in enumerate(held_out)}.values())[:_REPLIES]
    asked_scores = scores or {}

    def measure() -> tuple[list[str], dict[str, float]]:
        written = [reply(network, tokenizer, measured[row].better.prompt) for row in asked]
        return written, {name: score(network, tokenizer) for name, score in asked_scores.items()}

    on_progress("measure", 0, 2, "")
    objective = PreferredAnswers(model, learned, measured, config, device)
    before = preferred(objective.held_out_reference, measured)
    with adapter_off(model):  # it may be resumed, and is itself only then
        replies_before, scores_before = measure()
    on_progress("measure", 1, 2, "")

    def report(step: StepMetrics) -> None:
        on_progress("align", step.step, step.steps, step.in_words)

    history = learn(
        model, objective, config, report,
        accelerator=accelerator,
        resume=resumable.load() if resumable else None,
        on_state=resumable.save_if_due if resumable else ignore,
    )  # fmt: skip
    merge(model)
    after = preferred(objective.log_probabilities(measured), measured)  # of what is stored
    replies_after, scores_after = measure()
    on_progress("measure", 2, 2, "")
    model.to("cpu")
    return Aligned(
        TunedLM(network, tokenizer, history, trained, total, perf_counter() - begin),
        (before, after),
        [
            Reply(held_out[row].context, old, new, held_out[row].better)
            for row, old, new in zip(asked, replies_before, replies_after, strict=True)
        ],
        {name: (scores_before[name], scores_after[name]) for name in scores_before},
    )


def choice_of(tokenizer: Any, preference: Preference) -> Choice:  # noqa: ANN401
    """The two answers in tokens, each with what ends it.

    The question stands in the model's own format of chats, or, where it has none, before an empty
    line. Whatever a text says, it is no control token.

    Args:
        tokenizer: that of transformers.
        preference: in words.
    """

    def encode(text: str) -> list[int]:
        return list(
            tokenizer(
                without_lone_surrogates(text), add_special_tokens=False, split_special_tokens=True
            )["input_ids"]
        )

    if tokenizer.chat_template is None:
        prompt = encode(f"{preference.context}\n\n")
    else:
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": without_lone_surrogates(preference.context)}],
            add_generation_prompt=True,
            sanitize_control_tokens=True,
            return_dict=False,
        )
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    better, worse = (
        Pair(tuple(prompt), (*encode(answer), *end))
        for answer in (preference.better, preference.worse)
    )
    return Choice(better, worse)
