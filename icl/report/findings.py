"""What a comparison found: the summary.json of ``tuneshot compare``, read and put into words.

The report, its figures and the chat ask here; nothing else knows the form of the file.
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
from clfcore.evaluation.metrics import Metric, metric_of

FORMAT = 1  # of summary.json
SIGNIFICANT = 0.05  # a pair whose p, after Holm, is below this is told apart

Figure = Mapping[str, float]  # value, low and high
MethodPoint = Mapping[str, Any]  # an entry of the summary's points: a method at one budget


@dataclass(frozen=True)
class Findings:
    """A summary, with the views of it that are needed more than once.

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
            summary = json.loads(path.read_bytes())
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

    def side(self, key: str) -> str:
        """``fine_tuned``, ``prompt`` (zero-shot is one), or "" of what is neither."""
        if self.family(key) == "baseline":
            return "" if self.is_blind(key) else "prompt"
        return {"fine_tuned": "fine_tuned", "few_shot": "prompt"}.get(self.family(key), "")

    def is_blind(self, key: str) -> bool:
        """Whether its answers look at no message: always the commonest label."""
        reads = any(point["prompt_tokens"] for point in self.points.get(key, []))
        return self.family(key) == "baseline" and not reads

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

    def quality(self, point: MethodPoint) -> Figure | None:
        """A point's ``metric``, with its interval."""
        return point["metrics"].get(self.summary["metric"])

    @cached_property
    def points(self) -> dict[str, list[MethodPoint]]:
        """Every method's points by ascending budget, methods in their order."""
        of_method: dict[str, list[MethodPoint]] = {key: [] for key in self.methods}
        for point in sorted(self.summary["points"], key=lambda point: point["budget"]):
            of_method.setdefault(point["method"], []).append(point)
        return {key: points for key, points in of_method.items() if points}

    def at(self, labels: int) -> dict[str, MethodPoint]:
        """Each method's point with so many labels, where its ``metric`` is defined.

        What needs no labels is there with any number of them.
        """
        return {
            key: point
            for key, points in self.points.items()
            for point in points
            if point["budget"] in (0, labels) and self.quality(point)
        }

    @cached_property
    def learners(self) -> dict[str, list[MethodPoint]]:
        """The points of methods that use labels: those that have a curve."""
        return {k: p for k, p in self.points.items() if self.family(k) != "baseline"}

    @cached_property
    def last(self) -> dict[str, MethodPoint]:
        """Each method's point with the most labels, the best method first."""

        def badness(point: MethodPoint) -> float:
            value = (self.quality(point) or {}).get("value")
            return math.inf if value is None else -value if self.metric.higher_is_better else value

        last = {key: points[-1] for key, points in self.points.items()}
        return dict(sorted(last.items(), key=lambda item: badness(item[1])))

    def tests(self, budget: int) -> list[Mapping[str, Any]]:
        """The pairwise tests of one budget, the surest first."""
        tests = [test for test in self.summary["tests"] if test["budget"] == budget]
        return sorted(tests, key=lambda test: (test["p_holm"], test["p"]))

    @cached_property
    def spent(self) -> dict[str, dict[str, dict[int, float]]]:
        """Model behind an API -> method -> budget -> dollars for 1,000 messages."""
        prices: dict[str, dict[str, dict[int, float]]] = {}
        for row in self.summary["prices"]["rows"]:
            for model, dollars in row["dollars_per_1000"].items():
                if dollars is not None:
                    of_model = prices.setdefault(model, {})
                    of_model.setdefault(row["method"], {})[row["budget"]] = dollars
        return prices

    def dollars(self, model: str, point: MethodPoint) -> float | None:
        """What 1,000 messages would cost; nothing where no language model is asked."""
        if not point["prompt_tokens"]:
            return 0.0
        return self.spent.get(model, {}).get(point["method"], {}).get(point["budget"])


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


def moment(stamp: str) -> str:
    """An ISO moment as a person writes it; anything else as it is."""
    try:
        return datetime.fromisoformat(stamp).strftime("%d %B %Y, %H:%M %Z").strip(", ")
    except ValueError:
        return stamp
