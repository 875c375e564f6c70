"""From what a language model read to a score for each label, and on to probabilities.

A score is in nats, larger is likelier. A scoring says what must be read (``ask``) and what that
makes of each label (``combine``); reading is the caller's:

    reads = [lm.read(*question) for question in scoring.ask(template, prompt, shown, query)]
    scores = scoring.combine(reads, template.words_for(query))

Models that only answer in words have ``parse_label`` and ``first_token_scores`` instead.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from icl.lm.base import PromptText, Scored
from icl.prompt.template import BETWEEN, Demonstration, Template, Words, one_line

# --- what is read -------------------------------------------------------------------------------


class Question(NamedTuple):
    """One call of ``LM.read``.

    Attributes:
        prompt: plain text or a chat.
        continuations: what might come next.
    """

    prompt: PromptText
    continuations: tuple[str, ...]


Ask = Callable[[Template, PromptText, Sequence[Demonstration], str], list[Question]]


def ask_words(
    template: Template, prompt: PromptText, shown: Sequence[Demonstration], query: str
) -> list[Question]:
    """The prompt as it is, then each word."""
    return [Question(prompt, _all_words(template, query))]


def ask_without_content(
    template: Template, prompt: PromptText, shown: Sequence[Demonstration], query: str
) -> list[Question]:
    """The prompt, and then the bare label slot, which is the same for all messages.

    The slot has no examples either. With them, this would be contextual calibration.
    """
    bare = template.render([], "") if isinstance(prompt, str) else template.turns([], "")
    words = _all_words(template, query)
    return [Question(prompt, words), Question(bare, words)]


def ask_channel(
    template: Template, prompt: PromptText, shown: Sequence[Demonstration], query: str
) -> list[Question]:
    """A prompt for each word, with labels before messages; then the message.

    Always plain text: in a chat, the message is not the model's to say.
    """
    label_slot = template.before_label.lstrip()
    text_slot = "\n" + template.before_text.rstrip()
    space = template.before_text[len(template.before_text.rstrip()) :]  # the message's own
    parts = [template.instruction] if template.instruction else []
    for each in shown:
        word = template.words_for(each.text)[each.label][0]
        parts.append(label_slot + word + text_slot + space + one_line(each.text))
    return [
        Question(BETWEEN.join([*parts, label_slot + word + text_slot]), (space + one_line(query),))
        for word in _all_words(template, query)
    ]


def _all_words(template: Template, query: str) -> tuple[str, ...]:
    return tuple(word for words in template.words_for(query).values() for word in words)


# --- what it makes of each label ----------------------------------------------------------------


Combine = Callable[[Sequence[Scored], Words], np.ndarray]


def sum_of_tokens(reads: Sequence[Scored], words: Words) -> np.ndarray:
    """The log-probability of the label: all tokens of a word, any of a label's words."""
    (read,) = reads
    return _any_word(_totals(read), words)


def mean_of_tokens(reads: Sequence[Scored], words: Words) -> np.ndarray:
    """As the sum, but a word's tokens are averaged, so that long words are not punished."""
    (read,) = reads
    return _any_word([sum(tokens) / len(tokens) for tokens in read.log_probabilities], words)


def first_token(reads: Sequence[Scored], words: Words) -> np.ndarray:
    """Only how a word begins; a beginning that two words of one label share counts once."""
    (read,) = reads
    labels = [label for label, own in words.items() for _ in own]
    seen: set[tuple[str, int]] = set()
    scores = []
    for label, tokens, logs in zip(labels, read.tokens, read.log_probabilities, strict=True):
        scores.append(-np.inf if (label, tokens[0]) in seen else logs[0])
        seen.add((label, tokens[0]))
    return _any_word(scores, words)


def constrained(reads: Sequence[Scored], words: Words) -> np.ndarray:
    """How probable each label is if the model can write nothing but labels.

    The words' tokens form a trie. Generation constrained to it chooses, at every node, among the
    children only; so each step counts with its share among its siblings, and what must follow
    (``am`` after `` sp``) costs nothing. A word's score is the log-probability of its path. These
    are probabilities: they add up to 1 over all words.

    Where no two labels begin alike, the likeliest path is the one that greedy generation takes.
    Where some do, greedy generation may be led astray by a beginning that many labels share; all
    paths are known here, so the likeliest one wins.

    A word that another one continues may also end there. That has the probability that is left
    by the tokens that continue it.
    """
    (read,) = reads
    end = -1  # as a token
    trie: dict[tuple[int, ...], dict[int, float]] = {}  # tokens so far -> next one -> log P
    for tokens, logs in zip(read.tokens, read.log_probabilities, strict=True):
        for i, (token, log_p) in enumerate(zip(tokens, logs, strict=True)):
            trie.setdefault(tokens[:i], {})[token] = log_p
    for tokens in {tokens for tokens in read.tokens if tokens in trie}:
        goes_on = float(np.exp(list(trie[tokens].values())).sum())
        trie[tokens][end] = float(np.log(max(1 - goes_on, np.finfo(float).tiny)))
    shares = {
        node: dict(zip(children, log_softmax(list(children.values())).tolist(), strict=True))
        for node, children in trie.items()
    }
    paths = [
        sum(shares[tokens[:i]][token] for i, token in enumerate(tokens))
        + shares.get(tokens, {}).get(end, 0.0)
        for tokens in read.tokens
    ]
    return _any_word(paths, words)


def pointwise_mutual_information(reads: Sequence[Scored], words: Words) -> np.ndarray:
    """How much likelier the prompt makes a label than the bare label slot does."""
    read, bare = reads
    return _any_word(_totals(read), words) - _any_word(_totals(bare), words)


def channel(reads: Sequence[Scored], words: Words) -> np.ndarray:
    """The log-probability of the message given the label, whose words are equally likely."""
    totals = [_totals(read)[0] for read in reads]
    return _any_word(totals, words) - np.log([len(own) for own in words.values()])


def _totals(read: Scored) -> list[float]:
    return [sum(tokens) for tokens in read.log_probabilities]


def _any_word(scores: Sequence[float], words: Words) -> np.ndarray:
    """Log-sum-exp over each label's words: (W,) -> (C,)."""
    sizes = [len(own) for own in words.values()]
    starts = np.cumsum([0, *sizes[:-1]])
    return np.logaddexp.reduceat(np.asarray(scores, np.float64), starts)


@dataclass(frozen=True, slots=True)
class Scoring:
    """How label scores come about.

    Attributes:
        ask: template, finished prompt, demonstrations in it and message -> what must be read.
        combine: what was read, in that order, and label -> words -> (C,) float64 scores in nats.
    """

    ask: Ask
    combine: Combine


# MetaICL (Min et al. 2022) scores like "sum" and "mean"; "pmi" is Holtzman et al. 2021, "channel"
# is Min et al. 2022 (Noisy Channel Language Model Prompting).
SCORINGS: dict[str, Scoring] = {
    "sum": Scoring(ask_words, sum_of_tokens),
    "mean": Scoring(ask_words, mean_of_tokens),
    "first_token": Scoring(ask_words, first_token),
    "constrained": Scoring(ask_words, constrained),
    "pmi": Scoring(ask_without_content, pointwise_mutual_information),
    "channel": Scoring(ask_channel, channel),
}


def scoring_hint(scoring: str, words: Words, read: Scored) -> str | None:
    """What is questionable about scoring these words so, in one line; ``None`` if nothing is.

    Args:
        scoring: a key of ``SCORINGS``.
        words: label -> its words.
        read: any prompt with all of them as continuations; only their tokens count.
    """
    owners = [(label, word) for label, own in words.items() for word in own]
    if scoring == "sum":
        lengths = [len(tokens) for tokens in read.tokens]
        short, long = min(lengths), max(lengths)
        if short < long:
            return (
                f"{owners[lengths.index(short)][1].strip()!r} is {short} and "
                f"{owners[lengths.index(long)][1].strip()!r} {long} tokens long, and the sum "
                "favours short words; compare with scoring mean, constrained or pmi"
            )
    if scoring == "first_token":
        first: dict[int, str] = {}
        for (label, _), tokens in zip(owners, read.tokens, strict=True):
            if (other := first.setdefault(tokens[0], label)) != label:
                return (
                    f"labels {other!r} and {label!r} begin with the same token, so their first "
                    "tokens cannot tell them apart; choose scoring sum or constrained"
                )
    return None


# --- scores -> probabilities --------------------------------------------------------------------


def log_softmax(scores: ArrayLike) -> np.ndarray:
    """Log-probabilities over the last axis, (..., C) -> (..., C) float64.

    What is not a number counts as impossible; if all are impossible, all are equally likely.
    """
    known = np.nan_to_num(
        np.asarray(scores, np.float64), nan=-np.inf, neginf=-np.inf, posinf=np.finfo(float).max
    )
    best = known.max(axis=-1, keepdims=True)
    known = np.where(np.isneginf(best), 0.0, known - np.where(np.isneginf(best), 0.0, best))
    return known - np.logaddexp.reduce(known, axis=-1, keepdims=True)


def softmax(scores: Mapping[str, float]) -> dict[str, float]:
    """Label probabilities from label scores (nats).

    Only the labels compete: what the language model would rather have said is left out.
    """
    probabilities = np.exp(log_softmax(list(scores.values())))
    return dict(zip(scores, probabilities.tolist(), strict=True))


def vote(
    labels: Sequence[str], neighbours: Sequence[str], similarities: Sequence[float]
) -> dict[str, float]:
    """Each neighbour votes for its label with its similarity (cosine; below zero counts as none).

    The tiny constant makes it a plain majority where no neighbour is similar at all.

    Args:
        labels: all labels, in the order of the result.
        neighbours: the label of each neighbour, at least one.
        similarities: as many.
    """
    weights = dict.fromkeys(labels, 0.0)
    for label, similarity in zip(neighbours, similarities, strict=True):
        weights[label] += max(similarity, 0.0) + 1e-6
    total = sum(weights.values())
    return {label: weight / total for label, weight in weights.items()}


# --- models that only answer in words -----------------------------------------------------------


def parse_label(text: str, words: Words) -> str | None:
    """The label that an answer in words gives.

    Only letters and digits are compared, whole words, whatever their case: ``**SPAM**.`` is spam,
    ``spammer`` is not. The first mention counts, and of the words that begin there the longest:
    "very positive" is not "positive". A single letter must have the right case if that finds
    any: in "a bird, so B", ``a`` is no answer.

    Args:
        text: the answer.
        words: label -> how it may be written.

    Returns:
        ``None`` if no label is mentioned, or the same word stands for two of them.
    """
    return _first_mention(text, words, _fold) or _first_mention(text, words, str.casefold)


def _first_mention(text: str, words: Words, fold: Callable[[str], str]) -> str | None:
    said = _spelled(text, fold)
    spelled = [(label, _spelled(word, fold)) for label, own in words.items() for word in own]
    for start in range(len(said)):
        found = [
            (len(word), label)
            for label, word in spelled
            if word and said[start : start + len(word)] == word
        ]
        if found:
            longest, _ = max(found)
            labels = {label for length, label in found if length == longest}
            return labels.pop() if len(labels) == 1 else None
    return None


def _spelled(text: str, fold: Callable[[str], str]) -> list[str]:
    return [fold(word) for word in re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text))]


def _fold(word: str) -> str:
    return word if len(word) == 1 else word.casefold()


def first_token_scores(first: Mapping[str, float], words: Words) -> dict[str, float] | None:
    """Label scores from an API's table of likely first tokens.

    A token counts for a label if one of the label's words begins with it, whatever its case and
    spaces. A label without a token in the table gets the score of the table's last: it cannot
    have more.

    Args:
        first: token -> log-probability in nats, e.g. ``Generation.first``.
        words: label -> how it may be written.

    Returns:
        Label -> nats; ``None`` where the table does not tell: no label begins in it, or the
        likelier beginnings are shared by several labels ("very" negative, "very" positive).
    """
    own: dict[str, list[float]] = {label: [] for label in words}
    shared: list[float] = []
    for token, log_p in first.items():
        begun = _fold(token.strip())
        labels = [
            label
            for label, spelled in words.items()
            if begun and any(_fold(word.strip()).startswith(begun) for word in spelled)
        ]
        if len(labels) == 1:
            own[labels[0]].append(log_p)
        elif labels:
            shared.append(log_p)
    known = {label: float(np.logaddexp.reduce(logs)) for label, logs in own.items() if logs}
    if not known or np.logaddexp.reduce(shared or [-np.inf]) > max(known.values()):
        return None
    return {label: known.get(label, min(first.values())) for label in words}
