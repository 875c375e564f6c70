"""From how many labels on one method beats another, with an interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clfcore.evaluation.metrics import METRICS, divided
from clfcore.evaluation.paired import Estimate, check_paired

ROUNDING = 1e-9  # figures nearer to each other than this differ by rounding only


@dataclass(frozen=True, slots=True)
class Crossover:
    """From which budget on one classifier is at least as good as another, in labels.

    ``-inf``: from the smallest budget on, and where that began was not measured. ``inf``: it is
    not as good at the largest.

    Attributes:
        smallest: the smallest budget that was measured.
        largest: the largest one.
        value: of the curves as measured.
        low: the lower end of the 95 % interval.
        high: the upper end.
    """

    smallest: float
    largest: float
    value: float
    low: float
    high: float

    def sentence(self) -> str:
        """For instance ``from about 70 labels on (95 %: 31 to 180)``; two digits are enough."""
        if self.value == -np.inf:
            value = f"from the smallest budget ({self.smallest:,.0f} labels) on"
        elif self.value == np.inf:
            value = f"not within {self.largest:,.0f} labels"
        else:
            value = f"from about {_two_digits(self.value)} labels on"
        ends = dict.fromkeys(self._bound(end) for end in (self.low, self.high))
        return f"{value} (95 %: {' to '.join(ends)})"

    def _bound(self, budget: float) -> str:
        if np.isinf(budget):
            smaller = f"{self.smallest:,.0f} or fewer"
            return smaller if budget < 0 else f"more than {self.largest:,.0f}"
        return _two_digits(budget)


def crossovers(budgets: Sequence[float], left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The smallest budgets from which on the left curves are at least as good as the right ones.

    At every larger budget, too: a lead that is lost again does not count. Between two budgets
    both curves are taken for straight lines over the logarithm of the budget.

    Args:
        budgets: M, positive and ascending, in labels.
        left: (B, M) the figures of B curves at each budget; larger is better.
        right: (B, M) those of the others.

    Returns:
        (B,) float64; ``-inf`` where left is never below: it is ahead from the smallest budget on,
        or from an even smaller one that was not measured. ``inf`` where it is below at the
        largest. ``nan`` where a figure is.

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
    budgets: Sequence[float], left: Sequence[Estimate], right: Sequence[Estimate]
) -> Crossover | None:
    """From which budget on ``left`` is at least as good as ``right``, with a 95 % interval.

    Where two curves end up equal, chance says which one is ahead at the largest budget, and the
    interval reaches beyond it.

    The ends are percentiles of the resamples' crossovers, moved outwards where needed so that
    what was measured lies between them: noise can only undo a lead at one more budget, so
    resamples cross later, not earlier, than the curves they are made of.

    Args:
        budgets: M, positive and ascending, in labels.
        left: M estimates of the same metric and resamples.
        right: M estimates of the other. What does not depend on the budget stands there M times.

    Returns:
        ``None`` if a figure is undefined.

    Raises:
        ValueError: the estimates cannot be compared, or the budgets are not ascending.
    """
    check_paired([*left, *right])
    sign = 1 if METRICS[left[0].metric].higher_is_better else -1
    ours, theirs = (
        sign * np.stack([[each.value, *each.draws] for each in curve], axis=1)  # (1 + B, M)
        for curve in (left, right)
    )
    value, *draws = crossovers(budgets, ours, theirs).tolist()
    drawn = np.array(draws)[~np.isnan(draws)]
    if np.isnan(value) or not drawn.size:
        return None
    # no mean of two draws, which an infinite one would spoil
    low = min(value, float(np.quantile(drawn, 0.025, method="lower")))
    high = max(value, float(np.quantile(drawn, 0.975, method="higher")))
    return Crossover(budgets[0], budgets[-1], value, low, high)


def _two_digits(budget: float) -> str:
    return f"{float(f'{budget:.2g}'):,.0f}"
