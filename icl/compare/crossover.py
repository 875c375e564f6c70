"""From how many labels on one method beats another, with an interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from clfcore.evaluation.metrics import METRICS, divided
from clfcore.evaluation.paired import Estimate, check_paired

ROUNDING = 1e-9  # figures nearer to each other than this differ by rounding only

Region = Literal["before", "within", "beyond"]


@dataclass(frozen=True, slots=True)
class CrossingPoint:
    """Where a curve comes out on top.

    Attributes:
        region: "within" the budgets that were measured; "before": it is on top from the smallest
            on, and where it began was not measured; "beyond": it is not on top at the largest.
        budget: in labels; ``None`` unless within.
    """

    region: Region
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class Crossover:
    """From which budget on one classifier is at least as good as another.

    Attributes:
        smallest: the smallest budget that was measured.
        largest: the largest one.
        value: of the curves as measured.
        low: the lower end of the 95 % interval.
        high: the upper end.
        reached: share of the resamples in which it is as good at the largest budget.
    """

    smallest: float
    largest: float
    value: CrossingPoint
    low: CrossingPoint
    high: CrossingPoint
    reached: float

    def sentence(self, unit: str = "labels") -> str:
        """For instance ``from about 70 labels on (95 %: 31 to 180)``; two digits are enough."""
        ends = list(dict.fromkeys(self._bound(point) for point in (self.low, self.high)))
        value = {
            "before": f"from the smallest budget ({self.smallest:,.0f} {unit}) on",
            "within": f"from about {_two_digits(self.value.budget or 0)} {unit} on",
            "beyond": f"not within {self.largest:,.0f} {unit}",
        }[self.value.region]
        return f"{value} (95 %: {' to '.join(ends)})"

    def _bound(self, point: CrossingPoint) -> str:
        if point.budget is not None:
            return _two_digits(point.budget)
        if point.region == "before":
            return f"{self.smallest:,.0f} or fewer"
        return f"more than {self.largest:,.0f}"


def crossover(budgets: Sequence[float], left: Sequence[float], right: Sequence[float]) -> float:
    """The smallest budget from which on ``left`` is at least as good as ``right``.

    At every larger budget, too: a lead that is lost again does not count. Between two budgets
    both curves are taken for straight lines over the logarithm of the budget.

    Args:
        budgets: M, positive and ascending, in labels.
        left: (M,) the figure at each budget; larger is better.
        right: (M,) that of the other.

    Returns:
        ``-inf`` if ``left`` is never below: it is ahead from the smallest budget on, or from an
        even smaller one that was not measured. ``inf`` if it is below at the largest. ``nan`` if
        a figure is.
    """
    return float(crossovers(budgets, np.asarray([left]), np.asarray([right]))[0])


def crossovers(budgets: Sequence[float], left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``crossover`` for B pairs of curves: (B, M), (B, M) -> (B,).

    Raises:
        ValueError: the budgets are not positive and ascending.
    """
    at = np.asarray(budgets, float)  # (M,)
    if not len(at) or at[0] <= 0 or (np.diff(at) <= 0).any():
        raise ValueError(f"budgets must be positive and ascending, not {list(budgets)}")
    gap = left - right  # (B, M)
    below = gap < -ROUNDING
    last = len(at) - 1 - below[:, ::-1].argmax(axis=1)  # (B,) of those below; else the last of all
    after = np.minimum(last + 1, len(at) - 1)
    rows = np.arange(len(gap))
    lack, lead = -gap[rows, last], np.maximum(gap[rows, after], 0)
    share = divided(lack, lack + lead, otherwise=1.0)  # of the way from last to after
    crossed = at[last] * (at[after] / at[last]) ** np.clip(share, 0, 1)
    crossed = np.clip(crossed, at[last], at[after])
    crossed = np.where(last == len(at) - 1, np.inf, crossed)
    crossed = np.where(below.any(axis=1), crossed, -np.inf)
    return np.where(np.isnan(gap).any(axis=1), np.nan, crossed)


def crossover_interval(
    budgets: Sequence[float],
    left: Sequence[Estimate],
    right: Sequence[Estimate],
    margin: float = 0.0,
) -> Crossover | None:
    """From which budget on ``left`` is at least as good as ``right``, with a 95 % interval.

    Where two curves end up equal, chance says which one is ahead at the largest budget, and the
    interval reaches beyond it; a margin asks the question that has an answer.

    The ends are percentiles of the resamples' crossovers, moved outwards where needed so that
    what was measured lies between them: noise can only undo a lead at one more budget, so
    resamples cross later, not earlier, than the curves they are made of.

    Args:
        budgets: M, positive and ascending, in labels.
        left: M estimates of the same metric and resamples.
        right: M estimates of the other. What does not depend on the budget stands there M times.
        margin: how much worse than ``right`` still counts as being as good.

    Returns:
        ``None`` if a figure is undefined.

    Raises:
        ValueError: the estimates cannot be compared, or the budgets are not ascending.
    """
    check_paired([*left, *right])
    sign = 1 if METRICS[left[0].metric].higher_is_better else -1
    ours, theirs = (
        sign * np.stack([[each.value, *each.draws] for each in some], axis=1)  # (1 + B, M)
        for some in (left, right)
    )
    value, *draws = crossovers(budgets, ours + margin, theirs).tolist()
    drawn = np.array(draws)[~np.isnan(draws)]
    if np.isnan(value) or not drawn.size:
        return None
    # no mean of two draws, which an infinite one would spoil
    low = min(value, float(np.quantile(drawn, 0.025, method="lower")))
    high = max(value, float(np.quantile(drawn, 0.975, method="higher")))
    return Crossover(
        smallest=budgets[0],
        largest=budgets[-1],
        value=_point_at(value),
        low=_point_at(low),
        high=_point_at(high),
        reached=float((drawn < np.inf).mean()),
    )


def _point_at(budget: float) -> CrossingPoint:
    if np.isinf(budget):
        return CrossingPoint("before" if budget < 0 else "beyond")
    return CrossingPoint("within", budget)


def _two_digits(budget: float) -> str:
    return f"{float(f'{budget:.2g}'):,.0f}"
