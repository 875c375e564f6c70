"""After training: probabilities that mean what they say.

Training shows spam more often than it occurs, which inflates its probability. Platt scaling
(Platt 1999) fits two numbers on the validation part, at its natural class ratio, and we fold
them into the head, so that a checkpoint needs nothing extra to be calibrated.
"""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from clfcore.batching import by_length
from clfcore.classifier import class_logits
from clfcore.gpt import GPTModel
from clfcore.train import Encoded


@torch.inference_mode()
def margins(model: GPTModel, data: Encoded) -> np.ndarray:
    """Log-odds of the second label against the first: (N,) float64, in nats."""
    model.eval()
    z = np.zeros(len(data.labels))
    for batch in by_length(data.tokens, 64):
        logits = class_logits(model, batch)  # (B, 2)
        z[batch.rows] = (logits[:, 1] - logits[:, 0]).numpy()
    return z


@torch.no_grad()
def platt_scale(model: GPTModel, val: Encoded) -> tuple[float, float]:
    """Rescales a two-label head in place so that its probabilities fit ``val``.

    The targets are not 0 and 1 but (1 / (N- + 2)) and ((N+ + 1) / (N+ + 2)), as Platt proposes:
    on separable data the fit would otherwise be infinitely sure of itself.

    Returns:
        The slope and the shift (nats) that were applied to the log-odds.
    """
    y, z = np.asarray(val.labels), margins(model, val)
    positives, negatives = int(y.sum()), int((1 - y).sum())
    target = np.where(y == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # A soft target t is one row of each label with weights t and 1 - t.
    fit = LogisticRegression(C=np.inf, tol=1e-8).fit(
        np.r_[z, z][:, None], np.r_[np.ones_like(y), np.zeros_like(y)],
        sample_weight=np.r_[target, 1 - target],
    )  # fmt: skip
    slope, shift = float(fit.coef_[0, 0]), float(fit.intercept_[0])
    model.out_head.weight.mul_(slope)
    model.out_head.bias.mul_(slope)
    model.out_head.bias[1] += shift
    return slope, shift
