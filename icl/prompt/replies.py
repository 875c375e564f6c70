"""What a reply in words says: which label it names, if it names one.

For language models behind an API, which answer and do not score. What is not an answer is no
answer: of a reply that names no label, or two, or says what it is *not*, no label is guessed.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import NamedTuple

from icl.prompt.template import PARAGRAPH_BREAK, Verbalizer

_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"  # written without spaces: a word each
_LETTERS = rf"[^\W_{_IDEOGRAPHS}]"
# A number keeps its sign and its decimals, a word its apostrophe: "-1", "0.5", "isn't".
_WORD = re.compile(
    rf"[{_IDEOGRAPHS}]"
    rf"|(?:(?<![\w.])[-+](?=\d))?(?:\d+(?:[.,]\d+)+(?!{_LETTERS})|{_LETTERS}+(?:'{_LETTERS}+)*)"
)
_AROUND = " \t\n\"'`*_.,:;!()[]{}<>«»„“”‚‘"  # of a label, what says nothing
_NEGATIONS = {
    "no", "not", "non", "never", "neither", "nor", "without", "cannot", "cant", "isnt", "arent",
    "wasnt", "doesnt", "dont", "unlikely", "hardly", "nicht", "kein", "keine", "keinen", "keinem",
    "keiner", "keines", "nie", "niemals", "weder", "ohne", "kaum", "pas", "não", "niet", "geen",
    "не", "不", "非", "没",
}  # fmt: skip
_DENIALS = _NEGATIONS | {"false", "nein", "falsch"}  # as all that follows: "spam: false"
_CLAUSE_END = re.compile(r"[.,:;!?\n()–—。，、：；！？]|\s-\s")
_THOUGHT = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)  # of a reasoning model, aloud
# After these, a negation is about something else: "spam because it is not from a friend".
_CONNECTIVES = {
    "and", "as", "because", "but", "for", "from", "since", "so", "that", "which", "who", "with",
    "aber", "da", "denn", "für", "mit", "und", "von", "weil", "wegen",
}  # fmt: skip
_TAIL = 3  # words after a label among which a negation is about it: "spam it is not"


def parse_label(reply: str, words: Verbalizer) -> str | None:
    """The label that a reply names.

    Only words are compared, whole ones, whatever their case and what stands around them:
    ``**SPAM**.`` is spam, ``spammer`` and ``spam-free`` are not. Of the labels that begin at a
    word the longest counts: "very positive" is not "positive". Labels that differ in case alone
    are told apart by it, and so is a single letter, if that finds any: in "a bird, so B", ``a``
    is no answer. What follows a paragraph that names a label is not read.

    Args:
        reply: the model's words.
        words: label -> how it may be written.

    Returns:
        ``None`` if the reply is no answer: it names no label, or several ("ham or spam"); it says
        what it is not ("not spam", "isn't spam", "no spam", "kein Spam"); or it asks ("spam?").
    """
    reply = _THOUGHT.sub("", _normal(reply)).strip()
    if (exact := _exact(reply, words)) is not None:
        return exact
    for paragraph in reply.split(PARAGRAPH_BREAK):
        named = set(_named(paragraph, words, _fold)) or set(_named(paragraph, words, str.casefold))
        if named:
            return named.pop() if len(named) == 1 else None
    return None


def _exact(reply: str, words: Verbalizer) -> str | None:
    """The label that is all of the reply, with its signs: ``C++``, ``:)``, ``May``, not ``may``."""
    for fold in (str, str.casefold):
        for text in (reply, reply.strip(_AROUND)):
            labels = [
                label
                for label, own in words.items()
                if any(fold(_normal(word).strip()) == fold(text) for word in own)
            ]
            if len(labels) == 1:
                return labels[0]
    return None


class _Word(NamedTuple):
    text: str
    start: int
    end: int


def _named(text: str, words: Verbalizer, fold: Callable[[str], str]) -> Iterator[str | None]:
    """The label of each mention, in order; ``None`` for one that is no answer."""
    spelled = [
        (label, [fold(part.text) for part in _split(_normal(word))])
        for label, own in words.items()
        for word in own
    ]
    parts = _split(text)
    folded = [fold(part.text) for part in parts]
    place = 0
    while place < len(parts):
        found = [
            (len(word), label)
            for label, word in spelled
            if word and folded[place : place + len(word)] == word
        ]
        length = max((length for length, _ in found), default=0)
        labels = {label for each, label in found if each == length}
        mention = parts[place : place + length]
        if mention and not _in_compound(text, mention):
            doubtful = len(labels) > 1 or _is_denied(text, parts, place, length)
            yield None if doubtful else labels.pop()
        place += length or 1


def _in_compound(text: str, mention: list[_Word]) -> bool:
    """Whether a hyphen makes it part of another word: ``spam-free``, ``non-spam``."""
    before, after = text[: mention[0].start], text[mention[-1].end :]
    return bool(re.search(r"\w-$", before) or re.match(r"-\w", after))


def _is_denied(text: str, parts: list[_Word], place: int, length: int) -> bool:
    """Whether a mention is negated, or part of a question."""
    start, end = parts[place].start, parts[place + length - 1].end
    if any(_negates(part) for part in parts[place : place + length]):
        return False  # "no" and "not offensive" are labels
    if re.match(r"[^.!\n。！]*[?？]", text[end:]):
        return True
    clause = max((m.end() for m in _CLAUSE_END.finditer(text, 0, start)), default=0)
    if any(_negates(part) for part in parts[:place] if part.start >= clause):
        return True
    rest = parts[place + length :]
    if len(rest) == 1 and rest[0].text.casefold() in _DENIALS:
        return True
    ending = _CLAUSE_END.search(text, end)
    tail = [part for part in rest if ending is None or part.start < ending.start()]
    for part in tail[:_TAIL]:
        if part.text.casefold() in _CONNECTIVES:
            return False
        if _negates(part):
            return True
    return False


def _negates(word: _Word) -> bool:
    return word.text.casefold() in _NEGATIONS or word.text.casefold().endswith("n't")


def _split(text: str) -> list[_Word]:
    return [_Word(m.group(), m.start(), m.end()) for m in _WORD.finditer(text)]


def _normal(text: str) -> str:
    """One form of each character, and one kind of apostrophe, minus and line end."""
    text = unicodedata.normalize("NFKC", text).replace("\r\n", "\n")
    return text.replace("’", "'").replace("−", "-")


def _fold(word: str) -> str:
    return word if len(word) == 1 else word.casefold()
