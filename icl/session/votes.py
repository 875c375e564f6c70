"""Which answer was right? Votes and thumbs, kept one a line, and turned into labelled messages.

A vote is about a turn that the server remembers: a browser sends an id and a choice, and nothing
else that it sends is believed.
"""

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clfcore.data.split import normal_form
from clfcore.errors import TuneshotError, unknown_choice
from clfcore.evaluation.records import append_lines, not_a_record, open_lines, read_lines
from clfcore.paths import atomic_write
from clfcore.types import Example, without_lone_surrogates
from icl.session.data_folder import data_dir, secret

if TYPE_CHECKING:  # exporting votes needs no model
    from icl.session.session import Turn

MAX_COMMENT_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """What one method answered.

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
        settings: how it was answered: the choices, and under ``taught`` how many messages were
            added in the chat.
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
    answers: tuple[RecordedAnswer, ...]
    right: str = ""
    thumb: int | None = None
    comment: str = ""


# --- voting -------------------------------------------------------------------------------------


def vote(turn: "Turn", right: str, who: str = "") -> Vote:
    """A vote for the label ``right``.

    Raises:
        TuneshotError: it is none of the labels.
    """
    if right not in turn.labels:
        raise unknown_choice("label", right, turn.labels)
    return _vote(turn, who, right=right)


def thumb(turn: "Turn", up: bool, comment: str = "", who: str = "") -> Vote:
    """A thumb, up or down."""
    return _vote(turn, who, thumb=int(up), comment=comment[:MAX_COMMENT_CHARACTERS])


def _vote(turn: "Turn", who: str, **choice: Any) -> Vote:  # noqa: ANN401
    answers = tuple(
        RecordedAnswer(r.method, r.model, r.label, r.prediction.probabilities[r.label])
        for r in turn.reply.results
        if r.prediction and r.label is not None
    )
    # How many were added, not what: the texts are not this visitor's to give away.
    settings = turn.settings.choices() | {"taught": len(turn.settings.added)}
    time = datetime.now(UTC).isoformat(timespec="seconds")
    return Vote(time, who, turn.id, turn.text, settings, answers, **choice)


def anonymous(name: str | None) -> str:
    """A person as the file knows them: always the same 16 digits, and no way back to the name."""
    if not name:
        return ""
    return hmac.new(secret("votes").encode(), name.encode(), hashlib.sha256).hexdigest()[:16]


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
            answers = tuple(RecordedAnswer(**answer) for answer in line["answers"])
            votes.append(Vote(**(line | {"answers": answers})))
        except (TypeError, KeyError) as error:
            raise not_a_record(path, number) from error
    return votes


# --- labelled messages --------------------------------------------------------------------------


class MajorityLabels(NamedTuple):
    """What people agree on, and how many messages they do not agree on."""

    examples: list[Example]
    ties: int


def majority_labels(votes: Iterable[Vote]) -> MajorityLabels:
    """One labelled message for each text that has a majority; equal numbers are a tie.

    All votes are of one task. Texts that differ in case and spacing only are one. A person has
    one vote a text, the last; without a name, one a turn. Thumbs do not count: they do not say
    what is right.
    """
    texts: dict[str, str] = {}
    ballots: dict[str, dict[str, str]] = {}  # text -> person -> label
    for each in votes:
        if each.right:
            key = normal_form(each.text)
            texts.setdefault(key, each.text)
            ballots.setdefault(key, {})[each.who or f"turn {each.turn}"] = each.right
    examples = []
    for key, labels in ballots.items():
        (label, most), *others = Counter(labels.values()).most_common(2)
        if not others or others[0][1] < most:
            examples.append(Example(texts[key], label))
    return MajorityLabels(examples, len(ballots) - len(examples))


def export(path: Path | None, out: Path, task: str = "sms_spam") -> MajorityLabels:
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
    result = majority_labels(each for each in read(path) if each.settings.get("task") == task)
    if not result.examples:
        raise TuneshotError(
            f"the votes decide on no message of the task {task} ({result.ties} tied); "
            "vote on more answers first, or choose another task"
        )
    lines = ["label\ttext", *(f"{e.label}\t{_one_line(e.text)}" for e in result.examples)]
    with atomic_write(out) as new:
        new.write_bytes(without_lone_surrogates("".join(f"{line}\n" for line in lines)).encode())
    return result


def _one_line(text: str) -> str:
    return text.replace("\r\n", " ").replace("\n", " ").replace("\r", " ")
