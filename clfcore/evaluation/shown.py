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
        How many ``examples`` the prompt had room for, and how many were ``dropped``; in prompt
        order their ``rows`` of the pool, ``labels``, ``scores`` (what they were ranked by; ``None``
        of a draw), and ``similarities``, where they were ranked by something else.
    """
    if not hasattr(prediction, "demonstrations"):
        return None
    shown = prediction.demonstrations
    ranked_by_similarity = all(each.score is None for each in shown)
    similarities = _rounded([each.similarity for each in shown])
    scores = similarities if ranked_by_similarity else _rounded([each.score for each in shown])
    return {
        "examples": len(shown),
        "dropped": prediction.dropped,
        "rows": [each.row if pool_rows is None else pool_rows[each.row] for each in shown],
        "labels": [each.label for each in shown],
        "scores": scores,
        **({} if ranked_by_similarity or similarities is None else {"similarities": similarities}),
    }


def _rounded(values: Sequence[float | None]) -> list[float | None] | None:
    """``None`` where there are no values at all."""
    if all(value is None for value in values):
        return None
    return [None if value is None else round(value, 4) for value in values]


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


def shown_together(predictions: Sequence[Any], labels: Sequence[str]) -> dict[str, Any] | None:
    """``summary_of`` answers that rest on examples."""
    return summary_of([each for each in map(shown_by, predictions) if each], labels)


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
