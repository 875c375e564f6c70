"""What a comparison found: the summary.json of ``tuneshot compare``, read and put into words.

The report, its figures and the chat ask here; nobody else knows the file's form.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from clfcore.errors import TuneshotError

FORMAT = 1
NBSP = "\u00a0"  # a number and its unit stay on one line
SURE = 0.05  # a pair whose p, after Holm, is below this is told apart

Interval = Mapping[str, float]
Point = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Metric:
    """How a figure is called and written.

    Attributes:
        name: in words.
        percent: a share; else a plain number.
        higher: whether more is better.
    """

    name: str
    percent: bool = True
    higher: bool = True

    def show(self, value: float | None) -> str:
        """``98.1 %`` or ``0.123``; a dash where there is none."""
        if value is None:
            return "–"
        return f"{100 * value:.1f}{NBSP}%" if self.percent else f"{value:.3f}"

    def interval(self, figure: Interval | None) -> str:
        """``98.1 % (97.0 – 99.0)``."""
        if figure is None:
            return "–"
        scale, digits = (100, 1) if self.percent else (1, 3)
        low, high = (f"{scale * figure[end]:.{digits}f}" for end in ("low", "high"))
        return f"{self.show(figure['value'])} ({low} – {high})"

    @property
    def points(self) -> str:
        """The unit of a difference."""
        return "percentage points" if self.percent else self.name

    def difference(self, figure: Interval | None) -> str:
        """``+3.1 (−1.0 to +7.2)``, in ``points``."""
        if figure is None:
            return "–"
        return f"{self.change(figure['value'])} ({self.change(figure['low'])} to " + (
            f"{self.change(figure['high'])})"
        )

    def change(self, value: float) -> str:
        """``+3.1``, in ``points``."""
        text = f"{100 * value:+.1f}" if self.percent else f"{value:+.3f}"
        if not text.strip("+-0."):
            return text[1:]  # neither plus nor minus zero
        return text.replace("-", "−")


METRICS = {
    "accuracy": Metric("accuracy"),
    "balanced_accuracy": Metric("balanced accuracy"),
    "f1": Metric("F1"),
    "auc": Metric("AUC", percent=False),
    "average_precision": Metric("average precision", percent=False),
    "ece": Metric("calibration error (ECE)", percent=False, higher=False),
    "nll": Metric("log loss (nats)", percent=False, higher=False),
}


def metric_of(key: str) -> Metric:
    """How a metric is written; one that is not known, by its key."""
    return METRICS.get(key) or Metric(key.replace("_", " "), percent=False)


@dataclass(frozen=True)
class Findings:
    """A summary, with what is asked of it more than once.

    Attributes:
        summary: see ``tuneshot compare``.
    """

    summary: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Findings":
        """A summary.json.

        Raises:
            TuneshotError: it cannot be read, or is of another kind or a newer format.
        """
        try:
            summary = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TuneshotError(f"cannot read {path}: {error}") from error
        if not isinstance(summary, dict) or summary.get("format") != FORMAT:
            raise TuneshotError(
                f"{path} is no summary of tuneshot compare in format {FORMAT}; run it again"
            )
        return cls(summary)

    # --- methods ----------------------------------------------------------------------------

    @cached_property
    def methods(self) -> dict[str, Mapping[str, str]]:
        """Each method's entry by its key, in the order asked for."""
        return {method["key"]: method for method in self.summary["methods"]}

    def name(self, key: str) -> str:
        """A method in words."""
        return self.methods[key]["name"] if key in self.methods else key.replace("_", " ")

    def family(self, key: str) -> str:
        """What kind of method it is."""
        return self.methods[key]["family"] if key in self.methods else "other"

    # --- figures ----------------------------------------------------------------------------

    @property
    def metric(self) -> Metric:
        """What the methods are ranked by."""
        return metric_of(self.summary["metric"])

    @property
    def budgets(self) -> list[int]:
        """Numbers of labelled messages, ascending."""
        return list(self.summary["budgets"])

    @property
    def most(self) -> int:
        """The largest budget."""
        return max(self.budgets, default=0)

    def quality(self, point: Point) -> Interval | None:
        """A point's ``metric``, with its interval."""
        return point["metrics"].get(self.summary["metric"])

    @cached_property
    def points(self) -> dict[str, list[Point]]:
        """Every method's points by ascending budget, methods in their order."""
        found: dict[str, list[Point]] = {key: [] for key in self.methods}
        for point in sorted(self.summary["points"], key=lambda point: point["budget"]):
            found.setdefault(point["method"], []).append(point)
        return {key: points for key, points in found.items() if points}

    @cached_property
    def learners(self) -> dict[str, list[Point]]:
        """The points of methods that use labels: those that have a curve."""
        return {k: p for k, p in self.points.items() if self.family(k) != "baseline"}

    @cached_property
    def last(self) -> dict[str, Point]:
        """Each method's point with the most labels, the best method first."""

        def badness(point: Point) -> float:
            value = (self.quality(point) or {}).get("value")
            return math.inf if value is None else -value if self.metric.higher else value

        newest = {key: points[-1] for key, points in self.points.items()}
        return dict(sorted(newest.items(), key=lambda item: badness(item[1])))

    def tests(self, budget: int) -> list[Mapping[str, Any]]:
        """The pairwise tests of one budget, the surest first."""
        own = [test for test in self.summary["tests"] if test["budget"] == budget]
        return sorted(own, key=lambda test: (test["p_holm"], test["p"]))

    @cached_property
    def spent(self) -> dict[str, dict[str, dict[int, float]]]:
        """Model behind an API -> method -> budget -> dollars for 1,000 messages."""
        found: dict[str, dict[str, dict[int, float]]] = {}
        for row in self.summary["prices"]["rows"]:
            for model, dollars in row["dollars_per_1000"].items():
                if dollars is not None:
                    of_model = found.setdefault(model, {})
                    of_model.setdefault(row["method"], {})[row["budget"]] = dollars
        return found

    def dollars(self, model: str, point: Point) -> float | None:
        """What 1,000 messages would cost; nothing where no language model is asked."""
        if not point["prompt_tokens"]:
            return 0.0
        return self.spent.get(model, {}).get(point["method"], {}).get(point["budget"])

    # --- in one sentence ----------------------------------------------------------------------

    def answer(self) -> str:
        """What was asked, in one sentence: from where on one beats the other, and what is best."""
        parts = [crossover["sentence"].rstrip(".") for crossover in self._main_crossovers()]
        if best := self._best():
            parts.append(best)
        said = "; ".join(parts) or "nothing was measured"
        return capital(said) + "."

    def _main_crossovers(self) -> list[Mapping[str, Any]]:
        """The one between the best of both families."""
        first: dict[str, str] = {}
        for key in self.last:
            first.setdefault(self.family(key), key)
        pair = (first.get("fine_tuned"), first.get("few_shot"))
        return [c for c in self.summary["crossovers"] if (c["of"], c["over"]) == pair][:1]

    def _best(self) -> str:
        measured = {k: q for k, p in self.last.items() if (q := self.quality(p)) is not None}
        if not measured:
            return ""
        key, figure = next(iter(measured.items()))
        labels = f"with {count(self.most, 'labelled message')}"
        value = f"{self.metric.name} {self.metric.interval(figure)}"
        said = f"{labels}, {self.name(key)} is best with {value}"
        rivals = [
            self.name(test["b"] if test["a"] == key else test["a"])
            for test in self.tests(self.most)
            if key in (test["a"], test["b"]) and test["p_holm"] >= SURE
        ]
        if not rivals:
            return said
        named = listed(rivals) if len(rivals) < 3 else f"{len(rivals)} others"
        return f"{said}, though not told apart from {named}"


# --- words ----------------------------------------------------------------------------------------


def count(number: float, noun: str) -> str:
    """``1 message``, ``3,612 messages``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def capital(sentence: str) -> str:
    """Its first letter only: names keep theirs."""
    return sentence[:1].upper() + sentence[1:]


def listed(names: Iterable[str]) -> str:
    """``a, b and c``."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def number(value: float | None, unit: str = "") -> str:
    """Three digits that count, and never an exponent: ``0.0316``, ``2.9``, ``1,430``."""
    if value is None:
        return "–"
    if value == 0:
        return f"0{unit}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + unit


def probability(p: float) -> str:
    """A p-value."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def share(value: float) -> str:
    """``90.0 %``."""
    return f"{100 * value:.1f}{NBSP}%"


def moment(stamp: str) -> str:
    """An ISO moment as a person writes it; anything else as it is."""
    try:
        return datetime.fromisoformat(stamp).strftime("%d %B %Y, %H:%M %Z").strip(", ")
    except ValueError:
        return stamp


def duration(seconds: float) -> str:
    """``48 seconds``, ``25 minutes``, ``3.4 hours``."""
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
