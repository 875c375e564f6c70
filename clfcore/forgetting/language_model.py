"""A language model learns to write labels after prompts, and may forget how to read other texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clfcore.errors import TuneshotError
from clfcore.evaluation.records import Record
from clfcore.forgetting.objectives import Measured
from clfcore.forgetting.remedies import REMEDIES, Learning
from clfcore.forgetting.run import choose_weights, follow, loop_config
from clfcore.forgetting.settings import ForgettingConfig
from clfcore.model.batching import by_length, pad, split_by_tokens
from clfcore.model.precision import autocast, resolve
from clfcore.training.distributed import device_of, find_accelerator
from clfcore.training.instruction.model import LanguageModel
from clfcore.training.instruction.pairs import Pair, TargetTokens, target_places
from clfcore.training.instruction.settings import InstructionConfig
from clfcore.training.resume import ResumableRun
from clfcore.types import OnProgress, ignore
from clfcore.weights.language_model import load_transformer

Score = Callable[[Any, Any], float]  # of a network and its tokenizer
_BATCH = 8  # prompts


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, and the token that tells each answer that is allowed.

    Attributes:
        prompt: token ids, at least one.
        firsts: the token id of each answer that comes next, all different.
        right: which answer is the right one.
    """

    prompt: tuple[int, ...]
    firsts: tuple[int, ...]
    right: int


@dataclass(frozen=True, slots=True)
class PromptedTask:
    """What a language model is to learn, what it may forget, and how both are measured.

    Attributes:
        learned: prompts of the new task, and what is to be written after them.
        asked: questions of the new task, none of them learned.
        old_texts: texts that a remedy may read again; at least two tokens each.
        scores: name -> what may be forgotten, as a figure of network and tokenizer.
    """

    learned: Sequence[Pair]
    asked: Sequence[Question]
    old_texts: Sequence[str]
    scores: Mapping[str, Score]


def teach_language_model(
    source: str,
    task: PromptedTask,
    remedy: str,
    config: ForgettingConfig,
    seed: int,
    *,
    on_progress: OnProgress = ignore,
    resumable: ResumableRun | None = None,
) -> Record:
    """Teaches the language model ``source`` a new task with a remedy; see ``follow``.

    Args:
        source: see ``load_transformer``; in its tokens the task is.
        task: what it learns.
        remedy: a key of ``REMEDIES`` without a column.
        config: the settings.
        seed: of the order of rows, and of adapters.
        on_progress: called with (stage, done, total, figures).
        resumable: where the state of the run is kept, and resumed from.

    Raises:
        TuneshotError: the model cannot be loaded or taught, or reads fewer tokens than a prompt
            has; several processes.
    """
    accelerator = find_accelerator()
    if accelerator is not None and accelerator.num_processes > 1:
        raise TuneshotError(
            "remedies are compared by one process; start the command without a launcher"
        )
    device = device_of(accelerator)
    tokenizer, network = load_transformer(source, "AutoModelForCausalLM")
    model = LanguageModel(network)
    prompts = [*(p.prompt for p in task.learned), *(q.prompt for q in task.asked)]
    longest = max(map(len, prompts))
    if longest >= model.trunk.context_length:
        raise TuneshotError(
            f"{source} reads {model.trunk.context_length:,} tokens, and a prompt has {longest:,}; "
            "give shorter messages"
        )
    of = REMEDIES[remedy]
    choose_weights(model, of, config, seed, new_head=False)
    model.to(device)
    loop = InstructionConfig(
        layers=of.layers, rank=config.rank, balance_ratio=1.0, **loop_config(of, config, seed)
    )
    scores = {name: partial(score, network, tokenizer) for name, score in task.scores.items()}
    new = Measured(
        TargetTokens(model, task.learned, task.learned[:1], loop, device),
        scores,
        lambda: judged(network, task.asked),
    )
    tokens = [tokenizer(text, split_special_tokens=True)["input_ids"] for text in task.old_texts]
    old = TextTokens(model, tokens, resolve(config.precision, device), device)
    return follow(Learning(model, new, old, model), of, loop, on_progress, resumable, accelerator)


@torch.inference_mode()
def judged(network: Any, questions: Sequence[Question]) -> tuple[float, float]:  # noqa: ANN401
    """Mean -log P(right answer) among the allowed ones in nats, and the share answered right.

    Args:
        network: a causal language model of transformers.
        questions: at least one.
    """
    device = next(network.parameters()).device
    network.eval()
    prompts = [question.prompt for question in questions]
    loss, right = 0.0, 0
    for cpu_batch in by_length(prompts, _BATCH):
        batch = cpu_batch.to(device)
        logits = network(batch.ids).logits  # (B, T, V)
        last = logits[torch.arange(len(batch.rows)), batch.lengths - 1].float().cpu()  # (B, V)
        for row, each in zip(batch.rows, last, strict=True):
            asked = questions[row]
            allowed = each[list(asked.firsts)].log_softmax(dim=-1)  # (V,) -> (answers,)
            loss -= float(allowed[asked.right])
            right += int(allowed.argmax()) == asked.right
    return loss / len(questions), right / len(questions)


class TextTokens:
    """The old task of a language model: each token of a text from those before it.

    A text counts once, with the mean loss of its tokens, as a message of the new task does.

    Args:
        model: on ``device``.
        tokens: token ids of the texts; those with fewer than two are left out.
        precision: of matrix products.
        device: where the model is.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokens: Sequence[Sequence[int]],
        precision: str,
        device: torch.device,
    ) -> None:
        self.model, self.precision, self.device = model, precision, device
        self.texts = [Pair(tuple(ids[:1]), tuple(ids[1:])) for ids in tokens if len(ids) > 1]
        self.read = [text.read for text in self.texts]
        self.rows: Sequence[int] = range(len(self.texts))
        self.lengths: Sequence[int] = [len(ids) for ids in self.read]

    def passes(self, rows: list[int]) -> list[list[int]]:
        return list(split_by_tokens(rows, self.lengths))

    def weight(self, rows: list[int]) -> Tensor:
        return torch.tensor(float(len(rows)), device=self.device)

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, float]:
        chosen = [self.texts[row] for row in rows]
        places, columns, targets = target_places(chosen, self.device)  # (P,) each
        with autocast(self.precision, self.device):
            logits = model(pad(self.read, rows).ids.to(self.device), places, columns)  # (P, V)
        counts = torch.bincount(places, minlength=len(chosen))  # (B,)
        by_token = F.cross_entropy(logits, targets, reduction="none") / counts[places]  # (P,)
        right = (logits.argmax(dim=-1) == targets).float() / counts[places]
        return by_token.sum(), float(right.sum())

    def validate(self) -> tuple[float, float]:
        """Of the same texts."""
        rows, total = list(self.rows), (0.0, 0.0)
        for part in self.passes(rows):
            loss, right = self.loss(self.model, part)
            total = (total[0] + float(loss), total[1] + right)
        return total[0] / len(rows), total[1] / len(rows)
