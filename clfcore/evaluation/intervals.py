"""Figures with 95 % intervals: shares of messages, means over seeds, means over independent parts.

Intervals by resampling are in ``paired.py``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, variance
from typing import Any


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"

    def percent(self, digits: int = 1, unit: str = "") -> str:
        """``98.1 [97.0, 99.0]``, with ``digits`` and ``unit`` for the value."""
        value = f"{100 * self.value:.{digits}f}{unit}"
        return f"{value} [{100 * self.low:.1f}, {100 * self.high:.1f}]"

    def points(self) -> str:
        """``+3.1 [-1.0, +7.2]``: of a difference, in percentage points."""
        return f"{100 * self.value:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


@dataclass(frozen=True, slots=True)
class Share(Interval):
    """A proportion with its interval (Wilson 1927); ``nan`` where nothing was counted.

    Attributes:
        hits: successes.
        of: trials.
    """

    hits: int
    of: int

    @classmethod
    def count(cls, hits: int, of: int) -> "Share":
        """``hits`` successes in ``of`` trials."""
        if of == 0:
            return cls(math.nan, math.nan, math.nan, 0, 0)
        from scipy.stats import binomtest  # here, as it takes a second

        interval = binomtest(hits, of).proportion_ci(0.95, method="wilson")
        return cls(hits / of, float(interval.low), float(interval.high), hits, of)


def complement(share: Interval) -> Interval:
    """The share of all other messages."""
    return Interval(1 - share.value, 1 - share.high, 1 - share.low)


def over_seeds(shares: Sequence[Mapping[str, Any]], *, spread: bool = True) -> Interval:
    """The mean of one share a seed, with an interval for other messages and other seeds.

    Wilson 1927, eq. 13, for the number of messages that has the variance p(1 - p)/n + s²/S: the
    messages of one seed, and the spread among the S seeds. Its quantile is Student's, with the
    degrees of freedom of Satterthwaite 1946, eq. 17: few seeds know their spread badly.

    Args:
        shares: ``value`` and ``of`` of each, see ``Share``.
        spread: whether the spread among the seeds counts; without it, the interval is for other
            messages only, that of one seed with the mean share.
    """
    values, n = [share["value"] for share in shares], mean(share["of"] for share in shares)
    p, seeds = mean(values), len(shares)
    among = variance(values) / seeds if spread and seeds > 1 else 0.0
    within = p * (1 - p) / n
    freedom = (seeds - 1) * ((within + among) / among) ** 2 if among else math.inf
    n_effective = n * within / (within + among) if among else n
    from scipy.stats import t as student

    z2 = float(student.ppf(0.975, freedom)) ** 2 / n_effective
    middle = (p + z2 / 2) / (1 + z2)
    half = math.sqrt(z2 * p * (1 - p) + z2**2 / 4) / (1 + z2)
    return Interval(p, middle - half, middle + half)


def paired_over_seeds(right: Sequence[tuple[Sequence[bool], Sequence[bool]]]) -> Interval:
    """How much more often one is right than another, about the same messages; over seeds.

    Agresti & Min 2005 (Statistics in Medicine 24, 729-740) for one seed: the interval of a mean of
    differences, after half a message is added to each of the four ways in which a pair can end.
    Several seeds, each with messages of its own, as in ``over_seeds``.

    Args:
        right: of each seed, whether the one was right and whether the other was, message by
            message; at least one message.
    """
    values, variances = [], []
    for ones, others in right:
        gains = [int(one) - int(other) for one, other in zip(ones, others, strict=True)]
        n = len(gains) + 2
        values.append(sum(gains) / n)
        variances.append((sum(map(abs, gains)) + 1 - sum(gains) ** 2 / n) / n**2)
    seeds, middle, within = len(values), mean(values), mean(variances)
    among = variance(values) / seeds if seeds > 1 else 0.0
    freedom = (seeds - 1) * ((within + among) / among) ** 2 if among else math.inf
    from scipy.stats import t as student

    half = float(student.ppf(0.975, freedom)) * math.sqrt(within + among)
    value = mean(mean(ones) - mean(others) for ones, others in right)
    return Interval(value, max(middle - half, -1.0), min(middle + half, 1.0))


def mean_of(intervals: Sequence[Interval]) -> Interval:
    """The mean of figures whose errors are independent (Zou & Donner 2008, eq. 3)."""
    middle = mean(each.value for each in intervals)
    below = math.hypot(*(each.value - each.low for each in intervals)) / len(intervals)
    above = math.hypot(*(each.high - each.value for each in intervals)) / len(intervals)
    return Interval(middle, middle - below, middle + above)
