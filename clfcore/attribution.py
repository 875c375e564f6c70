"""Which words moved the fine-tuned answer.

An effect is a change of the log-odds of one label, log p - log(1 - p), in nats: above zero the
word speaks for the label, below zero against it. It says what this model would do, and not why a
person would. Effects need not add up: words repeat each other, or mean something only together.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass

import torch
from torch import Tensor

from clfcore.errors import unknown_choice
from clfcore.fine_tuned import FineTuned
from clfcore.model.classifier import class_logits

_BATCH_SIZE = 32  # messages in one pass
# Occlusion reads a message once for each word: of 40 words 2,000 tokens, of 1,000 words a million.
_MAX_TOKENS_READ = 16_384


@dataclass(frozen=True, slots=True)
class Word:
    """A part of the message between white space, and its effect.

    Attributes:
        text: characters ``start`` to ``end`` of the message.
        effect: in nats; above zero it speaks for the label.
    """

    text: str
    start: int
    end: int
    effect: float


@dataclass(frozen=True, slots=True)
class Attribution:
    """The words of a message and their effects.

    Attributes:
        label: what the effects speak for or against.
        words: in the order of the message; only white space lies between two of them. In a long
            message, several neighbouring words are taken as one.
        left_out: how many characters at the end were not read, because the message is longer than
            the context.
        unit: of the effects.
    """

    label: str
    words: tuple[Word, ...]
    left_out: int
    unit: str = "nats"


def attribute(model: FineTuned, text: str, label: str | None = None) -> Attribution:
    """How much each word of ``text`` speaks for ``label``, by occlusion.

    An effect is the log-odds of the message minus those of the message without the word. Zeiler &
    Fergus 2014 cover a part of a picture; Li et al. 2016 ("Understanding Neural Networks through
    Representation Erasure") leave out a word. So that no message takes more than
    ``_MAX_TOKENS_READ`` tokens, neighbouring words of a long one are left out together.

    Args:
        model: any checkpoint; it answers each variant as it would answer any message.
        text: any string; one without words has no effects.
        label: one of the model's; default: its answer.

    Raises:
        TuneshotError: the model has no such label.
    """
    read = text[: _characters_read(model, text)]
    label = model.predict([read])[0].label if label is None else label
    if label not in model.labels:
        raise unknown_choice("label", label, model.labels)
    spans = [match.span() for match in re.finditer(r"\S+", read)]
    passes = max(1, _MAX_TOKENS_READ // len(model.read(read)))
    together = max(1, -(-len(spans) // passes))  # rounded up
    groups = [spans[i : i + together] for i in range(0, len(spans), together)]
    parts = [(group[0][0], group[-1][1]) for group in groups]
    variants = [read, *(_without(read, start, end) for start, end in parts)]
    logits = class_logits(model.model, [model.read(text) for text in variants], _BATCH_SIZE)
    whole, *rest = _log_odds(logits, model.labels.index(label)).tolist()
    words = tuple(
        Word(read[start:end], start, end, effect=whole - odds)
        for (start, end), odds in zip(parts, rest, strict=True)
    )
    return Attribution(label, words, left_out=len(text) - len(read))


def _log_odds(logits: Tensor, column: int) -> Tensor:
    """A label's log p - log(1 - p) in nats, from logits: (N, classes) -> (N,).

    From logits, because a float32 probability near 1 has lost how far from 1 it is.
    """
    others = torch.cat([logits[:, :column], logits[:, column + 1 :]], dim=1)  # (N, classes - 1)
    return logits[:, column] - others.logsumexp(dim=1)


def _characters_read(model: FineTuned, text: str) -> int:
    """How many characters of ``text`` the model reads."""
    limit = model.limit
    if len(model.encode(text)) <= limit:
        return len(text)
    lengths = range(len(text))
    return bisect_right(lengths, limit, key=lambda n: len(model.encode(text[:n]))) - 1


def _without(text: str, start: int, end: int) -> str:
    """``text`` without a word and the white space before it."""
    return (text[:start].rstrip() + text[end:]).lstrip()
