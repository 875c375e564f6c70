"""The verdict of a comparison: which method to take with so many labels, and how sure that is.

Every method is compared with the best measured one, on the same messages. It is *told apart* from
that one where the interval of their difference lies above zero. The intervals are widened so that
all of these comparisons hold at once (Bonferroni): the method that is truly best is then the best
measured one, or not told apart from it, in at least 95 of 100 comparisons (multiple comparisons
with the best; Hsu, Annals of Statistics, 1981). ``sentences.py`` says it in words.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import inf, log2
from statistics import NormalDist

from icl.report.findings import Findings

NEARLY = 0.03  # 3 points, or 0.03 of a metric that has none: what the cheaper one may lack at most
MANY = 1_000  # messages that are answered, where methods are compared by time
# What a verdict can be.
OUTCOMES = {
    "ahead": "the best measured one is told apart from all others",
    "cheapest": "it is not, but none of those that it is not told apart from costs less",
    "level": "one that costs less lacks at most ``NEARLY`` of it: take that one",
    "open": "one that costs less may be as good, or lack more than that",
    "unlearned": "it is not told apart from an answer that looks at no message",
    "alone": "it was compared with no other",
}


@dataclass(frozen=True, slots=True)
class Lead:
    """By how much one method measured better than another, in the comparison's metric.

    Attributes:
        of: this method.
        over: that one.
        value: positive where ``of`` is better, whether more or less of the metric is.
        low: of the widened interval.
        high: its other end.
    """

    of: str
    over: str
    value: float
    low: float
    high: float

    @property
    def is_told_apart(self) -> bool:
        """Whether one of the two is better, beyond the interval."""
        return self.low > 0 or self.high < 0

    @property
    def turned(self) -> "Lead":
        """The same, said of the other method."""
        return Lead(self.over, self.of, -self.value, -self.high, -self.low)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which method to take with so many labels.

    Attributes:
        labels: how many.
        outcome: a key of ``OUTCOMES``.
        take: the method to take; where it is open, the best measured one.
        best: the best measured one.
        leads: of the best one over each method that it was compared with, by their figures.
        level: those of them that are not told apart from it.
        gap: the lead that decides. Over the one to take, where that is another one; where it is
            open, over the next that costs less and is not told apart; where nothing is learned,
            over the commonest label; else over the next one. ``None``: there is none.
        cheaper: the best measured of those that cost less than the one to take.
        sides: of the best fine-tuned method over the best prompt; ``None`` where one is missing.
    """

    labels: int
    outcome: str
    take: str
    best: str
    leads: tuple[Lead, ...]
    level: tuple[str, ...]
    gap: Lead | None = None
    cheaper: str | None = None
    sides: Lead | None = None


def verdicts(findings: Findings) -> list[Verdict]:
    """One for each number of labels with which anything was measured, ascending."""
    asked = [_Question(findings, labels) for labels in findings.budgets]
    return [question.verdict() for question in asked if question.points]


class _Question:
    """Which method, with so many labels?"""

    def __init__(self, findings: Findings, labels: int) -> None:
        self.findings, self.labels = findings, labels
        self.points = findings.at(labels)
        tests = findings.tests(labels)
        self._differences = {(test["a"], test["b"]): test["difference"] for test in tests}

    def verdict(self) -> Verdict:
        """Sorts the methods by their figures, and asks which are told apart from the first."""
        best, *others = ranked = sorted(self.points, key=self._figure, reverse=True)
        leads = self._leads((best, other) for other in others)
        level = tuple(lead.over for lead in leads if not lead.is_told_apart)
        outcome, take, over = self._outcome(best, {lead.over: lead for lead in leads}, level)
        useful = (key for key in ranked if not self.findings.is_blind(key))
        return Verdict(
            labels=self.labels, outcome=outcome, take=take, best=best, leads=tuple(leads),
            level=level,
            gap=next((lead for lead in leads if lead.over == over), None),
            cheaper=next((key for key in useful if self._price(key) < self._price(take)), None),
            sides=self._sides(ranked),
        )  # fmt: skip

    def _outcome(
        self, best: str, leads: Mapping[str, Lead], level: Sequence[str]
    ) -> tuple[str, str, str | None]:
        """The outcome, the method to take, and over which one the best one's lead decides."""
        following = next(iter(leads), None)
        if following is None:
            return "alone", best, None
        for key in (best, *level):
            if self.findings.is_blind(key):
                return "unlearned", best, following if key == best else key
        if not level:
            return "ahead", best, following
        near = (key for key in level if leads[key].high <= NEARLY)
        take = min((best, *near), key=self._price)  # equal prices: the better one
        if take != best:
            return "level", take, take
        for key in level:
            if self._price(key) < self._price(best):
                return "open", best, key
        return "cheapest", best, level[0]

    def _sides(self, ranked: Sequence[str]) -> Lead | None:
        """The best fine-tuned method over the best prompt, of all pairs of the two."""
        tuned, prompts = (
            [key for key in ranked if self.findings.side(key) == side]
            for side in ("fine_tuned", "prompt")
        )
        leads = self._leads(product(tuned, prompts))
        first = (lead for lead in leads if (lead.of, lead.over) == (tuned[0], prompts[0]))
        return next(first, None)

    def _leads(self, pairs: Iterable[tuple[str, str]]) -> list[Lead]:
        """Those that were tested, with intervals that hold for all of them at once."""
        tested = [(a, b, found) for a, b in pairs if (found := self._difference(a, b))]
        sure = 1 - 0.025 / max(len(tested), 1)
        wider = NormalDist().inv_cdf(sure) / NormalDist().inv_cdf(0.975)
        return [
            Lead(a, b, value, min(value, value - wider * (value - low)),
                 max(value, value + wider * (high - value)))
            for a, b, (value, low, high) in tested
        ]  # fmt: skip

    def _difference(self, a: str, b: str) -> tuple[float, float, float] | None:
        """How much better ``a`` is, with its interval; ``None`` if the pair was not tested."""
        sign = 1 if self.findings.metric.higher_is_better else -1
        for pair, turned in (((a, b), sign), ((b, a), -sign)):
            if found := self._differences.get(pair):
                low, high = sorted((turned * found["low"], turned * found["high"]))
                return turned * found["value"], low, high
        return None

    def _figure(self, key: str) -> float:
        """Its metric; larger is better."""
        quality = self.findings.quality(self.points[key])
        assert quality is not None
        return quality["value"] if self.findings.metric.higher_is_better else -quality["value"]

    def _price(self, key: str) -> tuple[float, float, float]:
        """Labels, then dollars (unknown ones are the most), then time, where it is twice as long.

        The time is that to learn and to answer ``MANY`` messages; what takes no second is free.
        """
        point = self.points[key]
        dollars = inf if point["dollars"] is None else point["dollars"]
        seconds = point["learn_seconds"] + MANY * point["ms"] / 1000
        return point["labels_used"], dollars, round(log2(max(seconds, 1)))
