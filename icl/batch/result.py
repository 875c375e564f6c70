"""The answers to a file: rows, a summary, and the file of results."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clfcore.evaluation.intervals import Share
from clfcore.evaluation.metrics import Metrics, measure
from clfcore.types import Prediction, without_lone_surrogates
from icl.batch.read import RESULT_COLUMNS, Messages, escape_formula


@dataclass(frozen=True, slots=True)
class RowAnswer:
    """What is kept of an answer: without prompt and examples, 10,000 of them stay small.

    Attributes:
        label: empty if there is none.
        p: its probability.
        probabilities: of all labels, in the task's order; empty if the method could not be asked.
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
        true_label: the file's label; empty if there is none.
        answers: method -> answer; without the methods that were not asked.
        reason: in words.
    """

    number: int
    text: str
    true_label: str
    answers: Mapping[str, RowAnswer]
    reason: str


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """Figures of a result. Each method's are over the rows about which it could be asked.

    There, a reply that names no label is wrong.

    Attributes:
        counts: method -> label -> rows, in the task's order.
        problems: method -> rows without an answer.
        agreement: share of the rows that have a label of every method on which all say the same;
            ``None`` for one method.
        figures: method -> metrics against the truth labels; empty without labels.
        majority: what always giving the commonest label would score; ``None`` without labels.
        right_alone: method -> rows, of those about which every method could be asked, on which it
            alone is right (for two methods, McNemar's discordant pairs); empty without labels.
    """

    counts: Mapping[str, Mapping[str, int]]
    problems: Mapping[str, int]
    agreement: Share | None
    figures: Mapping[str, Metrics]
    majority: Share | None
    right_alone: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The answers to a file.

    Attributes:
        messages: what was asked.
        answers: method -> answers to the first rows: all, unless it was stopped.
    """

    messages: Messages
    answers: Mapping[str, Sequence[RowAnswer]]

    @property
    def stopped(self) -> str:
        """Where it was stopped, in words; empty if it was not."""
        if all(len(answers) == len(self.messages.texts) for answers in self.answers.values()):
            return ""
        done = {method: f"{len(answers):,}" for method, answers in self.answers.items()}
        each = " and ".join(f"{count} ({_hyphenated(method)})" for method, count in done.items())
        after = each if len(set(done.values())) > 1 else next(iter(done.values()))
        return f"stopped after {after} of {len(self.messages.texts):,}"

    def table(self, limit: int) -> list[TableRow]:
        """The rows worth reading first: where the methods disagree, then where one is wrong, then
        those without an answer, then the others; in the file's order within each.
        """
        rows = [(row, *self._reason(row)) for row in range(len(self.messages.texts))]
        true_labels = self.messages.true_labels
        return [
            TableRow(
                number=self.messages.numbers[row],
                text=self.messages.texts[row],
                true_label=true_labels[row] if true_labels else "",
                answers={m: a[row] for m, a in self.answers.items() if row < len(a)},
                reason=reason,
            )
            for row, _, reason in sorted(rows, key=lambda each: each[1])[:limit]
        ]

    def summary(self) -> BatchSummary:
        """Counts, agreement and, where labels are given, how well each method does."""
        labels, truth = self.messages.labels, self.messages.true_labels
        rows = range(len(self.messages.texts))
        asked = [self._asked(row) for row in rows]
        of_all = [row for row in rows if len(asked[row]) == len(self.answers)]
        labelled = [row for row in of_all if all(asked[row].values())]
        same = sum(len(set(asked[row].values())) == 1 for row in labelled)
        counts = {m: Counter(a.label for a in answers) for m, answers in self.answers.items()}
        right: Counter[str] = Counter()
        if truth:
            for row in of_all:
                hits = [method for method, label in asked[row].items() if label == truth[row]]
                right.update(hits if len(hits) == 1 else ())
        return BatchSummary(
            counts={m: {label: counts[m][label] for label in labels} for m in self.answers},
            problems={method: counts[method][""] for method in self.answers},
            agreement=Share.count(same, len(labelled)) if len(self.answers) > 1 else None,
            figures={m: f for m in self.answers if (f := self._figures(m)) is not None},
            majority=Share.count(max(Counter(truth).values()), len(truth)) if truth else None,
            right_alone={method: right[method] for method in self.answers} if truth else {},
        )

    def to_csv(self) -> bytes:
        """All rows in the file's order, for spreadsheets and for ``read_messages``.

        UTF-8 with a mark. A cell that a spreadsheet could take for a formula begins with an
        apostrophe, which ``read_messages`` takes away. The text comes first and in quotes, so that
        a spreadsheet that separates by semicolons or tabs does not cut it into cells either.
        """
        truth = self.messages.true_labels
        kinds = ("", "_p", "_problem")
        file = io.StringIO(newline="")
        write = csv.writer(file, quoting=csv.QUOTE_ALL).writerow
        write(
            [
                *RESULT_COLUMNS,
                *(["label"] if truth else []),
                *(m + k for m in self.answers for k in kinds),
            ]
        )
        for row, text in enumerate(self.messages.texts):
            cells = [text, str(self.messages.numbers[row]), *([truth[row]] if truth else [])]
            for answers in self.answers.values():
                answer = answers[row] if row < len(answers) else RowAnswer(problem="not asked")
                p = f"{answer.p:.4f}" if answer.label else ""
                cells += [answer.label, p, answer.problem]
            write(map(escape_formula, cells))
        return without_lone_surrogates(file.getvalue()).encode("utf-8-sig")

    def _asked(self, row: int) -> dict[str, str]:
        """Method -> label, empty if there is none, of the methods that could be asked."""
        return {
            method: answers[row].label
            for method, answers in self.answers.items()
            if row < len(answers) and answers[row].probabilities
        }

    def _figures(self, method: str) -> Metrics | None:
        labels, truth = self.messages.labels, self.messages.true_labels
        asked = [(row, a) for row, a in enumerate(self.answers[method]) if a.probabilities]
        if truth is None or not asked:
            return None
        predictions = [
            Prediction(a.label or None, dict(zip(labels, a.probabilities, strict=True)), ms=0.0)
            for _, a in asked
        ]
        return measure([truth[row] for row, _ in asked], predictions, labels)

    def _reason(self, row: int) -> tuple[int, str]:
        """How early the row is worth reading, 0 first, and why, in words."""
        asked, truth = self._asked(row), self.messages.true_labels
        answered = {method: label for method, label in asked.items() if label}
        wrong = [
            _hyphenated(method)
            for method, label in answered.items()
            if truth and label != truth[row]
        ]
        blame = f"wrong: {' and '.join(wrong)}" if wrong else ""
        if len(set(answered.values())) > 1:
            return 0, "; ".join(filter(None, ["the methods disagree", blame]))
        if blame:
            return 1, blame
        for method, answers in self.answers.items():
            if row < len(answers) and answers[row].problem:
                return 2, f"{_hyphenated(method)}: {answers[row].problem}"
        if len(answered) < len(self.answers):
            return 3, "not asked"
        return 3, "right" if truth else "the methods agree" if len(answered) > 1 else ""


def _hyphenated(method: str) -> str:
    return method.replace("_", "-")
