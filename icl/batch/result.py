"""What a batch found: rows, a summary, and the file to take away."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from clfcore.evaluation.metrics import Metrics, Share, measure
from clfcore.types import Prediction
from icl.batch.read import _OURS, Messages, _guarded


@dataclass(frozen=True, slots=True)
class Answer:
    """What is kept of an answer: without prompt and examples, 10,000 of them stay small.

    Attributes:
        label: empty if there is none.
        p: its probability.
        probabilities: of all labels, in the task's order.
        problem: one line, if there is no label.
    """

    label: str = ""
    p: float = float("nan")
    probabilities: Sequence[float] = ()
    problem: str = ""


# --- the result ---------------------------------------------------------------------------------


class TableRow(NamedTuple):
    """A message, what each method says, and why it stands where it stands.

    Attributes:
        number: of the row in the file.
        given: the file's label; empty if there is none.
        answers: method -> answer; without the methods that were not asked.
        reason: in words.
    """

    number: int
    text: str
    given: str
    answers: Mapping[str, Answer]
    reason: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of a result. Each method's are over the rows that it answered.

    Attributes:
        counts: method -> label -> rows, in the task's order.
        problems: method -> rows without an answer.
        agreement: share of the rows answered by every method on which all say the same; ``None``
            for one method.
        figures: method -> metrics against the given labels; empty without labels.
        majority: what always giving the commonest label would score; ``None`` without labels.
        right_alone: method -> rows, of those answered by every method, on which it alone is right
            (for two methods, McNemar's discordant pairs); empty without labels.
    """

    counts: Mapping[str, Mapping[str, int]]
    problems: Mapping[str, int]
    agreement: Share | None
    figures: Mapping[str, Metrics]
    majority: Share | None
    right_alone: Mapping[str, int]


@dataclass(frozen=True)
class BatchResult:
    """The answers to a file.

    Attributes:
        messages: what was asked.
        answers: method -> answers to the first rows: all, unless it was stopped.
    """

    messages: Messages
    answers: Mapping[str, Sequence[Answer]]

    @property
    def complete(self) -> bool:
        """Whether every method was asked about every row."""
        return all(len(found) == len(self.messages.texts) for found in self.answers.values())

    @property
    def stopped(self) -> str:
        """Where it was stopped, in words; empty if it was not."""
        if self.complete:
            return ""
        done = {method: f"{len(found):,}" for method, found in self.answers.items()}
        each = " and ".join(f"{count} ({_spoken(method)})" for method, count in done.items())
        after = each if len(set(done.values())) > 1 else next(iter(done.values()))
        return f"stopped after {after} of {len(self.messages.texts):,}"

    def table(self, limit: int) -> list[TableRow]:
        """The rows worth reading first: where the methods disagree, then where one is wrong, then
        those without an answer, then the others; in the file's order within each.
        """
        return [self._row(row, reason) for row, (_, reason) in self._order[:limit]]

    def summary(self) -> Summary:
        """Counts, agreement and, where labels are given, how well each method does."""
        labels, given = self.messages.labels, self.messages.given
        rows = [self._answered(row) for row in range(len(self.messages.texts))]
        by_all = [row for row, found in enumerate(rows) if len(found) == len(self.answers)]
        same = sum(len(set(rows[row].values())) == 1 for row in by_all)
        counts = {m: Counter(a.label for a in found) for m, found in self.answers.items()}
        right: Counter[str] = Counter()
        if given:
            for row in by_all:
                hits = [method for method, label in rows[row].items() if label == given[row]]
                right.update(hits if len(hits) == 1 else ())
        return Summary(
            counts={m: {label: counts[m][label] for label in labels} for m in self.answers},
            problems={method: counts[method][""] for method in self.answers},
            agreement=Share.count(same, len(by_all)) if len(self.answers) > 1 else None,
            figures={m: f for m in self.answers if (f := self._figures(m)) is not None},
            majority=Share.count(max(Counter(given).values()), len(given)) if given else None,
            right_alone={method: right[method] for method in self.answers} if given else {},
        )

    def to_csv(self) -> bytes:
        """All rows in the file's order, for spreadsheets and for ``read_messages``.

        UTF-8 with a mark. A cell that a spreadsheet could take for a formula begins with an
        apostrophe, which ``read_messages`` takes away. The text comes first and in quotes, so that
        a spreadsheet that separates by semicolons or tabs does not cut it into cells either.
        """
        given = self.messages.given
        kinds = ("", "_p", "_problem")
        file = io.StringIO(newline="")
        write = csv.writer(file, quoting=csv.QUOTE_ALL).writerow
        write(
            [*_OURS, *(["label"] if given else []), *(m + k for m in self.answers for k in kinds)]
        )
        for row, text in enumerate(self.messages.texts):
            cells = [text, str(self.messages.numbers[row]), *([given[row]] if given else [])]
            for found in self.answers.values():
                answer = found[row] if row < len(found) else Answer(problem="not asked")
                p = f"{answer.p:.4f}" if answer.label else ""
                cells += [answer.label, p, answer.problem]
            write(map(_guarded, cells))
        return file.getvalue().encode("utf-8-sig")

    def _answered(self, row: int) -> dict[str, str]:
        """Method -> label, of the methods that have one."""
        return {
            method: found[row].label
            for method, found in self.answers.items()
            if row < len(found) and found[row].label
        }

    def _figures(self, method: str) -> Metrics | None:
        labels, given = self.messages.labels, self.messages.given
        answered = [(row, a) for row, a in enumerate(self.answers[method]) if a.label]
        if given is None or not answered:
            return None
        predictions = [
            Prediction(a.label, dict(zip(labels, a.probabilities, strict=True)), ms=0.0)
            for _, a in answered
        ]
        return measure([given[row] for row, _ in answered], predictions, labels)

    @cached_property
    def _order(self) -> list[tuple[int, tuple[int, str]]]:
        """Row, rank and reason, the best to read first."""
        reasons = [(row, self._reason(row)) for row in range(len(self.messages.texts))]
        return sorted(reasons, key=lambda each: each[1][0])

    def _reason(self, row: int) -> tuple[int, str]:
        said = self._answered(row)
        wrong: list[str] = []
        if given := self.messages.given:
            wrong = [_spoken(method) for method, label in said.items() if label != given[row]]
        blame = f"wrong: {' and '.join(wrong)}" if wrong else ""
        if len(set(said.values())) > 1:
            return 0, "; ".join(filter(None, ["the methods disagree", blame]))
        if blame:
            return 1, blame
        for method, found in self.answers.items():
            if row < len(found) and found[row].problem:
                return 2, f"{_spoken(method)}: {found[row].problem}"
        if len(said) < len(self.answers):
            return 3, "not asked"
        return 3, "right" if given else "the methods agree" if len(said) > 1 else ""

    def _row(self, row: int, reason: str) -> TableRow:
        return TableRow(
            number=self.messages.numbers[row],
            text=self.messages.texts[row],
            given=self.messages.given[row] if self.messages.given else "",
            answers={m: found[row] for m, found in self.answers.items() if row < len(found)},
            reason=reason,
        )


def _spoken(method: str) -> str:
    return method.replace("_", "-")
