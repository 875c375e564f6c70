"""Which words moved the fine-tuned answer.

An effect is a change of the log-odds of one label, log p - log(1 - p), in nats: above zero the
word speaks for the label, below zero against it. It says what this model would do, and not why a
person would. Effects need not add up: words repeat each other, or mean something only together.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from clfcore.errors import unknown_choice
from clfcore.fine_tuned import FineTuned
from clfcore.model.batching import by_length, pad
from clfcore.model.classifier import class_logits

_BATCH = 32  # messages in one pass
# Occlusion reads a message once for each word: of 40 words 2,000 tokens, of 1,000 words a million.
_MOST_TOKENS = 16_384


@dataclass(frozen=True, slots=True)
class Word:
    """A part of the message between white space, and what it did.

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
        method: a key of ``ATTRIBUTIONS``.
        label: what the effects speak for or against.
        unit: of the effects.
        words: in the order of the message; only white space lies between two of them. In a long
            message, occlusion takes several neighbouring words as one.
        left_out: how many characters at the end were not read, because the message is longer than
            the context.
    """

    method: str
    label: str
    unit: str
    words: tuple[Word, ...]
    left_out: int


def attribute(
    model: FineTuned, text: str, label: str | None = None, method: str = "occlusion"
) -> Attribution:
    """How much each word of ``text`` speaks for ``label``.

    Args:
        model: any checkpoint.
        text: any string; one without words has no effects.
        label: one of the model's; default: its answer.
        method: a key of ``ATTRIBUTIONS``.

    Raises:
        TuneshotError: a method or a label that is not known.
    """
    if method not in ATTRIBUTIONS:
        raise unknown_choice("method", method, ATTRIBUTIONS)
    read = text[: _characters_read(model, text)]
    label = model.predict([read])[0].label if label is None else label
    if label not in model.labels:
        raise unknown_choice("label", label, model.labels)
    words = [Word(m[0], m.start(), m.end(), effect=0.0) for m in re.finditer(r"\S+", read)]
    if words:
        words = ATTRIBUTIONS[method](model, read, words, model.labels.index(label))
    return Attribution(method, label, "nats", tuple(words), len(text) - len(read))


def occlusion(model: FineTuned, text: str, words: Sequence[Word], column: int) -> list[Word]:
    """The log-odds of the message, minus those of the message without the word.

    Zeiler & Fergus 2014 cover a part of a picture; Li et al. 2016 ("Understanding Neural Networks
    through Representation Erasure") leave out a word. So that no message takes longer than
    ``_MOST_TOKENS`` to read, neighbouring words of a long one are left out together.

    Args:
        model: answers each variant as it would answer any message.
        text: as much as fits the context.
        words: of ``text``, at least one.
        column: number of the label.
    """
    passes = max(1, _MOST_TOKENS // len(_tokens(model, text)))
    together = -(-len(words) // passes)  # rounded up
    groups = [words[i : i + together] for i in range(0, len(words), together)]
    parts = [
        Word(text[group[0].start : group[-1].end], group[0].start, group[-1].end, effect=0.0)
        for group in groups
    ]
    odds = _log_odds_of(model, [text, *(_without(text, part) for part in parts)], column)
    return [replace(part, effect=odds[0] - o) for part, o in zip(parts, odds[1:], strict=True)]


def gradient_times_input(
    model: FineTuned, text: str, words: Sequence[Word], column: int
) -> list[Word]:
    """The gradient of the log-odds by a token's embedding, times the embedding, summed by word.

    To first order what it would cost to set the embeddings of the word to zero (Shrikumar et al.
    2016, "Not Just a Black Box"; Denil et al. 2014). One pass forward and one back; arguments as
    for ``occlusion``.
    """
    batch = pad([_tokens(model, text)], [0])
    embedded: list[Tensor] = []

    def remember(module: torch.nn.Module, inputs: object, output: Tensor) -> Tensor:
        embedded.append(output.detach().requires_grad_())  # frozen embeddings have no gradient
        return embedded[0]

    with torch.enable_grad(), model.model.trunk.tok_emb.register_forward_hook(remember):
        odds = _log_odds(class_logits(model.model, batch), column)  # (1,)
        (x,) = embedded
        (gradient,) = torch.autograd.grad(odds.sum(), x)
    owner = _word_of_token(model.encode, text, words)  # (T,), without the padding that is read
    effects = (gradient * x).detach().sum(dim=-1)[0, : len(owner)]  # (1, T, C) -> (T,)
    sums = np.bincount(owner, weights=effects.numpy(), minlength=len(words))
    return [replace(word, effect=float(e)) for word, e in zip(words, sums, strict=True)]


Method = Callable[[FineTuned, str, Sequence[Word], int], list[Word]]

ATTRIBUTIONS: dict[str, Method] = {
    "occlusion": occlusion,
    "gradient × input": gradient_times_input,
}


# --- the log-odds of a label --------------------------------------------------------------------


@torch.inference_mode()
def _log_odds_of(model: FineTuned, texts: Sequence[str], column: int) -> list[float]:
    """The log-odds of a label in each of ``texts``, in nats."""
    tokens = [_tokens(model, text) for text in texts]
    odds = [0.0] * len(texts)
    for batch in by_length(tokens, _BATCH):
        found = _log_odds(class_logits(model.model, batch), column).tolist()
        for row, value in zip(batch.rows, found, strict=True):
            odds[row] = value
    return odds


def _log_odds(logits: Tensor, column: int) -> Tensor:
    """A label's log p - log(1 - p), from logits: (B, classes) -> (B,).

    From logits, because a float32 probability near 1 has lost how far from 1 it is.
    """
    others = torch.cat([logits[:, :column], logits[:, column + 1 :]], dim=1)  # (B, classes - 1)
    return logits[:, column] - others.logsumexp(dim=1)


# --- words, characters, tokens ------------------------------------------------------------------


def _tokens(model: FineTuned, text: str) -> list[int]:
    """The tokens of ``text`` that the model reads."""
    return model.meta.reading.tokens(model.encode(text), model.model.trunk.context_length)


def _characters_read(model: FineTuned, text: str) -> int:
    """How many characters of ``text`` fit the model's context."""
    limit = model.model.trunk.context_length
    if len(model.encode(text)) <= limit:
        return len(text)
    lengths = range(len(text))
    return bisect_right(lengths, limit, key=lambda n: len(model.encode(text[:n]))) - 1


def _without(text: str, word: Word) -> str:
    """``text`` without a word and the white space before it."""
    return (text[: word.start].rstrip() + text[word.end :]).lstrip()


def _word_of_token(
    encode: Callable[[str], list[int]], text: str, words: Sequence[Word]
) -> np.ndarray:
    """Which word each token belongs to: (T,) int64.

    A word with the white space before it has the tokens that it adds to the word before. This
    holds for any tokenizer that joins nothing across the end of a word, whatever it puts in front
    of a text. White space at the end of the message belongs to the last word.
    """
    starts = [0, *(word.end for word in words[:-1])]
    pieces = [text[start : word.end] for start, word in zip(starts, words, strict=True)]
    counts = [len(encode(pieces[0]))]
    counts += [len(encode(one + two)) - len(encode(one)) for one, two in pairwise(pieces)]
    owner = np.searchsorted(np.cumsum(counts), np.arange(len(encode(text))), side="right")
    return np.minimum(owner, len(words) - 1)
