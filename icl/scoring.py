"""From scores to probabilities."""

from collections.abc import Mapping, Sequence

import numpy as np


def softmax(log_probabilities: Mapping[str, float]) -> dict[str, float]:
    """Label probabilities from the log-probabilities (nats) of the labels' continuations.

    Only the labels compete: what the language model would rather have said is left out.
    """
    scores = np.array(list(log_probabilities.values()), np.float32)
    weights = np.exp(scores - scores.max())
    return dict(zip(log_probabilities, (weights / weights.sum()).tolist(), strict=True))


def vote(
    labels: Sequence[str], neighbours: Sequence[str], similarities: Sequence[float]
) -> dict[str, float]:
    """Each neighbour votes for its label with its similarity (cosine; below zero counts as none).

    The tiny constant makes it a plain majority where no neighbour is similar at all.

    Args:
        labels: all labels, in the order of the result.
        neighbours: the label of each neighbour, at least one.
        similarities: as many.
    """
    weights = dict.fromkeys(labels, 0.0)
    for label, similarity in zip(neighbours, similarities, strict=True):
        weights[label] += max(similarity, 0.0) + 1e-6
    total = sum(weights.values())
    return {label: weight / total for label, weight in weights.items()}
