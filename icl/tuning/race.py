"""Successive halving (Jamieson and Talwalkar 2016): many prompts on few messages, few on many.

All prompts that are still in the race read the same messages, so they are compared message by
message, and what was read stays of use: each round adds messages to those of the round before.
"""

from collections.abc import Sequence
from typing import NamedTuple

from clfcore.errors import TuneshotError

USUAL_READS = 800
FINALISTS = 4  # prompts of the last round, the default among them
FIRST_ROUND = 8  # messages of the first round, at least: fewer say nothing


class TooFewReadsError(TuneshotError):
    """The reads do not pay for a race."""


class Round(NamedTuple):
    """How many prompts read how many messages, those of the rounds before included."""

    prompts: int
    messages: int


def plan_race(prices: Sequence[int], messages: int, reads: int, beside: int = 0) -> list[Round]:
    """The rounds that ``reads`` pay for, whichever prompts survive.

    Args:
        prices: reads that each prompt costs a message, at least one of them, in order of
            preference: where the reads are too few for all, the last ones do not take part.
        messages: how many there are, at least one.
        reads: how many are allowed.
        beside: how many of them are spent on other things.

    Raises:
        TooFewReadsError: they do not even pay for a round of the first two.
    """
    least = min(FIRST_ROUND, messages)
    for count in range(len(prices), min(2, len(prices)) - 1, -1):
        taking_part = prices[:count]
        for first in range(min(messages, reads - beside), least - 1, -1):
            rounds = _rounds(count, first, messages)
            left = reads - beside - reads_of(rounds, taking_part)
            if left >= 0:
                return _lengthened(rounds, left, taking_part, messages)
    needed = least * sum(prices[:2]) + beside
    raise TooFewReadsError(
        f"reads must be {needed:,} or more here, not {reads:,}: that is what {least} messages "
        "cost with two prompts; allow more, or use the defaults"
    )


def reads_of(rounds: Sequence[Round], prices: Sequence[int]) -> int:
    """What a race of prompts with these ``prices`` costs if the dearest of them survive."""
    dear = sorted(prices, reverse=True)
    new = (each.messages - before for each, before in zip(rounds, _before(rounds), strict=True))
    return sum(
        sum(dear[: each.prompts]) * messages for each, messages in zip(rounds, new, strict=True)
    )


def _before(rounds: Sequence[Round]) -> list[int]:
    return [0, *(each.messages for each in rounds[:-1])]


def _rounds(count: int, first: int, messages: int) -> list[Round]:
    """Half the prompts, down to the finalists, on twice the messages, as long as there are more."""
    rounds = [Round(count, first)]
    while rounds[-1].prompts > FINALISTS and rounds[-1].messages < messages:
        size, asked = rounds[-1]
        rounds.append(Round(max(FINALISTS, -(-size // 2)), min(2 * asked, messages)))
    return rounds


def _lengthened(
    rounds: list[Round], left: int, prices: Sequence[int], messages: int
) -> list[Round]:
    """What is left of the reads goes into the last round."""
    *others, (size, asked) = rounds
    more = left // sum(sorted(prices, reverse=True)[:size])
    return [*others, Round(size, min(asked + more, messages))]
