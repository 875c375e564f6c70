"""After training: probabilities that mean what they say.

Training shows rare labels more often than they occur, which inflates their probability. One slope
and one shift for each label are fitted on the validation part, at its natural class ratio, and
folded into the head, so that a checkpoint needs nothing extra to be calibrated. For two labels
this is Platt scaling (Platt 1999); for more, temperature scaling (Guo et al. 2017) with a prior.
"""

import numpy as np
import torch

from clfcore.model.batching import Encoded
from clfcore.model.classifier import TextClassifier, class_logits
from clfcore.model.heads import last_linear

_SMALLEST_SLOPE = 1e-3  # a slope below zero would turn every answer around


@torch.no_grad()
def calibrate(model: TextClassifier, val: Encoded) -> tuple[float, list[float]]:
    """Rescales the head in place so that its probabilities fit ``val``.

    The targets are not 0 and 1: of a label with n messages, (n + 1) / (n + 2) is its own, as Platt
    proposes, and the rest is spread over the others. On separable data the fit would otherwise be
    infinitely sure of itself. A message counts as often as its weight says.

    Returns:
        The slope, and the shift of each label in nats (0 for the first), that were applied.
    """
    from scipy.optimize import minimize  # half a second, as is scipy.special
    from scipy.special import log_softmax

    z, y = class_logits(model, val.tokens).double().numpy(), np.asarray(val.labels)  # (N, K), (N,)
    classes, weights = z.shape[1], np.asarray(val.weights)
    counts = np.bincount(y, weights, classes)  # (K,)
    share = weights / weights.sum()  # (N,)
    own = (counts + 1) / (counts + 2)  # (K,)
    target = np.repeat((1 - own[y])[:, None] / (classes - 1), classes, axis=1)  # (N, K)
    target[np.arange(len(y)), y] = own[y]

    def loss(free: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean cross-entropy of the slope and K - 1 shifts, and its gradient."""
        shifted = free[0] * z + np.r_[0.0, free[1:]]  # (N, K)
        log_p = log_softmax(shifted, axis=1)
        off = (np.exp(log_p) - target) * share[:, None]  # (N, K)
        gradient = np.r_[(off * z).sum(), off.sum(axis=0)[1:]]
        return float(-(share @ (target * log_p)).sum()), gradient

    solution = minimize(
        loss, np.r_[1.0, np.zeros(classes - 1)], jac=True, method="L-BFGS-B",
        bounds=[(_SMALLEST_SLOPE, None), *[(None, None)] * (classes - 1)],
        options={"ftol": 1e-13, "gtol": 1e-9, "maxiter": 1000},
    ).x  # fmt: skip
    slope, shifts = float(solution[0]), [0.0, *solution[1:].tolist()]
    last = last_linear(model.trunk.out_head)
    last.weight.mul_(slope)
    last.bias.mul_(slope).add_(torch.tensor(shifts, dtype=last.bias.dtype))
    return slope, shifts


def threshold_for(model: TextClassifier, val: Encoded, flag_at_most: float) -> float:
    """The smallest threshold at which no more of the first label is answered with the second.

    Args:
        model: calibrated, of two labels.
        val: the validation part.
        flag_at_most: share of the first label's messages that may be.

    Returns:
        A probability, in the middle of the gap it may lie in.
    """
    from scipy.special import softmax

    z = class_logits(model, val.tokens).double().numpy()  # (N, 2)
    p = softmax(z, axis=1)[:, 1]  # (N, 2) -> (N,)
    of_first = np.asarray(val.labels) == 0
    order = np.argsort(-p[of_first])
    first, sums = p[of_first][order], np.asarray(val.weights)[of_first][order].cumsum()
    # The most probable of those that must not be flagged.
    place = np.searchsorted(sums, flag_at_most * sums[-1], side="right")
    highest = first[min(place, len(first) - 1)]
    return float((highest + min([*p[p > highest], 1.0])) / 2)
