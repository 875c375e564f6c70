"""Where the fine-tuned answer and the few-shot one differ, with what each of them rests on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clfcore.attribution import attribute
from clfcore.evaluation.records import Record, read_lines
from clfcore.fine_tuned import FineTuned
from clfcore.types import Classifier
from icl.answering import FewShotPrediction
from icl.compare.learn.labels import WithAllLabels
from icl.compare.methods import METHODS
from icl.compare.plan import ComparisonCell, Plan
from icl.compare.run import method_input
from icl.compare.task_split import TaskSplit
from icl.lm.connection import Connection

EXPLAINED_MESSAGES = 20  # at most


def explain(
    plan: Plan, split: TaskSplit, records: Sequence[Record], answers: Path
) -> dict[str, Any] | None:
    """The messages that a fine-tuned method and a few-shot one answer differently, and why.

    It is the first method of either family, trained again at the largest budget with the first
    seed, which gives the same answers.

    Args:
        plan: what was run.
        split: on which messages.
        records: of its cells.
        answers: the folder with their answers.

    Returns:
        ``None`` where one of the two is missing. Else ``a`` and ``b``, the methods; ``count``, how
        many messages they answer differently; and ``items``, the first ``EXPLAINED_MESSAGES`` of
        these: text, truth, and for each method label, probability and what it rests on.
    """
    first: dict[str, Record] = {}
    for record in records:
        config = record["config"]
        is_largest = config["budget"] == plan.budgets[-1]
        if "test" in record and is_largest and config["seed"] == plan.seeds[0]:
            first.setdefault(METHODS[config["method"]].family, record)
    if not first.keys() >= {"fine_tuned", "few_shot"}:
        return None
    pair = [first["fine_tuned"], first["few_shot"]]
    lines = [
        [line for line in read_lines(answers / record["answers"]) if line["asked"] == "test"]
        for record in pair
    ]
    differing = [
        row for row, (a, b) in enumerate(zip(*lines, strict=True)) if a["answer"] != b["answer"]
    ]
    rows = differing[:EXPLAINED_MESSAGES]
    explained = [
        _explained(record, [answered[row] for row in rows], [split.test[row].text for row in rows],
                   split, plan.connection)
        for record, answered in zip(pair, lines, strict=True)
    ]  # fmt: skip
    return {
        "a": pair[0]["config"]["method"],
        "b": pair[1]["config"]["method"],
        "budget": plan.budgets[-1],
        "seed": plan.seeds[0],
        "count": len(differing),
        "items": [
            {"text": split.test[row].text, "truth": split.test[row].label, "a": a, "b": b}
            for row, a, b in zip(rows, *explained, strict=True)
        ],
    }


def _explained(
    record: Record,
    lines: Sequence[Record],
    texts: Sequence[str],
    split: TaskSplit,
    connection: Connection,
) -> list[dict[str, Any]]:
    """What a cell answered, and what each answer rests on."""
    if not texts:
        return []
    cell = ComparisonCell.from_dict(
        {**record["config"], "more": (), "inputs": record["inputs"], "connection": connection}
    )
    classifier = METHODS[cell.method].learn(method_input(split, cell, record.get("chosen")))
    return [
        {
            "label": line["answer"],
            "p": None if line["answer"] is None else line["probabilities"][line["answer"]],
            **_reasons(classifier, text),
        }
        for line, text in zip(lines, texts, strict=True)
    ]


def _reasons(classifier: Classifier, text: str) -> Mapping[str, Any]:
    """What an answer rests on: words and their effects, or what was shown and the prompt."""
    inner = classifier.classifier if isinstance(classifier, WithAllLabels) else classifier
    if isinstance(inner, FineTuned):
        attribution = attribute(inner, text)
        return {
            "words": [[word.text, word.effect] for word in attribution.words],
            "unit": attribution.unit,
            "note": "what changes when a word is left out (occlusion)",
        }
    (answer,) = inner.predict([text])
    if isinstance(answer, FewShotPrediction):
        return {
            "prompt": answer.prompt,
            "demonstrations": [
                {"text": shown.text, "label": shown.label, "similarity": shown.similarity}
                for shown in answer.demonstrations
            ],
        }
    return {}
