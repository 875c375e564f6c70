"""Rare labels and common ones: what to train on, and how much each label counts.

Works on the training part only; validation and test parts keep their natural ratio. The sampling
itself is imbalanced-learn's (Lemaître et al. 2017). A strategy is of one of four kinds:

    rows        chooses or repeats messages; needs labels only
    neighbours  chooses messages by their vectors
    points      invents vectors, which have no text: for the feature-based approach only
    weights     takes every message as it is, and weighs the loss
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from clfcore.data.labels import labels_of_few_messages
from clfcore.errors import TuneshotError, missing_extra_explained, unknown_choice

if TYPE_CHECKING:  # 130 MB and two seconds, which the rows as they are do not need
    from imblearn.base import BaseSampler


LabelCounts = Mapping[int, int]  # label number -> messages that have it
BalancerKind = Literal["rows", "neighbours", "points", "weights"]


@dataclass(frozen=True, slots=True)
class Balancer:
    """A strategy against imbalance.

    Attributes:
        kind: what it does, and so what it needs; see the top of this file.
        sampler: imbalanced-learn's class, as module and name; ``None``: no sampling.
        settings: (counts, ratio, seed) -> the arguments of that class.
    """

    kind: BalancerKind
    sampler: str | None = None
    settings: Callable[[LabelCounts, float, int], dict[str, Any]] = lambda counts, ratio, seed: {}


def _raised(counts: LabelCounts, ratio: float, seed: int) -> dict[str, Any]:
    """Every label brought to ``ratio`` of the commonest one, rounded down; none gets fewer."""
    least = int(ratio * max(counts.values()))
    targets = {label: max(count, least) for label, count in counts.items()}
    return {"sampling_strategy": targets, "random_state": seed}


def _raised_between(
    neighbours: str, counts: LabelCounts, ratio: float, seed: int
) -> dict[str, Any]:
    """As ``_raised``, with points put between neighbours of the same label.

    Five neighbours, as the papers have it, or as many as the rarest label to be added to has.

    Args:
        neighbours: the sampler's name for their number.
        counts: of the labels.
        ratio: as for ``_raised``.
        seed: as for ``_raised``.

    Raises:
        TuneshotError: a label has one message only, and so no neighbour.
    """
    settings = _raised(counts, ratio, seed)
    growing = {n: c for n, c in counts.items() if settings["sampling_strategy"][n] > c}
    for label, count in growing.items():
        if count < 2:
            raise TuneshotError(
                f"smote and adasyn need 2 messages of a label to put points between; label number "
                f"{label} has {count} in the training part; choose oversample or rose"
            )
    return {**settings, neighbours: min([5, *(count - 1 for count in growing.values())])}


def _lowered(counts: LabelCounts, ratio: float, seed: int) -> dict[str, Any]:
    """The labels that have more than the rarest one / ``ratio``, brought to that, rounded down."""
    most = min(counts.values()) / ratio
    targets = {label: int(most) for label, count in counts.items() if count > most}
    return {"sampling_strategy": targets, "random_state": seed}


def _three_neighbours(counts: LabelCounts, ratio: float, seed: int) -> dict[str, Any]:
    return {"n_neighbors": min(3, sum(counts.values()) - 1)}


BALANCERS: dict[str, Balancer] = {
    "none": Balancer("rows"),
    # More of the rare labels. Repeats rare messages, drawn at random.
    "oversample": Balancer("rows", "over_sampling.RandomOverSampler", _raised),
    # Repeats rare points with Gaussian noise: a smoothed bootstrap (Menardi & Torelli 2014). The
    # noise is as wide as a kernel density estimate of the label would have it, feature by feature.
    # As in imbalanced-learn, the real points stay and only the repeats are smoothed.
    "rose": Balancer(
        "points",
        "over_sampling.RandomOverSampler",
        lambda counts, ratio, seed: {**_raised(counts, ratio, seed), "shrinkage": 1.0},
    ),
    # Points between a rare one and a near one of the same label (Chawla et al. 2002).
    "smote": Balancer("points", "over_sampling.SMOTE", partial(_raised_between, "k_neighbors")),
    # SMOTE, with more points where other labels are near (He et al. 2008). Shares are rounded point
    # by point, so the counts come out near the target, not exactly on it.
    "adasyn": Balancer("points", "over_sampling.ADASYN", partial(_raised_between, "n_neighbors")),
    # Fewer of the common labels. Leaves out common messages at random; ratio 1 is the lecture's
    # balanced training set.
    "undersample": Balancer("rows", "under_sampling.RandomUnderSampler", _lowered),
    # Replaces common points by the centres of their k-means clusters (prototype generation).
    "cluster_centroids": Balancer("points", "under_sampling.ClusterCentroids", _lowered),
    # Cleaner borders. These decide themselves how many to remove, never of the rarest label.
    # Removes the commoner of two mutual nearest neighbours of different labels (Tomek 1976a).
    "tomek_links": Balancer("neighbours", "under_sampling.TomekLinks"),
    # Removes common points with another label among their three neighbours. Wilson (1972) removed
    # a point when most of its neighbours had another label; one is enough, as imbalanced-learn has
    # it.
    "enn": Balancer("neighbours", "under_sampling.EditedNearestNeighbours", _three_neighbours),
    # Edits again until nothing changes or a common label has become the rarest (Tomek 1976b).
    "repeated_enn": Balancer(
        "neighbours", "under_sampling.RepeatedEditedNearestNeighbours", _three_neighbours
    ),
    # Takes every message as it is, and weighs the loss; see ``class_weights``.
    "class_weights": Balancer("weights"),
}


def balanced_rows(
    labels: Sequence[int],
    strategy: str,
    seed: int,
    ratio: float = 1.0,
    vectors: np.ndarray | None = None,
) -> list[int]:
    """Row numbers to train on for one epoch, ascending; repeats where a row is shown again.

    Args:
        labels: (N,) label number of each training message.
        strategy: a key of ``BALANCERS``.
        seed: the draw is the same for the same seed.
        ratio: rare labels are brought to this share of the commonest one, or common ones cut
            until the rarest is this share of them; in (0, 1]. Strategies that only clean borders
            or weigh the loss do not use it.
        vectors: (N, C) one per message; strategies of kind ``neighbours`` need them.

    Raises:
        TuneshotError: unknown ``strategy``, a bad ``ratio``, missing ``vectors``, a strategy that
            invents points, or messages it cannot balance.
    """
    balancer = _checked(strategy, ratio)
    if balancer.kind == "points":
        raise TuneshotError(
            f"{strategy} invents points, and a point has no text: it works with the feature-based "
            "approach (--layers none); these choose among the messages themselves: "
            f"{_names('rows', 'neighbours', 'weights')}"
        )
    if balancer.kind == "neighbours" and vectors is None:
        raise TuneshotError(
            f"{strategy} compares the vectors of messages, and there are none here: use it with "
            "the feature-based approach (--layers none), or choose one that needs labels only: "
            f"{_names('rows', 'weights')}"
        )
    y = np.asarray(labels)
    if balancer.sampler is None:
        return list(range(len(y)))
    x = np.zeros((len(y), 1)) if vectors is None else vectors
    return np.sort(_resampled(strategy, x, y, ratio, seed)[0].sample_indices_).tolist()


def balanced_points(
    vectors: np.ndarray,
    labels: Sequence[int],
    strategy: str,
    seed: int,
    ratio: float = 1.0,
    weights: Sequence[float] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors to train on, their labels and their weights. Their order means nothing.

    Args:
        vectors: (N, C) float32, one per training message.
        labels: (N,) label numbers.
        strategy: any key of ``BALANCERS``.
        seed: as in ``balanced_rows``.
        ratio: as in ``balanced_rows``.
        weights: (N,) how much each message counts; default: all 1.

    Returns:
        (M, C) float32, (M,) int64 and (M,) float64; copies.

    Raises:
        TuneshotError: as ``balanced_rows``, except that points may be invented here, though not
            between messages that count differently.
    """
    balancer, y = _checked(strategy, ratio), np.asarray(labels, np.int64)
    each = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
    if balancer.kind != "points" or balancer.sampler is None:
        rows = balanced_rows(labels, strategy, seed, ratio, vectors)
        return vectors[rows], y[rows], each[rows]
    if (each != 1).any():
        raise TuneshotError(
            f"{strategy} invents points, and a point between two messages has no weight of its "
            f"own: leave the weights out, or choose from {_names('rows', 'neighbours', 'weights')}"
        )
    _, points, point_labels = _resampled(strategy, vectors, y, ratio, seed)
    return points.astype(np.float32), point_labels, np.ones(len(points))


def class_weights(
    labels: Sequence[int], strategy: str, weights: Sequence[float] | None = None
) -> list[float]:
    """How much an error on each label counts: (K,) for labels 0 to K - 1, 1.0 is as usual.

    For ``class_weights`` N / (K N_k), scikit-learn's "balanced": the labels weigh the same in
    total, and a message weighs 1 on average. Every other strategy weighs nothing: all ones.

    Args:
        labels: (N,) label numbers.
        strategy: a key of ``BALANCERS``.
        weights: (N,) of the messages themselves, whose sums are N and N_k then; default: all 1.

    Raises:
        TuneshotError: unknown ``strategy``, or a label without messages to weigh.
    """
    counts = np.bincount(labels, weights)  # (N,) -> (K,)
    if _checked(strategy, ratio=1.0).kind != "weights":
        return [1.0] * len(counts)
    if not counts.all():
        raise TuneshotError(
            f"label number {counts.argmin()} has no message in the training part, so it cannot be "
            "weighed; add messages of it, or choose another seed for the split"
        )
    return (counts.sum() / (len(counts) * counts)).tolist()


def _checked(strategy: str, ratio: float) -> Balancer:
    if strategy not in BALANCERS:
        raise unknown_choice("balance", strategy, BALANCERS)
    if not 0 < ratio <= 1:
        raise TuneshotError(f"the balance ratio must be above 0 and at most 1, not {ratio!r}")
    return BALANCERS[strategy]


def _names(*kinds: BalancerKind) -> str:
    return ", ".join(name for name, balancer in BALANCERS.items() if balancer.kind in kinds)


def _resampled(
    strategy: str, x: np.ndarray, y: np.ndarray, ratio: float, seed: int
) -> tuple["BaseSampler", np.ndarray, np.ndarray]:
    """The fitted sampler, its points and their labels; its refusals become one line."""
    counts, balancer = Counter(y.tolist()), BALANCERS[strategy]
    if len(counts) < 2:
        raise TuneshotError(f"balancing needs messages of at least 2 labels, found {len(counts)}")
    module, _, name = str(balancer.sampler).rpartition(".")
    settings = balancer.settings(counts, ratio, seed)
    with missing_extra_explained(f"the strategy {strategy}"):
        sampler = getattr(import_module(f"imblearn.{module}"), name)(**settings)
    try:
        with labels_of_few_messages():
            new_x, new_y = sampler.fit_resample(x, y)
    except (ValueError, RuntimeError) as error:  # e.g. ADASYN where the labels do not touch
        reason = str(error).split("\n")[0]
        raise TuneshotError(
            f"{strategy} cannot balance these {len(y)} messages ({reason}); choose another strategy"
        ) from error
    if lost := counts.keys() - set(new_y.tolist()):
        raise TuneshotError(
            f"{strategy} would remove every message of label number {min(lost)}: it lies too close "
            "to other labels; choose another strategy"
        )
    return sampler, new_x, new_y
