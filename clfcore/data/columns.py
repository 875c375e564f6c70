"""Which column has the messages and which the labels, by what people call them."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

from clfcore.config import Checked, setting
from clfcore.errors import TuneshotError
from clfcore.wording import listed

MESSAGES = "Messages"  # a heading of --help

# Role of a column ("text", "label") -> its name, where the user says it.
ColumnNames = Mapping[str, str | None]

# A column is one of messages, or of labels, if that is its name or part of its name: "comment",
# "Reviews", "tweet_text", "reviewText"; "airline_sentiment", "Verdict". v1 and v2 are Kaggle's
# copy of the SMS Spam Collection.
ALIASES = {
    "text": (
        "message", "msg", "sms", "sentence", "content", "body", "review", "comment", "tweet",
        "post", "utterance", "query", "question", "document", "description", "headline",
        "statement", "phrase", "transcript", "email", "mail", "passage", "paragraph", "feedback",
        "input", "v2",
    ),
    "label": (
        "category", "class", "target", "type", "sentiment", "verdict", "kind", "tag", "topic",
        "intent", "emotion", "rating", "star", "score", "polarity", "annotation", "grade", "stance",
        "genre", "classification", "outcome", "v1",
    ),
}  # fmt: skip
# What follows a text's or a label's name where the column has something else about it.
_ABOUT = {"author", "confidence", "count", "created", "date", "lang", "language", "len", "length",
          "probability", "source", "time", "timestamp", "url", "user", "weight"}  # fmt: skip
_NUMBERS = {"id", "ids", "idx", "index", "n", "no", "nr", "num", "number", "row", "unnamed"}


# --- as the user says, or a checkpoint remembers -----------------------------------------------


class Remembered(str):
    """The name of a column that a model was trained on: taken where a table has it."""

    __slots__ = ()


def in_header(wanted: ColumnNames, header: Sequence[str]) -> ColumnNames:
    """``wanted`` without the names that are only remembered, and not among these cells."""
    there = {plain_name(cell).lower() for cell in header}
    return {
        role: None if isinstance(name, Remembered) and name.lower() not in there else name
        for role, name in wanted.items()
    }


@dataclass(frozen=True, slots=True)
class Columns(Checked):
    """The columns with the messages and with the labels, in every table that a command reads."""

    text_column: str | None = setting(
        None, "The column with the messages; default: text, or the like.", MESSAGES
    )
    label_column: str | None = setting(
        None, "The column with the labels; default: label, or the like.", MESSAGES
    )

    @property
    def named(self) -> dict[str, str]:
        """What was said, by field: for a checkpoint to remember."""
        names = {each.name: getattr(self, each.name) for each in fields(Columns)}
        return {field: str(name) for field, name in names.items() if name}

    def remembering(self, named: Mapping[str, object]) -> Self:
        """These columns; where the user said nothing, those that were ``named`` in training."""
        known = {
            each.name: Remembered(name)
            for each in fields(Columns)
            if not getattr(self, each.name) and isinstance(name := named.get(each.name), str)
        }
        return replace(self, **known)


# --- by what people call them -------------------------------------------------------------------


def find_columns(
    header: Sequence[str], wanted: ColumnNames, place: str, optional: Collection[str] = ()
) -> dict[str, int]:
    """Where the column of each wanted role is; without the optional ones that are not there.

    A name that the user gives goes before ``text`` and ``label``, these before their aliases, and
    an alias before a longer name with an alias in it. If that finds one role only, and the table
    has a single other column, without counting those that number the rows, it has the other role,
    unless that is optional.

    Raises:
        TuneshotError: one of them is not there, or more than one could be meant.
    """
    wanted = in_header(wanted, header)
    found = {
        role: _find(header, role, wanted.get(role), place)
        if role in wanted
        else _first_of(header, role)
        for role in ALIASES
    }
    for role, other in (("text", "label"), ("label", "text")):
        rest = [i for i, name in enumerate(header) if i != found[other] and _may_be_either(name)]
        open_ = found[role] is None is wanted.get(role) and role not in optional
        if open_ and found[other] is not None and len(rest) == 1:
            found[role] = rest[0]
    if missing := [r for r in wanted if found[r] is None and (wanted[r] or r not in optional)]:
        raise _not_there(header, wanted, missing, place)
    if found["text"] == found["label"] is not None:
        raise TuneshotError(
            f"{place}: {header[found['label']]!r} cannot be both text and label; choose two "
            "columns with --text-column and --label-column"
        )
    return {role: column for role in wanted if (column := found[role]) is not None}


def is_known(name: str, roles: Iterable[str] = tuple(ALIASES)) -> bool:
    """Whether this cell is surely the name of a column: no message and no label, if a first row."""
    written_together = " " not in name.strip() and len(name) <= 40
    return any(
        _is_role(name, role)
        or _is_alias(name, role)
        or (written_together and len(_words(name)) > 1 and _has_alias(name, role))
        for role in roles
    )


def could_be_name(cell: str) -> bool:
    """Whether this could be the name of a column: few words, no sentence, no number."""
    text = plain_name(cell)
    return (
        0 < len(text) <= 40
        and len(text.split()) <= 3
        and bool(re.fullmatch(r"[^\W\d][\w /-]*", text))
    )


def plain_name(name: str) -> str:
    """A column's name without what may stand around it: spaces, quotes, byte order marks."""
    return name.strip().strip("\ufeff\"' ")


def _find(header: Sequence[str], role: str, name: str | None, place: str) -> int | None:
    """The column of a role; None if nothing is called like it."""
    tests: tuple[Callable[[str], bool], ...] = (
        (lambda cell: plain_name(cell).lower() == plain_name(name).lower(),)
        if name
        else (
            lambda cell: _is_role(cell, role),
            lambda cell: _is_alias(cell, role),
            lambda cell: _has_alias(cell, role),
        )
    )
    for fits in tests:
        columns = [column for column, cell in enumerate(header) if fits(cell)]
        if len(columns) > 1:
            raise TuneshotError(
                f"{place} has {len(columns)} columns for the {role}: "
                f"{listed(repr(header[column]) for column in columns)}; choose one with "
                f"--{role}-column, or rename the others"
            )
        if columns:
            return columns[0]
    return None


def _not_there(
    header: Sequence[str], wanted: ColumnNames, roles: Sequence[str], place: str
) -> TuneshotError:
    names = [repr(wanted[role] or role) for role in roles]
    options = [f"--{role}-column" for role in roles]
    return TuneshotError(
        f"{place} has no column {' and no column '.join(names)}; its header is: "
        f"{listed(header, 12) or 'empty'}; name the column so, or say which it is with "
        f"{' and '.join(options)}"
    )


def _words(name: str) -> list[str]:
    """``reviewText``, ``review_text`` and ``Review Texts`` are review and text."""
    parts = re.findall(r"[^\W\d_]+|\d+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain_name(name)))
    return [_singular(part.lower()) for part in parts]


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith("classes"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def _is_role(name: str, role: str) -> bool:
    return plain_name(name).lower() == role


def _is_alias(name: str, role: str) -> bool:
    return plain_name(name).lower() in ALIASES[role] or _words(name) in (
        [role], *([alias] for alias in ALIASES[role])
    )  # fmt: skip


def _has_alias(name: str, role: str) -> bool:
    """A name of several words, one of which says the role; "text label" is of a label."""
    words = set(_words(name))
    names_label = bool(words & {"label", *ALIASES["label"]})
    if words & _ABOUT or len(words) < 2:
        return False
    if role == "label":
        return names_label
    return not names_label and not words & _NUMBERS and bool(words & {"text", *ALIASES["text"]})


def _may_be_either(name: str) -> bool:
    words = set(_words(name))
    return bool(words) and not words & (_ABOUT | _NUMBERS)


def _first_of(header: Sequence[str], role: str) -> int | None:
    """As ``_find`` for a role that is not wanted: which of several columns does not matter."""
    return next(
        (
            column
            for fits in (_is_role, _is_alias, _has_alias)
            for column, name in enumerate(header)
            if fits(name, role)
        ),
        None,
    )
