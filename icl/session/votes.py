"""Which answer was right? Votes and thumbs, kept one a line, and turned into labelled messages.

What a vote is about is looked up here by the turn's id: a browser sends an id and a choice, and
nothing else it says is believed.
"""

import hashlib
import hmac
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from clfcore.data.split import normal_form
from clfcore.errors import TuneshotError, unknown_choice
from clfcore.evaluation.records import append_lines, not_a_record, open_lines, read_lines
from clfcore.paths import atomic_write
from clfcore.types import Example
from icl.session.data_folder import data_dir, secret

if TYPE_CHECKING:  # exporting votes needs no model
    from icl.session.session import Reply
    from icl.session.settings import Settings


MAX_COMMENT = 2_000  # characters


@dataclass(frozen=True, slots=True)
class Answer:
    """What one method said.

    Attributes:
        method: ``fine_tuned`` or ``few_shot``.
        model: its name.
        label: the label it chose.
        p: the probability it gave that label.
    """

    method: str
    model: str
    label: str
    p: float


@dataclass(frozen=True, slots=True)
class Vote:
    """One line of the file.

    Attributes:
        time: in UTC, ISO 8601.
        who: see ``anonymous``; empty for a visitor without a name.
        turn: id of the turn.
        text: the message that was classified.
        settings: how it was answered: the choices, and how many messages were taught.
        answers: of the methods that had one.
        right: the label this person holds to be right; empty for a thumb.
        thumb: 1 for up, 0 for down, ``None`` for a vote.
        comment: what was written beside a thumb.
    """

    time: str
    who: str
    turn: str
    text: str
    settings: Mapping[str, str | int]
    answers: tuple[Answer, ...]
    right: str = ""
    thumb: int | None = None
    comment: str = ""


# --- turns --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Turn:
    """A message and its answers, as the server saw them.

    Attributes:
        labels: what may be voted for.
    """

    id: str
    text: str
    settings: Mapping[str, str | int]
    answers: tuple[Answer, ...]
    labels: tuple[str, ...]

    @classmethod
    def of(cls, id: str, text: str, settings: "Settings", reply: "Reply") -> "Turn":
        """The turn in which ``text`` got ``reply``."""
        given = [(s.method, s.model, s.prediction) for s in reply.sides if s.prediction]
        answers = tuple(Answer(m, name, p.label, p.probabilities[p.label]) for m, name, p in given)
        labels = dict.fromkeys(label for _, _, p in given for label in p.probabilities)
        chosen = {k: v for k, v in asdict(settings).items() if isinstance(v, str | int)}
        chosen["taught"] = len(settings.taught)  # not what: it is not this visitor's to give away
        return cls(id, text, chosen, answers, tuple(labels))

    def vote(self, right: str, who: str = "") -> Vote:
        """A vote for the label ``right``.

        Raises:
            TuneshotError: it is none of the labels.
        """
        if right not in self.labels:
            raise unknown_choice("label", right, self.labels)
        return Vote(_now(), who, self.id, self.text, self.settings, self.answers, right)

    def thumb(self, up: bool, comment: str = "", who: str = "") -> Vote:
        """A thumb, up or down."""
        about = (_now(), who, self.id, self.text, self.settings, self.answers)
        return Vote(*about, thumb=int(up), comment=comment[:MAX_COMMENT])


class Turns:
    """The turns of late, by id. Older ones are forgotten, and so are all at a restart.

    Args:
        limit: how many are remembered.
    """

    def __init__(self, limit: int = 2_000) -> None:
        self.limit = limit
        self._turns: OrderedDict[str, Turn] = OrderedDict()

    def remember(self, turn: Turn) -> None:
        """Makes ``turn`` one that can be voted on."""
        self._turns[turn.id] = turn
        while len(self._turns) > self.limit:
            self._turns.popitem(last=False)

    def find(self, id: object) -> Turn:
        """The turn of this id.

        Raises:
            TuneshotError: it is not remembered.
        """
        if not isinstance(id, str) or id not in self._turns:
            raise TuneshotError("this answer is too old to vote on; ask again, then vote")
        return self._turns[id]


def anonymous(name: str | None) -> str:
    """A person as the file knows them: always the same 16 digits, and no way back to the name."""
    if not name:
        return ""
    return hmac.new(secret("votes").encode(), name.encode(), hashlib.sha256).hexdigest()[:16]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


# --- the file -----------------------------------------------------------------------------------


def votes_file() -> Path:
    """Where votes are kept."""
    return data_dir() / "votes.jsonl"


def record(vote: Vote, path: Path | None = None) -> None:
    """Adds ``vote``; it is on the disk when this returns.

    Raises:
        TuneshotError: the file cannot be written.
    """
    path = path or votes_file()
    _open(path)
    append_lines(path, [asdict(vote)])


@cache
def _open(path: Path) -> None:
    """Once for each process: mends a line that a crash has cut, which the next would run into."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    open_lines(path)


def read(path: Path | None = None) -> list[Vote]:
    """All votes and thumbs, oldest first.

    Raises:
        TuneshotError: there is no such file, or a line of it is not a vote.
    """
    path = path or votes_file()
    if not path.exists():
        raise TuneshotError(f"there are no votes at {path}; vote in the chat first, with a login")
    votes = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            answers = tuple(Answer(**answer) for answer in line["answers"])
            votes.append(Vote(**(line | {"answers": answers})))
        except (TypeError, KeyError) as error:
            raise not_a_record(path, number) from error
    return votes


# --- labelled messages --------------------------------------------------------------------------


class Tally(NamedTuple):
    """What people agree on, and how many messages they do not agree on."""

    examples: list[Example]
    ties: int


def tally(votes: Iterable[Vote]) -> Tally:
    """One labelled message for each text that has a majority; equal numbers are a tie.

    All votes are of one task. Texts that differ in case and spacing only are one. A person has
    one voice a text, the last; without a name, one a turn. Thumbs do not count: they do not say
    what is right.
    """
    texts: dict[str, str] = {}
    voices: dict[str, dict[str, str]] = {}
    for vote in votes:
        if vote.right:
            text = normal_form(vote.text)
            texts.setdefault(text, vote.text)
            voices.setdefault(text, {})[vote.who or f"turn {vote.turn}"] = vote.right
    examples, ties = [], 0
    for text, said in voices.items():
        (label, most), *others = Counter(said.values()).most_common(2)
        if others and others[0][1] == most:
            ties += 1
        else:
            examples.append(Example(texts[text], label))
    return Tally(examples, ties)


def as_examples(votes: Iterable[Vote]) -> list[Example]:
    """The labelled messages of ``tally``."""
    return tally(votes).examples


def export(path: Path | None, out: Path, task: str = "sms_spam") -> Tally:
    """Writes what ``clf train --data`` and ``icl --pool`` read: a header, label, tab, text.

    A line end inside a message becomes a blank, for a line is one message; tabs stay.

    Args:
        path: the votes; default: ``votes_file()``.
        out: the new file, ``.tsv``.
        task: whose votes; labels of two tasks make no sense in one file.

    Raises:
        TuneshotError: no votes, or none that decide; ``out`` has another ending or cannot be
            written.
    """
    if out.suffix.lower() != ".tsv":
        raise TuneshotError(f"{out.name} is not a name for tab-separated text; end it in .tsv")
    result = tally(vote for vote in read(path) if vote.settings.get("task") == task)
    if not result.examples:
        raise TuneshotError(
            f"the votes decide on no message of the task {task} ({result.ties} tied); "
            "vote on more answers first, or choose another task"
        )
    lines = ["label\ttext", *(f"{e.label}\t{_one_line(e.text)}" for e in result.examples)]
    with atomic_write(out) as new:
        new.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
    return result


def _one_line(text: str) -> str:
    return text.replace("\r\n", " ").replace("\n", " ").replace("\r", " ")
