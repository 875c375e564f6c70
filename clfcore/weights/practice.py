"""More to learn from than the labelled messages: a teacher's answers to texts without labels.

Knowledge distillation (Hinton et al. 2015) on augmented data (TinyBERT, Jiao et al. 2020). The
teacher is a logistic regression on all-MiniLM-L6-v2's vectors of the labelled messages; the texts
are these messages spliced together or with words replaced. Nothing else is looked at.
"""

from collections.abc import Sequence

import numpy as np

from clfcore.data.labels import labels_of_few_messages
from clfcore.errors import TuneshotError
from clfcore.types import OnProgress
from clfcore.weights.distill import practice_texts, teacher_vectors

_TEACHERS_SHARE = 0.5  # of the target of a labelled message; the rest is its label


def practice(
    texts: Sequence[str],
    labels: Sequence[int],
    weights: Sequence[float],
    classes: int,
    count: int,
    seed: int,
    on_progress: OnProgress,
) -> tuple[list[str], np.ndarray]:
    """Practice texts, and what is to be answered to the messages and to them.

    Args:
        texts: (N,) labelled messages.
        labels: (N,) label numbers, 0 to ``classes`` - 1, each at least once.
        weights: (N,) how much each counts; what counts nothing is not made texts of.
        classes: how many labels there are, at least two.
        count: M, how many texts to make.
        seed: same seed, same texts.
        on_progress: called with (stage, done, total, figures).

    Returns:
        (M,) texts; and (N + M, classes) float32 probabilities.

    Raises:
        TuneshotError: no message has a word in it.
    """
    from sklearn.linear_model import LogisticRegression

    sources = [text for text, weight in zip(texts, weights, strict=True) if weight]
    if not any(text.strip() for text in sources):
        raise TuneshotError(
            "practice texts are made of messages, and there is none with a word; add some, or "
            "choose practice 0"
        )
    made = practice_texts(sources, count, np.random.default_rng(seed))
    vectors = teacher_vectors([*texts, *made], "embed practice texts", on_progress)  # (N + M, 384)
    regression = LogisticRegression(C=10, class_weight="balanced", max_iter=2000)
    with labels_of_few_messages():
        regression.fit(vectors[: len(texts)], labels, sample_weight=weights)
    targets = regression.predict_proba(vectors).astype(np.float32)  # (N + M, classes)
    own = np.eye(classes, dtype=np.float32)[np.asarray(labels)]  # (N, classes)
    targets[: len(texts)] += (1 - _TEACHERS_SHARE) * (own - targets[: len(texts)])
    return made, targets
