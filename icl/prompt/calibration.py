"""Calibration: removing the label probabilities that a prompt has before there is a message.

Demonstrations make some labels likely whatever is asked: the frequent one, the last one shown,
the common word. All three methods estimate these probabilities, the prior p̄, and answer with
p / p̄, made to add up to 1. They differ in what p̄ is the mean of:

- contextual: answers to messages without content (Zhao et al. 2021, Calibrate Before Use);
- domain: answers to random words of the domain (Fei et al. 2023, domain-context calibration);
- batch: answers to real messages, without their labels (Zhou et al. 2023, Batch Calibration).

Contextual and domain calibration read their probes with the demonstrations of each prompt, and an
answer depends on its own prompt only. Batch calibration makes answers depend on the batch, and on
its order if the mean is updated on the way. So the prior is made once, from unlabelled messages of
the training part, and stays as it is: an answer is the same alone or in a batch.

p / p̄ takes all labels for equally frequent. Where they are not (13 % of SMS are spam), the shares
π to be expected are known or guessed, and p · π / p̄ uses them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from icl.prompt.scoring import log_softmax

DOMAIN_PROBES = 20  # of domain words, as in the paper


@dataclass(frozen=True, slots=True)
class Prior:
    """How probable each label is before there is a message: a mean of label probabilities.

    Attributes:
        log_mean: (C,) float64, log p̄.
    """

    log_mean: np.ndarray

    @classmethod
    def of(cls, scores: ArrayLike) -> Self:
        """The mean of some answers.

        Args:
            scores: (n, C) label scores in nats, at least one row.
        """
        log_p = log_softmax(scores)  # (n, C)
        return cls(np.logaddexp.reduce(log_p, axis=0) - np.log(len(log_p)))

    def calibrate(self, scores: ArrayLike, shares: ArrayLike | None = None) -> np.ndarray:
        """Log-probabilities without the prior: p · π / p̄, made to add up to 1.

        Args:
            scores: (..., C) label scores in nats.
            shares: (C,) π, how frequent each label is among the messages; ``None`` = equally.

        Returns:
            (..., C) float64, nats.
        """
        # A label that is impossible even now has nothing to take out.
        bias = np.where(np.isneginf(self.log_mean), 0.0, self.log_mean)
        log_shares = 0.0 if shares is None else np.log(np.maximum(shares, np.finfo(float).tiny))
        return log_softmax(log_softmax(scores) - bias + log_shares)


# --- what is read in place of the message --------------------------------------------------------

CONTENT_FREE = ("N/A", "", "[MASK]")


def content_free(texts: Sequence[str], seed: int) -> list[str]:
    """Three messages that say nothing."""
    return list(CONTENT_FREE)


def domain_words(texts: Sequence[str], seed: int) -> list[str]:
    """Messages of random words of the domain, as long as the average one.

    Args:
        texts: messages of the domain; frequent words are drawn more often.
        seed: of the draw.
    """
    ends = np.cumsum([len(text.split()) for text in texts])
    if not len(ends) or not ends[-1]:
        return [""]
    length = max(1, round(ends[-1] / len(texts)))

    def word(position: int) -> str:
        row = int(np.searchsorted(ends, position, side="right"))
        return texts[row].split()[position - ends[row]]  # from the end: negative

    positions = np.random.default_rng(seed).integers(ends[-1], size=(DOMAIN_PROBES, length))
    return [" ".join(map(word, of_draw)) for of_draw in positions.tolist()]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Where the prior comes from; from nowhere, if neither is set.

    Attributes:
        probes: messages of the pool and a seed -> what each prompt is read with in its message's
            place. The prior belongs to that prompt.
        batch: whether one prior for all prompts is made from their answers to real messages.
    """

    probes: Callable[[Sequence[str], int], list[str]] | None = None
    batch: bool = False


CALIBRATIONS: dict[str, Calibration] = {
    "none": Calibration(),
    "contextual": Calibration(probes=content_free),
    "domain": Calibration(probes=domain_words),
    "batch": Calibration(batch=True),
}
