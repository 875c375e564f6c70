"""Which training rows to show, and how often. Works on the training part only."""

from collections.abc import Callable, Sequence

import numpy as np
from imblearn.over_sampling import RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler

from clfcore.errors import one_of


def _as_it_is(labels: np.ndarray, seed: int) -> np.ndarray:
    return np.arange(len(labels))


def _oversample(labels: np.ndarray, seed: int) -> np.ndarray:
    """Every row, and rare labels repeated until there is one of them for two of the commonest."""
    names, counts = np.unique(labels, return_counts=True)
    wanted = {
        name: max(count, counts.max() // 2) for name, count in zip(names, counts, strict=True)
    }
    sampler = RandomOverSampler(sampling_strategy=wanted, random_state=seed)
    return _rows(sampler, labels)


def _undersample(labels: np.ndarray, seed: int) -> np.ndarray:
    """As many rows of each label as the rarest has: the lecture's balanced training set."""
    return _rows(RandomUnderSampler(random_state=seed), labels)


def _rows(sampler: RandomOverSampler | RandomUnderSampler, labels: np.ndarray) -> np.ndarray:
    sampler.fit_resample(np.zeros((len(labels), 1)), labels)
    return np.sort(sampler.sample_indices_)


BALANCERS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "none": _as_it_is,
    "oversample": _oversample,
    "undersample": _undersample,
}


def balanced_rows(labels: Sequence[int], strategy: str, seed: int) -> list[int]:
    """Row numbers to train on for one epoch, ascending; repeats where a row is shown again.

    Args:
        labels: (N,) label of each training row.
        strategy: a key of ``BALANCERS``.
        seed: the draw is the same for the same seed.

    Raises:
        TuneshotError: unknown ``strategy``.
    """
    if strategy not in BALANCERS:
        raise one_of("balance", strategy, BALANCERS)
    return BALANCERS[strategy](np.asarray(labels), seed).tolist()
