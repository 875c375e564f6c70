"""Intervals for shares, over seeds and over tasks."""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist, mean, variance
from typing import Any, NamedTuple

from scipy.stats import t as student

from clfcore.evaluation.metrics import Share


def _over_seeds(shares: Sequence[Mapping[str, Any]]) -> Share:
    """The mean of shares of the same messages, with the interval of one such share.

    Wilson 1927, eq. 13, as in ``Share.count``, which takes whole numbers of hits only.
    """
    hits, n = mean(share["hits"] for share in shares), shares[0]["of"]
    p, z = hits / n, NormalDist().inv_cdf(0.975)
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2) / (1 + z**2 / n)
    return Share(round(hits), n, p, middle - half, middle + half)


def _others(share: Share) -> Share:
    """The share of all other messages."""
    return Share(share.of - share.hits, share.of, 1 - share.value, 1 - share.high, 1 - share.low)


def _mean_share(shares: Sequence[Share]) -> Share:
    """The mean of shares of different messages.

    Its interval is theirs, added as independent errors are (Zou & Donner 2008, eq. 3).
    """
    middle = mean(share.value for share in shares)
    below = math.hypot(*(share.value - share.low for share in shares)) / len(shares)
    above = math.hypot(*(share.high - share.value for share in shares)) / len(shares)
    hits, of = sum(share.hits for share in shares), sum(share.of for share in shares)
    return Share(hits, of, middle, middle - below, middle + above)


class Interval(NamedTuple):
    """A share between 0 and 1 with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def over_seeds(shares: Sequence[Mapping[str, Any]]) -> Interval:
    """The mean of one share a seed, with an interval for other messages and other seeds.

    Wilson 1927, eq. 13, for the number of messages that has the variance p(1 - p)/n + s²/S: the
    messages of one seed, and the spread among the S seeds. Its quantile is Student's, with the
    degrees of freedom of Satterthwaite 1946, eq. 17: few seeds know their spread badly.

    Args:
        shares: ``value`` and ``of`` of each, see ``clfcore.evaluation.metrics.Share``.
    """
    values, n = [share["value"] for share in shares], mean(share["of"] for share in shares)
    p, seeds = mean(values), len(shares)
    among = variance(values) / seeds if seeds > 1 else 0.0
    within = p * (1 - p) / n
    freedom = (seeds - 1) * ((within + among) / among) ** 2 if among else math.inf
    n_effective = n * within / (within + among) if among else n
    z2 = float(student.ppf(0.975, freedom)) ** 2 / n_effective
    middle = (p + z2 / 2) / (1 + z2)
    half = math.sqrt(z2 * p * (1 - p) + z2**2 / 4) / (1 + z2)
    return Interval(p, middle - half, middle + half)


def over_tasks(intervals: Sequence[Interval]) -> Interval:
    """The mean over tasks; their errors are independent (Zou & Donner 2008, eq. 3)."""
    middle = mean(one.value for one in intervals)
    below = math.hypot(*(one.value - one.low for one in intervals)) / len(intervals)
    above = math.hypot(*(one.high - one.value for one in intervals)) / len(intervals)
    return Interval(middle, middle - below, middle + above)
