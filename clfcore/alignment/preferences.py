"""Pairs of answers to the same question, of which people prefer one; and which are held out."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from clfcore.data.tables import read_columns
from clfcore.errors import TuneshotError
from clfcore.json_text import to_json
from clfcore.paths import ASSETS

COLUMNS = ("context", "better", "worse", "topic")
BUNDLED = ASSETS / "preferences.jsonl"  # written for this project


@dataclass(frozen=True, slots=True)
class Preference:
    """A question, two answers, and what it is about.

    Attributes:
        context: what somebody asks.
        better, worse: answers to it.
        topic: pairs of one topic are learned from or held out together.
    """

    context: str
    better: str
    worse: str
    topic: str


def read_preferences(path: Path = BUNDLED) -> list[Preference]:
    """The pairs of a table with the columns ``COLUMNS``.

    Args:
        path: any form of table that ``read_columns`` reads; default: the bundled pairs.

    Raises:
        TuneshotError: unreadable; a column or a cell is missing; two answers are the same; or a
            question stands in two topics, so that it might be learned from and held out.
    """
    pairs: list[Preference] = []
    topics: dict[str, str] = {}
    for number, row in enumerate(read_columns(path, COLUMNS), start=1):
        for column in COLUMNS:
            cell = row[column]
            if not isinstance(cell, str) or not cell.strip():
                raise TuneshotError(
                    f"{path}, pair {number}: {column} has no text; fill it in or remove the row"
                )
        pair = Preference(**{column: str(row[column]) for column in COLUMNS})
        if pair.better == pair.worse:
            raise TuneshotError(
                f"{path}, pair {number}: both answers are the same, so neither is better; "
                "change one or remove the row"
            )
        if topics.setdefault(pair.context, pair.topic) != pair.topic:
            raise TuneshotError(
                f"{path}, pair {number}: its context also stands under the topic "
                f"{topics[pair.context]!r}; whole topics are held out, so give it one topic"
            )
        pairs.append(pair)
    return pairs


def hold_out(
    pairs: Sequence[Preference], share: float, seed: int
) -> tuple[list[Preference], list[Preference]]:
    """Pairs to learn from, and pairs of topics that are never learned from.

    Args:
        pairs: those of at least two topics.
        share: of the topics that are held out, in (0, 1); rounded up, but one is left.
        seed: draws them.

    Raises:
        TuneshotError: there is one topic, or none.
    """
    topics = sorted({pair.topic for pair in pairs})
    if len(topics) < 2:
        raise TuneshotError(
            f"the pairs have {len(topics)} topic{'s' * (not topics)}, and whole topics are held "
            "out; give pairs of at least 2"
        )
    count = min(math.ceil(share * len(topics)), len(topics) - 1)
    held_out = set(np.random.default_rng(seed).permutation(topics)[:count].tolist())
    return (
        [pair for pair in pairs if pair.topic not in held_out],
        [pair for pair in pairs if pair.topic in held_out],
    )


def preferences_hash(pairs: Sequence[Preference]) -> str:
    """sha256 of all pairs in their order, 64 hex digits."""
    return hashlib.sha256(to_json([astuple(pair) for pair in pairs]).encode()).hexdigest()
