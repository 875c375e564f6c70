"""Which of some candidates to take, by their answers to the same labelled messages: arithmetic.

Candidates are compared by how probable they make the right label, not by how often it is the
likeliest: of two that are right as often, the one that knows when it is wrong is better, and the
same difference shows with fewer messages (Bornschein et al. 2025, arXiv 2512.19879, choose
prompts by the same measure). A language model is too sure or too unsure of all its answers alike,
which says nothing about a prompt, so each candidate is first given the temperature that suits it
best (Guo et al. 2017).

The best of many looks better than it is. So the default is left only for what is better beyond
what the luckiest of as many equal candidates would show: the reality check of White (2000,
Econometrica 68, 1097-1126), each gain in its own standard errors (Hansen 2005, Journal of Business
& Economic Statistics 23, 365-380).
"""

from typing import NamedTuple

import numpy as np

TEMPERATURES = np.geomspace(0.25, 8, 11)
NEVER_SURER = 0.02  # share of a guess mixed into every answer: one bad one must not decide
CHANCE = 0.1  # that the luckiest of candidates no better than the default would be taken
RESAMPLES = 2000


class Choice(NamedTuple):
    """What is taken.

    Attributes:
        candidate: which; 0 is the default.
        chance: how often the luckiest of equal candidates would show as large a gain, in its
            standard errors, as the best one here; 1 if none shows a gain.
    """

    candidate: int
    chance: float


def losses(probabilities: np.ndarray, right: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Minus the log-probability of the right label, at the best of ``TEMPERATURES``.

    Args:
        probabilities: (M, C), one candidate's answers.
        right: (M,) int64, the column of each message's label.
        weights: (M,) how much each message counts; sums to 1.

    Returns:
        (M,) float64, nats.
    """
    logs = np.log(np.maximum(probabilities, np.finfo(float).tiny))  # (M, C)
    logs = logs / TEMPERATURES[:, None, None]  # (T, M, C)
    logs -= np.logaddexp.reduce(logs, axis=2, keepdims=True)
    of_right = np.exp(logs[:, np.arange(len(right)), right])  # (T, M)
    guess = 1 / probabilities.shape[1]
    nats = -np.log((1 - NEVER_SURER) * of_right + NEVER_SURER * guess)  # (T, M)
    return np.asarray(nats[(nats @ weights).argmin()])


def choose(candidates: np.ndarray, weights: np.ndarray, seed: int) -> Choice:
    """The simplest of those within one standard error of the best; the default without evidence.

    Args:
        candidates: (J, M) float64, the losses of each, the default first, then the simplest first.
        weights: (M,) how much each message counts; sums to 1.
        seed: of the resamples.
    """
    messages = len(weights)
    gains = (candidates[0] - candidates) * weights * messages  # (J, M); the mean counts
    mean, error = gains.mean(axis=1), _standard_errors(gains)
    differs = error > 0  # from the default, in some answer at least
    if messages < 2 or not differs.any():
        return Choice(0, 1.0)
    in_errors = mean[differs] / error[differs]  # (J',)
    draws = np.random.default_rng(seed).multinomial(messages, [1 / messages] * messages, RESAMPLES)
    resampled = (draws @ gains[differs].T) / messages - mean[differs]  # (B, J'), of equal ones
    luckiest = (resampled / error[differs]).max(axis=1)  # (B,)
    chance = float((luckiest >= in_errors.max()).mean()) if in_errors.max() > 0 else 1.0
    better = np.zeros(len(candidates), bool)
    better[differs] = in_errors > max(0.0, float(np.quantile(luckiest, 1 - CHANCE)))
    if not better.any():
        return Choice(0, chance)
    best = int(np.where(better, mean, -np.inf).argmax())
    level = mean[best] - mean <= _standard_errors(gains[best] - gains)
    return Choice(int((better & level).argmax()), chance)


def _standard_errors(values: np.ndarray) -> np.ndarray:
    """Of the means over the last axis, (J, M) -> (J,)."""
    return np.asarray(values.std(axis=-1, ddof=1) / np.sqrt(values.shape[-1]))
