"""How probable each label was in a reply of a language model that only answers in words.

A reply comes with the likeliest tokens at each of its places. The label that it names was written
with tokens of its own, all of which are known. Of a label that it does not name only the token with
which it would have begun is known; the note of an answer says so.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from icl.lm.base import ReplyToken
from icl.prompt.template import Verbalizer

# Where the probabilities of an answer in words come from.
OWN_TOKENS = "the probabilities are those of the labels' own tokens in the reply"
FIRST_TOKENS = (
    "the probabilities are those of the labels' own tokens in the reply; of a label that the model "
    "did not write, of the first token"
)
CERTAIN = "the model gives no probabilities; its answer counts as certain"
SOURCES = (OWN_TOKENS, FIRST_TOKENS, CERTAIN)

_AROUND = " \t\n\"'`*_:([{<>«„“‘#-"  # what may stand before a label


@dataclass(frozen=True, slots=True)
class ReplyScores:
    """Label scores of one reply.

    Attributes:
        scores: label -> log-probability, in nats, given what the reply says before the label.
        begun: labels of which only the first token is known, or a bound: a label that is not among
            the likeliest tokens cannot be likelier than the last of them.
    """

    scores: Mapping[str, float]
    begun: tuple[str, ...]


def reply_scores(
    tokens: Sequence[ReplyToken], reply: str, label: str, words: Verbalizer
) -> ReplyScores | None:
    """Label scores from the likeliest tokens at each place of a reply.

    Only a label's own tokens count: those that write it out, and of those that begin it the
    longest. Where the table has ``sp``, ``s`` is not the beginning of spam; where it has ``ham``,
    ``h`` is not that of ham; and one letter alone begins too many words to be anybody's.

    Args:
        tokens: of the reply, with what else could have stood in each place.
        reply: the words.
        label: the one that they name.
        words: label -> how it may be written.

    Returns:
        ``None`` where the tokens are not those of the reply.
    """
    start = _where_it_begins(tokens, reply, words[label])
    if start is None:
        return None
    written = _futures(tokens[start:], words)
    own: dict[str, list[float]] = {each: [] for each in words}
    whole = set()
    for text, log_p in written:
        owners = {each for each, ways in words.items() if any(_begins(text, w) for w in ways)}
        named = _named(text, words)
        longer = any(other != text and other.startswith(text) for other, _ in written)
        if named is not None:
            own[named].append(log_p)
            whole.add(named)
        elif len(owners) == 1 and not longer and not (len(text) == 1 and text.isascii()):
            own[owners.pop()].append(log_p)
    least = min(tokens[start].likeliest.values())
    scores = {
        each: float(np.logaddexp.reduce(logs)) if logs else least for each, logs in own.items()
    }
    return ReplyScores(scores, tuple(each for each in words if each not in whole))


def _where_it_begins(tokens: Sequence[ReplyToken], reply: str, ways: Sequence[str]) -> int | None:
    """The token with which the first of a label's words begins in the reply."""
    text = "".join(token.text for token in tokens)
    said = reply.strip()
    # A reply may have been thought about in words that are not part of it.
    before = text.rfind(said)
    if before < 0:
        if not text.strip() or not said.startswith(text.strip()):
            return None
        before = text.index(text.strip())
        said = text.strip()
    places = [place for way in ways if (place := _find(said, way.strip())) >= 0]
    at = before + min(places, default=0)
    ends = np.cumsum([len(token.text) for token in tokens])
    return int(np.searchsorted(ends, at, side="right"))


def _find(text: str, word: str) -> int:
    """Where ``word`` stands in ``text`` as a word of its own; -1: nowhere."""
    folded, wanted = (text, word) if len(word) == 1 else (text.casefold(), word.casefold())
    place = folded.find(wanted)
    while place >= 0 and (
        folded[place - 1 : place].isalnum() or folded[place + len(wanted) :][:1].isalnum()
    ):
        place = folded.find(wanted, place + 1)
    return place


def _futures(tokens: Sequence[ReplyToken], words: Verbalizer) -> list[tuple[str, float]]:
    """What might have been written, as far as it is known, and its log-probability.

    They exclude each other: the reply's own tokens up to a place, and then another one; and the
    reply itself, up to where it has written a label that no other one continues.
    """
    written, total = "", 0.0
    futures: list[tuple[str, float]] = []
    for token in tokens:
        futures += [
            ((written + other).lstrip(_AROUND), total + log_p)
            for other, log_p in token.likeliest.items()
            if other != token.text
        ]
        written, total = written + token.text, total + token.likeliest[token.text]
        text = written.lstrip(_AROUND)
        ways = [way for own in words.values() for way in own]
        if _named(text, words) is not None and not any(_begins(text, way) for way in ways):
            break
    return [*((text, p) for text, p in futures if text and math.isfinite(p)), (text, total)]


def _named(text: str, words: Verbalizer) -> str | None:
    """The label that ``text`` begins with, all of it; of several, the longest."""
    found = [
        (len(way.strip()), label)
        for label, ways in words.items()
        for way in ways
        if _find(text, way.strip()) == 0
    ]
    return max(found)[1] if found else None


def _begins(text: str, way: str) -> bool:
    """Whether a label's word goes on where ``text`` ends."""
    word = way.strip()
    folded = (text, word) if len(word) == 1 else (text.casefold(), word.casefold())
    return bool(text) and folded[1].startswith(folded[0]) and len(folded[1]) > len(folded[0])
