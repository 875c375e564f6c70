"""The same examples in several orders, and which of these promise the best answers.

One set of examples gives anything from chance to the best answers, depending on their order alone
(Lu et al. 2022, Fantastically Ordered Prompts and Where to Find Them). Bad orders make a language
model say the same to every message. So the paper asks about some messages after each order, without
their labels, and prefers those after which the answers have the largest entropy.
"""

import math
from collections.abc import Callable

import numpy as np

ORDERS_TRIED = 8  # before one is chosen; the paper tries all 24 of four examples
ORDER_MESSAGES = 16  # that are asked about after each of them


def different_orders(n: int, count: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Different orders of n things, ``count`` or all: as they are, reversed, then at random."""
    present = tuple(range(n))
    orders = dict.fromkeys([present, present[::-1]])  # in this order, without duplicates
    while len(orders) < min(count, math.factorial(n)):
        orders[tuple(rng.permutation(n).tolist())] = None
    return list(orders)[:count]


def global_entropy(probabilities: np.ndarray) -> np.ndarray:
    """GlobalE: the entropy, in nats, of how often each label is the answer; larger is better.

    Args:
        probabilities: (messages, orders, C) of the labels.

    Returns:
        (orders,) float64.
    """
    labels = probabilities.shape[-1]
    answers = probabilities.argmax(axis=-1)  # (messages, orders)
    shares = np.mean(answers[..., None] == np.arange(labels), axis=0)  # (orders, C)
    return _entropy(shares)


def local_entropy(probabilities: np.ndarray) -> np.ndarray:
    """LocalE: the mean entropy, in nats, of single answers; arguments as ``global_entropy``."""
    return _entropy(probabilities).mean(axis=0)


def _entropy(p: np.ndarray) -> np.ndarray:
    """Over the last axis, in nats: (..., C) -> (...)."""
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=-1)  # what never happens adds nothing


# (messages, orders, C) probabilities -> (orders,) how promising each order is.
ENTROPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "global_entropy": global_entropy,
    "local_entropy": local_entropy,
}
