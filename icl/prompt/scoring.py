"""From what a language model read to a score for each label, and on to probabilities.

A score is in nats, larger is likelier. A scoring says what the language model must read
(``requests``) and how that becomes a score of each label (``combine``); the caller reads:

    results = [lm.read(*each) for each in scoring.requests(template, prompt, words)]
    scores = scoring.combine(results, words)

Models that only answer in words: see ``icl/prompt/replies.py``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from icl.lm.base import PromptText, Scored
from icl.prompt.prompt import Prompt
from icl.prompt.template import (
    PARAGRAPH_BREAK,
    Demonstration,
    Template,
    Verbalizer,
    all_words,
    one_line,
)

# --- what is read -------------------------------------------------------------------------------


class ScoringRequest(NamedTuple):
    """The arguments of one call of ``LM.read``.

    Attributes:
        prompt: plain text or a chat.
        continuations: what might come next.
    """

    prompt: PromptText
    continuations: tuple[str, ...]


def continuations(prompt: PromptText, words: Verbalizer) -> tuple[str, ...]:
    """Every word as it follows the prompt: an answer in a chat begins without a space."""
    following = all_words(words)
    return following if isinstance(prompt, str) else tuple(word.strip() for word in following)


def direct_requests(template: Template, prompt: Prompt, words: Verbalizer) -> list[ScoringRequest]:
    """The prompt as it is, followed by each word."""
    return [ScoringRequest(prompt.text, continuations(prompt.text, words))]


def pmi_requests(template: Template, prompt: Prompt, words: Verbalizer) -> list[ScoringRequest]:
    """The prompt, and then the label slot alone, which is the same for all messages.

    There are no examples before that slot. With them, this would be contextual calibration.
    """
    is_chat = not isinstance(prompt.text, str)
    bare = template.render_chat([], "") if is_chat else template.render([], "")
    following = continuations(prompt.text, words)
    return [ScoringRequest(prompt.text, following), ScoringRequest(bare, following)]


def channel_requests(template: Template, prompt: Prompt, words: Verbalizer) -> list[ScoringRequest]:
    """For each word a prompt with labels before messages, followed by the message.

    Always plain text: in a chat, the message is the user's, so the model gives it no probability.
    """
    beginning, end = _labels_first(template, prompt.demonstrations)
    message = _after_slot(template, prompt.query)
    return [ScoringRequest(beginning + word + end, (message,)) for word in all_words(words)]


def channel_text(template: Template, shown: Sequence[Demonstration], query: str) -> str:
    """All that is read, but for the label's word."""
    return "".join([*_labels_first(template, shown), _after_slot(template, query)])


def _labels_first(template: Template, shown: Sequence[Demonstration]) -> tuple[str, str]:
    """A prompt that begins with the examples, labels first: before the query's word and after."""
    label_slot = template.before_label.lstrip()
    text_slot = "\n" + template.before_text.rstrip()
    parts = [template.instruction] if template.instruction else []
    for each in shown:
        word = template.words_for(each.text)[each.label][0]
        parts.append(label_slot + word + text_slot + _after_slot(template, each.text))
    return PARAGRAPH_BREAK.join([*parts, label_slot]), text_slot


def _after_slot(template: Template, text: str) -> str:
    """A message as it follows the slot's last mark: the space belongs to its first token."""
    return template.before_text[len(template.before_text.rstrip()) :] + one_line(text)


# --- what was read -> a score for each label ----------------------------------------------------


END = -1  # as a token


def with_ends(read: Scored) -> Scored:
    """What was read, with an end after each word that another word continues.

    Otherwise ``sport shop`` could never be likelier than ``sport``, which it begins with. The end
    has the probability that is left by the tokens that continue the word, and is a token like
    any other. Where no word continues another, nothing changes.
    """
    goes_on: dict[tuple[int, ...], dict[int, float]] = {}  # tokens so far -> next one -> log P
    for tokens, logs in zip(read.tokens, read.log_probabilities, strict=True):
        for i, (token, log_p) in enumerate(zip(tokens, logs, strict=True)):
            goes_on.setdefault(tokens[:i], {})[token] = log_p
    ends = {
        tokens: float(np.log(max(1 - np.exp(list(following.values())).sum(), _TINY)))
        for tokens, following in goes_on.items()
        if tokens in read.tokens
    }
    return replace(
        read,
        tokens=tuple((*t, END) if t in ends else t for t in read.tokens),
        log_probabilities=tuple(
            (*logs, ends[tokens]) if tokens in ends else logs
            for tokens, logs in zip(read.tokens, read.log_probabilities, strict=True)
        ),
    )


_TINY = np.finfo(float).tiny


def sum_of_tokens(results: Sequence[Scored], words: Verbalizer) -> np.ndarray:
    """The log-probability of the label: all tokens of a word, any of a label's words."""
    return _any_word(with_ends(results[0]).totals, words)


def mean_of_tokens(results: Sequence[Scored], words: Verbalizer) -> np.ndarray:
    """As the sum, but a word's tokens are averaged, so that long words are not punished."""
    logs_of_words = with_ends(results[0]).log_probabilities
    means = [sum(tokens) / len(tokens) for tokens in logs_of_words]
    return _any_word(means, words)


def first_token(results: Sequence[Scored], words: Verbalizer) -> np.ndarray:
    """Only how a word begins; a beginning that two words of one label share counts once."""
    (result,) = results
    labels = [label for label, own in words.items() for _ in own]
    starts = [(label, tokens[0]) for label, tokens in zip(labels, result.tokens, strict=True)]
    scores = [
        -np.inf if start in starts[:word] else result.log_probabilities[word][0]
        for word, start in enumerate(starts)
    ]
    return _any_word(scores, words)


def constrained(results: Sequence[Scored], words: Verbalizer) -> np.ndarray:
    """How probable each label is if the model can write nothing but labels.

    The words' tokens form a trie. Generation constrained to it chooses, at every node, among the
    children only; so each step counts with its share among its siblings, and what must follow
    (``am`` after `` sp``) costs nothing. A word's score is the log-probability of its path. These
    are probabilities: they add up to 1 over all words.

    Where no two labels begin alike, the likeliest path is the one that greedy generation takes.
    Where some do, greedy generation may be led astray by a beginning that many labels share; all
    paths are known here, so the likeliest one wins.
    """
    result = with_ends(results[0])
    trie: dict[tuple[int, ...], dict[int, float]] = {}  # tokens so far -> next one -> log P
    for tokens, logs in zip(result.tokens, result.log_probabilities, strict=True):
        for i, (token, log_p) in enumerate(zip(tokens, logs, strict=True)):
            trie.setdefault(tokens[:i], {})[token] = log_p
    shares = {
        node: dict(zip(children, log_softmax(list(children.values())).tolist(), strict=True))
        for node, children in trie.items()
    }
    paths = [
        sum(shares[tokens[:i]][token] for i, token in enumerate(tokens)) for tokens in result.tokens
    ]
    return _any_word(paths, words)


def pointwise_mutual_information(results: Sequence[Scored], words: Verbalizer) -> np.ndarray:
    """How much likelier the prompt makes a label than the bare label slot does."""
    prompt, bare = map(with_ends, results)
    return _any_word(prompt.totals, words) - _any_word(bare.totals, words)


def channel(results: Sequence[Scored], words: Verbalizer) -> np.ndarray:
    """The log-probability of the message given the label, whose words are equally likely."""
    totals = [result.totals[0] for result in results]
    return _any_word(totals, words) - np.log([len(own) for own in words.values()])


def _any_word(scores: Sequence[float], words: Verbalizer) -> np.ndarray:
    """Log-sum-exp over each label's words: (W,) -> (C,)."""
    return np.logaddexp.reduceat(np.asarray(scores, np.float64), first_words(words))


def first_words(words: Verbalizer) -> np.ndarray:
    """Where each label's first word stands among all words, (C,)."""
    return np.cumsum([0, *map(len, words.values())])[:-1]


@dataclass(frozen=True, slots=True)
class Scoring:
    """How label scores come about.

    Attributes:
        requests: template, finished prompt and the label's words -> what to read.
        combine: what was read, in that order, and label -> words -> (C,) float64 scores in nats.
        as_read: template, demonstrations and message -> what is read but for the label's word,
            where that is another text than the prompt.
    """

    requests: Callable[[Template, Prompt, Verbalizer], list[ScoringRequest]]
    combine: Callable[[Sequence[Scored], Verbalizer], np.ndarray]
    as_read: Callable[[Template, Sequence[Demonstration], str], str] | None = None


# MetaICL (Min et al. 2022) scores like "sum" and "mean"; "pmi" is Holtzman et al. 2021, "channel"
# is Min et al. 2022 (Noisy Channel Language Model Prompting).
SCORINGS: dict[str, Scoring] = {
    "sum": Scoring(direct_requests, sum_of_tokens),
    "mean": Scoring(direct_requests, mean_of_tokens),
    "first_token": Scoring(direct_requests, first_token),
    "constrained": Scoring(direct_requests, constrained),
    "pmi": Scoring(pmi_requests, pointwise_mutual_information),
    "channel": Scoring(channel_requests, channel, channel_text),
}


def scoring_hint(scoring: str, words: Verbalizer, read: Scored) -> str | None:
    """A doubt about scoring these words in this way, in one line; ``None`` without one.

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
    logs = np.nan_to_num(
        np.asarray(scores, np.float64), nan=-np.inf, neginf=-np.inf, posinf=np.finfo(float).max
    )
    best = logs.max(axis=-1, keepdims=True)
    logs = np.where(np.isneginf(best), 0.0, logs - np.where(np.isneginf(best), 0.0, best))
    return logs - np.logaddexp.reduce(logs, axis=-1, keepdims=True)


def softmax(scores: Mapping[str, float]) -> dict[str, float]:
    """Label probabilities from label scores (nats).

    Only the labels compete: the probability of any other continuation is left out.
    """
    probabilities = np.exp(log_softmax(list(scores.values())))
    return dict(zip(scores, probabilities.tolist(), strict=True))


def neighbour_vote(
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
