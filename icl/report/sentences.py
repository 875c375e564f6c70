"""The verdict of a comparison in words, which claim no more than its intervals."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from icl.report.findings import Findings, capital, count, listed, number
from icl.report.verdict import MANY, Lead, Verdict, verdicts

BLIND = "always answering the commonest label"
SIDES = {"fine_tuned": "fine-tuned method", "prompt": "prompt"}


@dataclass(frozen=True, slots=True)
class Said:
    """A verdict in words.

    Attributes:
        headline: which method to take with so many labels, by how much and how sure.
        sides: fine-tuning or prompting?
        costs: of the method to take, and of the one that it was weighed against.
        changes: what would change it.
        limits: how far it goes.
    """

    headline: str
    sides: str
    costs: str
    changes: list[str]
    limits: list[str]

    @property
    def lines(self) -> list[str]:
        """All that it says, for a terminal."""
        heading = ["What would change it:"] if self.changes else []
        changes = [f"- {change}" for change in self.changes]
        said = [self.headline, self.sides, self.costs, *heading, *changes, *self.limits]
        return [line for line in said if line]


def verdict_record(findings: Findings) -> dict[str, Any]:
    """The verdict for ``summary.json``: in words, and in figures for each number of labels."""
    found = verdicts(findings)
    return {**asdict(say(findings, found)), "by_labels": [asdict(verdict) for verdict in found]}


def say(findings: Findings, found: Sequence[Verdict]) -> Said:
    """The verdict with the most labels in words; the others are among what would change it."""
    if not found:
        return Said("Nothing was measured.", "", "", [], [])
    words = _Words(findings, found[-1])
    return Said(
        headline=words.headline(),
        sides=words.sides(),
        costs=words.costs(),
        changes=[*words.crossing(), *words.cheaper(), *words.other_labels(found), *words.more()],
        limits=[*words.certainty(), *words.left_out()],
    )


def briefly(findings: Findings, verdict: Verdict) -> str:
    """A verdict in a few words, after "with 64 labelled messages"."""
    name = findings.name(verdict.take)
    return {
        "ahead": f"take {name}, which is ahead of all others",
        "cheapest": f"take {name}, which did best; what may be as good costs no less",
        "level": f"level: take the cheaper one, {name}",
        "open": f"not decided; {name} did best, but a cheaper one may be as good",
        "unlearned": f"nothing is shown to be better than {BLIND}",
        "alone": f"{name} was compared with no other",
    }[verdict.outcome]


def side_by_side(findings: Findings, verdict: Verdict) -> str:
    """Fine-tuning or prompting, in a few words."""
    lead = verdict.sides
    if lead is None:
        return "–"
    if not lead.is_told_apart:
        return "not told apart"
    return "fine-tuning" if lead.low > 0 else "prompting"


class _Words:
    """The sentences of one verdict."""

    def __init__(self, findings: Findings, verdict: Verdict) -> None:
        self._findings, self._verdict, self._name = findings, verdict, findings.name
        self._metric = findings.metric
        self._points = findings.at(verdict.labels)
        self._labels = count(verdict.labels, "labelled message")

    def headline(self) -> str:
        """Which method to take, and how sure that is."""
        verdict, gap = self._verdict, self._verdict.gap
        best, take = self._with_figure(verdict.best), self._with_figure(verdict.take)
        start = f"With {self._labels}"
        if gap is None:
            if len(self._points) > 1:
                return f"{start}, {take} did best, but no difference was tested."
            return f"{start}, only {take} was measured: there is nothing to compare it with."
        rival, behind = self._name(gap.over), f"is {self._behind(gap)}"
        others, level = len(verdict.leads), len(verdict.level)
        if verdict.outcome == "ahead":
            whom = f"all {others} others; the next, {rival}," if others > 1 else f"{rival}, which"
            return f"{start}, take {take}. It is ahead of {whom} {behind}."
        if verdict.outcome == "cheapest":
            no_less = "other may be as good, but costs no less"
            if level > 1:
                no_less = "others may be as good, but cost no less"
            return f"{start}, take {take}. It did best; {level} {no_less}: {rival} {behind}."
        if verdict.outcome == "level":
            return (
                f"{start}, level: take the cheaper one, {take}. {capital(self._name(gap.of))} did "
                f"best, but the cheaper one may be as good: it {behind}."
            )
        if verdict.outcome == "open":
            return (
                f"{start}, it is not decided. {capital(best)} did best, but {rival}, which costs "
                f"less, may be as good: it {behind}. If quality counts most, take the first; if "
                "cost does, the second."
            )
        start += ", nothing is shown to be learned"
        if self._findings.is_blind(verdict.best):
            return f"{start}: {BLIND} did best ({self._figure(verdict.best)})."
        return f"{start}. {capital(best)} did best, but {BLIND} may be as good: it {behind}."

    def sides(self) -> str:
        """Fine-tuning or prompting: the best of the one against the best of the other."""
        sides = self._verdict.sides
        if sides is None:
            there = {self._findings.side(key) for key in self._points}
            missing = [words for side, words in SIDES.items() if side not in there]
            named = " and ".join(f"no {words}" for words in missing)
            return f"{capital(named)} was measured with {self._labels}." if missing else ""
        lead = sides if sides.value >= 0 else sides.turned
        (of, first), (over, second) = (
            (SIDES[self._findings.side(key)], self._name(key)) for key in (lead.of, lead.over)
        )
        names = ("Fine-tuning", "prompting") if lead == sides else ("Prompting", "fine-tuning")
        verb = "is ahead of {}" if lead.is_told_apart else "and {} are not told apart"
        lag, interval = self._lag(lead)
        return (
            f"{names[0]} {verb.format(names[1])}: the best {over} ({second}) is {lag} the best "
            f"{of} ({first}); {interval}."
        )

    def costs(self) -> str:
        """Of the method to take, and of the other one that the headline weighs it against."""
        verdict = self._verdict
        weighed = [verdict.take]
        if verdict.outcome == "level":
            weighed.append(verdict.best)
        if verdict.outcome == "open" and verdict.gap is not None:
            weighed.append(verdict.gap.over)
        if verdict.outcome == "unlearned":
            return ""
        return " ".join(f"{capital(self._name(key))} costs {self._price(key)}." for key in weighed)

    def crossing(self) -> Iterator[str]:
        """From how many labels on the best fine-tuned method catches up with the best prompt."""
        sides = self._verdict.sides
        for crossing in self._findings.summary["crossovers"]:
            if sides is not None and (crossing["of"], crossing["over"]) == (sides.of, sides.over):
                yield f"{capital(crossing['sentence'].rstrip('.'))}."

    def cheaper(self) -> Iterator[str]:
        """What one would lose with less."""
        verdict = self._verdict
        lead = next((lead for lead in verdict.leads if lead.over == verdict.cheaper), None)
        if (
            lead is None
            or verdict.take != verdict.best
            or verdict.outcome not in ("ahead", "cheapest")
        ):
            return
        name = capital(self._name(lead.over))
        yield f"{name} is {self._behind(lead)}, and costs {self._price(lead.over)}."

    def other_labels(self, found: Sequence[Verdict]) -> Iterator[str]:
        """What the verdict is with other numbers of labels, where it is another one."""
        runs = [
            (words, [verdict.labels for verdict in run])
            for words, run in groupby(found, lambda verdict: briefly(self._findings, verdict))
        ]
        for words, labels in runs[:-1]:
            number = f"{labels[0]:,}" if len(labels) == 1 else f"{labels[0]:,} to {labels[-1]:,}"
            yield f"With {number} labelled message{'s' * (labels[-1] != 1)}: {words}."

    def more(self) -> Iterator[str]:
        """What would make it surer."""
        if self._verdict.outcome in ("level", "open", "unlearned"):
            summary = self._findings.summary
            yield (
                f"More messages to ask about (now {summary['data']['test']:,}) or more seeds (now "
                f"{len(summary['seeds'])}) can tell closer methods apart."
            )

    def certainty(self) -> Iterator[str]:
        """What the intervals are about."""
        compared = len(self._verdict.leads)
        if compared > 1:
            yield (
                f"Differences are given with 95 % intervals that hold for all {compared} "
                "comparisons with the best measured method at once."
            )
        elif compared:
            yield "The difference is given with its 95 % interval."
        if compared and len(self._findings.summary["seeds"]) == 1:
            yield (
                "All this is about one draw of labelled messages (one seed); with another draw, "
                "other methods may lead."
            )

    def left_out(self) -> Iterator[str]:
        """Methods that have no figure with so many labels, and why."""
        missing = [key for key in self._findings.methods if key not in self._points]
        failed = {
            failure["method"]
            for failure in self._findings.summary["failures"]
            if failure["budget"] in (0, self._verdict.labels)
        }
        for words, keys in (
            ("failed", [key for key in missing if key in failed]),
            ("not run", [key for key in missing if key not in failed]),
        ):
            if keys:
                names = listed(map(self._name, keys))
                yield f"Left out with {self._labels}, as {words}: {names}."

    # --- parts of sentences -----------------------------------------------------------------------

    def _with_figure(self, key: str) -> str:
        """For instance: tf-idf (accuracy 91.0 %; 95 %: 88.0 – 93.1)."""
        return f"{self._name(key)} ({self._figure(key)})"

    def _figure(self, key: str) -> str:
        quality = self._findings.quality(self._points[key])
        value, _, ends = self._metric.interval(quality).partition(" (")
        return f"{self._metric.name} {value}; 95 %: {ends.rstrip(')')}"

    def _behind(self, lead: Lead) -> str:
        """For instance: 2.3 percentage points behind (95 %: 1.5 ahead to 6.1 behind)."""
        lag, interval = self._lag(lead)
        return f"{lag} ({interval})"

    def _lag(self, lead: Lead) -> tuple[str, str]:
        """How far the other one is behind, and the interval of that."""
        value, low, high = (
            self._metric.change(end).lstrip("+−") for end in (lead.value, lead.low, lead.high)
        )
        unit = self._metric.points if self._metric.percent else f"of {self._metric.name}"
        ends = f"{low} to {high}" if lead.low > 0 else f"{low} ahead to {high} behind"
        return f"{value} {unit} behind", f"95 %: {ends}"

    def _price(self, key: str) -> str:
        """Labels, seconds, money and memory, as far as they are known."""
        point = self._points[key]
        dollars = point["dollars"]
        megabytes = self._findings.summary["memory_mb"].get(key)
        money = {None: "a price that is not known", 0: "nothing to pay"}.get(
            dollars, f"${number(1000 * (dollars or 0.0))} for {MANY:,} messages"
        )
        parts = [
            count(point["labels_used"], "label") if point["labels_used"] else "no labels",
            f"{number(point['learn_seconds'])} s to learn",
            f"{number(point['ms'])} ms a message",
            money,
            *([f"{number(megabytes)} MB of memory"] if megabytes is not None else []),
        ]
        return listed(parts)
