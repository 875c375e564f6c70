"""What prompts really showed: of each answer, of many, and in words.

An example that does not fit into the prompt is left out, and a pool may have too few of a label: so
k and the balance as asked for are not what a language model read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

MANY_LABELS = 6  # of more, the table says the range only

Shown = Mapping[str, Any]  # plain values for JSON


def shown_by(prediction: Any, pool_rows: Sequence[int] | None = None) -> dict[str, Any] | None:  # noqa: ANN401
    """What a record says of an answer's examples; ``None`` of an answer that rests on none.

    Args:
        prediction: of any classifier; examples are its ``demonstrations``.
        pool_rows: where the classifier's pool is a part of another one, its rows in that one.

    Returns:
        ``rows`` of the pool, ``labels``, ``similarity`` and ``score``, where there are such, each
        in prompt order; ``dropped``, how many did not fit.
    """
    if not hasattr(prediction, "demonstrations"):
        return None
    shown = prediction.demonstrations
    rows = [each.row if pool_rows is None else pool_rows[each.row] for each in shown]
    columns = {"rows": rows, "labels": [each.label for each in shown]}
    for name in ("similarity", "score"):
        values = [getattr(each, name) for each in shown]
        if any(value is not None for value in values):
            columns[name] = [value and round(value, 4) for value in values]
    return {**columns, "dropped": prediction.dropped}


def summary_of(answers: Sequence[Shown], labels: Sequence[str]) -> dict[str, Any] | None:
    """How many examples prompts showed, and of which labels.

    Args:
        answers: what each one showed; of these ``labels`` counts, one label an example.
        labels: all of the task.

    Returns:
        ``messages``, how many; ``mean`` and ``least`` examples; ``labels``, label -> mean examples.
        ``None`` without answers.
    """
    if not answers:
        return None
    counts = [len(answer["labels"]) for answer in answers]
    every = [label for answer in answers for label in answer["labels"]]
    return {
        "messages": len(answers),
        "mean": round(sum(counts) / len(answers), 4),
        "least": min(counts),
        "labels": {label: round(every.count(label) / len(answers), 4) for label in labels},
    }


def pooled(summaries: Sequence[Shown]) -> dict[str, Any] | None:
    """One summary of several about the same labels, each message counting the same."""
    messages = sum(each["messages"] for each in summaries)
    if not messages:
        return None

    def mean(values: Sequence[float]) -> float:
        weighed = zip(values, summaries, strict=True)
        return sum(value * each["messages"] for value, each in weighed) / messages

    return {
        "messages": messages,
        "mean": mean([each["mean"] for each in summaries]),
        "least": min(each["least"] for each in summaries),
        "labels": {
            label: mean([each["labels"].get(label, 0.0) for each in summaries])
            for label in summaries[0]["labels"]
        },
    }


def number_in_words(summary: Shown | None) -> str:
    """``3.9, least 2``: the mean and the least number of examples."""
    return f"{summary['mean']:.1f}, least {summary['least']}" if summary else "–"


def labels_in_words(summary: Shown | None) -> str:
    """``ham 2.0, spam 1.9``: examples of each label in a prompt, on average."""
    if not summary:
        return "–"
    means = summary["labels"]
    if len(means) > MANY_LABELS:
        return f"{len(means)} labels, {min(means.values()):.2f} to {max(means.values()):.2f} each"
    return ", ".join(f"{label} {mean:.1f}" for label, mean in means.items())
