"""The format of a prompt: read from a plain file, filled by concatenation.

A file has the parts ``[instruction]`` (may be missing), ``[example]``, ``[query]`` and
``[labels]``; ``templates/sms_spam.txt`` is the shortest. It is taken apart once, when it is read.
From then on pieces are only put one after the other, so nothing in a message is ever interpreted:
OpenICL replaces its placeholders in the assembled prompt, and an example that contains one gets
the query pasted into it.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from clfcore.data.forms.text import read_text
from clfcore.errors import TuneshotError
from clfcore.json_text import to_json
from icl.lm.base import ChatMessage

Verbalizer = Mapping[str, tuple[str, ...]]  # label -> the words it may be written as

PARAGRAPH_BREAK = "\n\n"  # instruction, examples and query


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One labelled message shown in the prompt.

    Attributes:
        text, label: as in the pool.
        similarity: cosine to the query; ``None`` where the selector did not look at it.
        row: its row in the pool.
        score: what the selector ranked it by, where that is not the similarity.
    """

    text: str
    label: str
    similarity: float | None
    row: int
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """How a prompt reads.

    Attributes:
        instruction: the first paragraph; may be empty.
        before_text, before_label: what introduces a message and its label. The prompt ends with
            ``before_label``, without a space: the space belongs to the label's first token.
        words: label -> how it may be written, the space before it included; examples show the
            first one.
        after_label: what ends an example.
        choices: whether each message lists its own words: ``question (A) bank (B) library``. The
            list is then not shown; a small language model would only repeat one of its letters.
    """

    instruction: str
    before_text: str
    before_label: str
    words: Verbalizer
    after_label: str = ""
    choices: bool = False

    @property
    def digest(self) -> str:
        """The same for equal formats only, 16 hex digits; for records."""
        return hashlib.sha256(to_json(asdict(self)).encode()).hexdigest()[:16]

    def render(self, demonstrations: Sequence[Demonstration], query: str) -> str:
        """The whole prompt, up to and including the empty label slot."""
        parts = [self.instruction] if self.instruction else []
        parts += [
            self.slot(shown.text) + self._word(shown) + self.after_label for shown in demonstrations
        ]
        return PARAGRAPH_BREAK.join([*parts, self.slot(query)])

    def render_chat(
        self, demonstrations: Sequence[Demonstration], query: str
    ) -> tuple[ChatMessage, ...]:
        """The same as a chat: each message is the user's, each label the assistant's answer."""
        chat = [ChatMessage("system", self.instruction)] if self.instruction else []
        for shown in demonstrations:
            chat.append(ChatMessage("user", self.slot(shown.text)))
            chat.append(ChatMessage("assistant", self._word(shown).strip() + self.after_label))
        return (*chat, ChatMessage("user", self.slot(query)))

    def words_for(self, text: str) -> Verbalizer:
        """How each label may be written as the answer to ``text``.

        Raises:
            TuneshotError: the template wants choices, and ``text`` does not list them.
        """
        if not self.choices:
            return self.words
        _, words = self._split_choices(text)
        if not words:
            raise TuneshotError(
                "the message lists no choices; write the question, then "
                + " ".join(f"({label}) …" for label in self.words)
            )
        return words

    def _split_choices(self, text: str) -> tuple[str, Verbalizer]:
        """The question and its choices; all of ``text`` and none if one of them is missing."""
        words: dict[str, tuple[str, ...]] = {}
        rest = one_line(text)
        for label in reversed(list(self.words)):
            rest, mark, choice = rest.rpartition(f"({label}) ")
            if not (mark and choice.strip()):
                return one_line(text), {}
            words[label] = (" " + choice.strip(),)
        return rest.rstrip(), {label: words[label] for label in self.words}

    def slot(self, text: str) -> str:
        """A message and what introduces its label."""
        shown = self._split_choices(text)[0] if self.choices else one_line(text)
        return self.before_text + shown + self.before_label

    def _word(self, shown: Demonstration) -> str:
        return self.words_for(shown.text)[shown.label][0]


def all_words(words: Verbalizer) -> tuple[str, ...]:
    """Every word of every label, label by label: (W,)."""
    return tuple(word for own in words.values() for word in own)


def one_line(text: str) -> str:
    """The message with each line break as one space.

    The one change we make to a message: otherwise it could end with a line ``Type: ham`` and
    the language model would read its author's answer as ours.
    """
    return " ".join(text.splitlines())


# --- reading a file -----------------------------------------------------------------------------

_PARTS = ("instruction", "example", "query", "labels")
_HEADER = re.compile(r"^\[(\w+)\][ \t]*$", re.MULTILINE)
_SLOT = re.compile(r"\{(\w+)\}")
_CHOICE = "{choice}"


def read_template(path: Path, labels: Sequence[str] = ()) -> Template:
    """A template out of a file.

    Args:
        path: the file.
        labels: used where the file has no ``[labels]``: each is its own word, underscores as
            spaces.

    Raises:
        TuneshotError: unreadable, or not a template.
    """
    try:
        parts = _split(read_text(path))
        before_text, before_label, after_label = _example(parts)
        written = (
            _labels(parts["labels"])
            if "labels" in parts
            else {label: (label.replace("_", " "),) for label in labels}
        )
        _check_words(written)
    except _TemplateError as error:
        raise TuneshotError(f"template {path}: {error}") from error
    choices = {_CHOICE} == set(all_words(written))
    return Template(
        instruction=parts.get("instruction", ""),
        before_text=before_text,
        before_label=before_label,
        words={
            label: (f" {label}",) if choices else tuple(f" {word}" for word in words)
            for label, words in written.items()
        },
        after_label=after_label,
        choices=choices,
    )


class _TemplateError(ValueError):
    """What is wrong with a template file; its name is added by ``read_template``."""


def _split(text: str) -> dict[str, str]:
    """Part -> its lines; what stands before the first part is a note."""
    _, *pieces = _HEADER.split(text)
    parts: dict[str, str] = {}
    for name, body in zip(pieces[::2], pieces[1::2], strict=True):
        if name not in _PARTS:
            raise _TemplateError(f"unknown part [{name}]; a template has [{'], ['.join(_PARTS)}]")
        if name in parts:
            raise _TemplateError(f"it has two [{name}] parts; keep one")
        parts[name] = body.strip("\n").rstrip()
    for name, allowed in (("example", ["text", "label"]), ("query", ["text"])):
        if name not in parts:
            raise _TemplateError(f"it has no [{name}] part")
        slots = _SLOT.findall(parts[name])
        if unknown := [slot for slot in slots if slot not in allowed]:
            raise _TemplateError(
                f"[{name}] may not have the slot {{{unknown[0]}}}; it has {_all(allowed)}"
            )
        if slots != allowed:
            raise _TemplateError(f"[{name}] must have {_all(allowed)}, each once and in this order")
    if slots := _SLOT.findall(parts.get("instruction", "")):
        raise _TemplateError(f"[instruction] has no slots, so {{{slots[0]}}} cannot stand there")
    return parts


def _all(slots: Sequence[str]) -> str:
    return " and ".join(f"{{{slot}}}" for slot in slots)


def _example(parts: Mapping[str, str]) -> tuple[str, str, str]:
    """What stands before the text, between text and label, and after the label."""
    before_text, _, rest = parts["example"].partition("{text}")
    before_label, _, after_label = rest.partition("{label}")
    if not before_label.endswith(" "):
        raise _TemplateError(
            "[example] needs a space before {label}: it belongs to the label's word"
        )
    if not (before_label := before_label.rstrip(" ")):
        raise _TemplateError(
            "[example] needs something between {text} and {label} that tells them apart"
        )
    expected = f"{before_text}{{text}}{before_label}"
    if parts["query"] != expected:
        raise _TemplateError(f"[query] must be the [example] up to its label: {expected!r}")
    return before_text, before_label, after_label


def _labels(part: str) -> dict[str, tuple[str, ...]]:
    """Label -> its words, from lines such as ``Sci/Tech = Technology | Science``."""
    words_of: dict[str, tuple[str, ...]] = {}
    for line in filter(None, map(str.strip, part.splitlines())):
        label, equals, words = (piece.strip() for piece in line.partition("="))
        if not (label and equals):
            raise _TemplateError(f"[labels] has the line {line!r}; write label = word")
        if label in words_of:
            raise _TemplateError(f"[labels] has {label!r} twice; separate its words by |")
        words_of[label] = tuple(word.strip() for word in words.split("|"))
    return words_of


def _check_words(written: Verbalizer) -> None:
    if len(written) < 2:
        raise _TemplateError("[labels] needs two labels or more, one a line: label = word")
    owners: dict[str, str] = {}
    for label, words in written.items():
        for word in words:
            if not word:
                raise _TemplateError(f"label {label!r} is without a word; write {label} = word")
            if word != _CHOICE and owners.setdefault(word, label) != label:
                raise _TemplateError(
                    f"labels {owners[word]!r} and {label!r} share the word {word!r}"
                )
    if owners and any(_CHOICE in words for words in written.values()):
        raise _TemplateError(f"either every label is written {_CHOICE}, or none")
