"""Where the fine-tuned answer and the few-shot one differ, with what each of them rests on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clfcore.attribution import attribute
from clfcore.evaluation.records import Record, read_lines
from clfcore.fine_tuned import FineTuned
from clfcore.types import Classifier
from icl.compare.methods import METHODS, Widened
from icl.compare.plan import Cell, Plan
from icl.compare.run import lesson_of
from icl.compare.task_split import Contest
from icl.few_shot import FewShotPrediction

MOST = 20


def explain(
    plan: Plan, contest: Contest, records: Sequence[Record], answers: Path
) -> dict[str, Any] | None:
    """The messages that the first method of each side answers differently, and why.

    Both are taught again, at the largest budget with the first seed, which gives the same answers.

    Args:
        plan: what was run.
        contest: on which messages.
        records: of its cells.
        answers: the folder with their answers.

    Returns:
        ``None`` where one side is missing. Else ``a`` and ``b``, the methods; ``count``, how many
        messages they answer differently; and ``items``, the first ``MOST`` of these: text, truth,
        and for each side label, probability and what it rests on.
    """
    pair = []
    for family in ("fine_tuned", "few_shot"):
        for record in records:
            config = record["config"]
            if (
                METHODS[config["method"]].family == family
                and (config["budget"], config["seed"]) == (plan.budgets[-1], plan.seeds[0])
                and "test" in record
            ):
                pair.append(record)
                break
    if len(pair) < 2:
        return None
    given = [
        [line for line in read_lines(answers / record["answers"]) if line["asked"] == "test"]
        for record in pair
    ]
    differing = [
        row for row, (a, b) in enumerate(zip(*given, strict=True)) if a["answer"] != b["answer"]
    ]
    rows = differing[:MOST]
    texts = [contest.test[row].text for row in rows]
    sides = []
    for record, lines in zip(pair, given, strict=True):
        config = dict(record["config"])
        cell = Cell.from_dict({**config, "more": ()})
        classifier = METHODS[cell.method].learn(lesson_of(contest, cell)) if rows else None
        sides.append(
            [
                {
                    "label": (label := lines[row]["answer"]),
                    "p": lines[row]["probabilities"][label],
                    **(_why(classifier, text) if classifier else {}),
                }
                for row, text in zip(rows, texts, strict=True)
            ]
        )
    return {
        "a": pair[0]["config"]["method"],
        "b": pair[1]["config"]["method"],
        "budget": plan.budgets[-1],
        "seed": plan.seeds[0],
        "count": len(differing),
        "items": [
            {"text": text, "truth": contest.test[row].label, "a": a, "b": b}
            for row, text, a, b in zip(rows, texts, *sides, strict=True)
        ],
    }


def _why(classifier: Classifier, text: str) -> Mapping[str, Any]:
    """What an answer rests on: words and their effects, or what was shown and the prompt."""
    known = classifier.classifier if isinstance(classifier, Widened) else classifier
    if isinstance(known, FineTuned):
        found = attribute(known, text)
        return {
            "words": [[word.text, word.effect] for word in found.words],
            "unit": found.unit,
            "note": "what changes when a word is left out (occlusion)",
        }
    (said,) = known.predict([text])
    if isinstance(said, FewShotPrediction):
        return {
            "prompt": said.prompt,
            "demonstrations": [
                {"text": shown.text, "label": shown.label, "similarity": shown.similarity}
                for shown in said.demonstrations
            ],
        }
    return {}
