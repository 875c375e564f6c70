"""Answers on the disk as they come, so that a killed evaluation continues where it was."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from clfcore.data.split import content_hash
from clfcore.evaluation.records import Record, append_lines, open_lines
from clfcore.evaluation.shown import shown_by, summary_of
from clfcore.paths import atomic_write
from clfcore.types import Classifier, Example, Prediction

BATCH = 8  # messages asked about, and written down, at a time
KEPT_LABELS = 100  # whose probabilities are written down, the likeliest


class Recorded:
    """A classifier asked about known messages in order; each answer is on the disk at once.

    What the file answers already is not asked again, unless it is about other messages.

    Args:
        classifier: what answers.
        examples: what it will be asked about.
        path: a file, made if need be.
        tags: mark these answers among others in the file.
        pool_rows: where the classifier's pool is a part of another one, its rows in that one.

    Attributes:
        answers: those so far, as in the file.
    """

    def __init__(
        self,
        classifier: Classifier,
        examples: Sequence[Example],
        path: Path,
        tags: Mapping[str, str] | None = None,
        pool_rows: Sequence[int] | None = None,
    ) -> None:
        self.labels = classifier.labels
        self._pool_rows = pool_rows
        self._classifier, self._path, self._next = classifier, path, 0
        self._questions = [
            {**(tags or {}), "message": content_hash([example])[:16], "label": example.label}
            for example in examples
        ]
        self.answers: list[Record] = []
        others: list[Record] = []
        for line in open_lines(path):
            is_tagged = (tags or {}).items() <= line.items()
            (self.answers if is_tagged else others).append(line)
        answered = [line["message"] for line in self.answers]
        if answered != [question["message"] for question in self._questions[: len(answered)]]:
            self.answers = []
            with atomic_write(path) as new:
                new.touch()
                append_lines(new, others)

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        start, end = self._next, self._next + len(texts)
        if unanswered := texts[max(len(self.answers) - start, 0) :]:
            predictions = self._classifier.predict(unanswered)
            fresh = [
                {
                    **question,
                    "answer": prediction.label,
                    "probabilities": kept(prediction, question["label"]),
                    "ms": prediction.ms,
                    "prompt_tokens": getattr(prediction, "prompt_tokens", 0),
                    "dollars": getattr(prediction, "dollars", 0.0),
                    "shown": shown_by(prediction, self._pool_rows),
                }
                for question, prediction in zip(
                    self._questions[end - len(unanswered) : end], predictions, strict=True
                )
            ]
            self.answers += append_lines(self._path, fresh)
        self._next = end
        return [
            Prediction(line["answer"], line["probabilities"], line["ms"])
            for line in self.answers[start:end]
        ]

    @property
    def shown(self) -> Record | None:
        """What the prompts of all answers so far showed; ``None`` where there are none."""
        return summary_of([line["shown"] for line in self.answers if line["shown"]], self.labels)

    @property
    def costs(self) -> Record:
        """Of all answers so far: prompt tokens, and dollars (``None``: the price is unknown)."""
        dollars = [line["dollars"] for line in self.answers]
        return {
            "prompt_tokens": sum(line["prompt_tokens"] for line in self.answers),
            "dollars": None if None in dollars else sum(dollars),
        }


def kept(prediction: Prediction, truth: str) -> dict[str, float]:
    """Probabilities of the likeliest ``KEPT_LABELS``, of the answer and of the true label.

    No metric reads any other, and those of 2,000 labels would take gigabytes.
    """
    p = prediction.probabilities
    if len(p) <= KEPT_LABELS:
        return dict(p)
    likeliest = {*sorted(p, key=p.__getitem__, reverse=True)[:KEPT_LABELS], prediction.label, truth}
    return {label: value for label, value in p.items() if label in likeliest}
