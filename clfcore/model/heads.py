"""The feature-based approach: the model stays frozen, and a small head is fitted to its vectors.

scikit-learn fits the head on standardised vectors. Standardising is a linear step, so it is folded
into the first layer: what is kept is plain torch, reads the vectors as the model gives them, and
needs neither scikit-learn nor a pickle when it is loaded.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from clfcore.data.labels import labels_of_few_messages
from clfcore.errors import TuneshotError, unknown_choice

if TYPE_CHECKING:  # loading a checkpoint needs torch alone, and choosing a head not even that
    from sklearn.base import ClassifierMixin
    from torch import Tensor, nn


Layer = tuple[np.ndarray, np.ndarray]  # weight (out, in), bias (out,)


@dataclass(frozen=True, slots=True)
class Head:
    """A kind of head.

    Attributes:
        estimator: seed -> what scikit-learn fits.
        layers: the linear layers of a fitted estimator, first to last; a ReLU between two.
        tensors: what a checkpoint calls the weight and the bias of each layer.
    """

    estimator: Callable[[int], "ClassifierMixin"]
    layers: Callable[["ClassifierMixin"], list[Layer]]
    tensors: tuple[tuple[str, str], ...]


def _logistic(seed: int) -> "ClassifierMixin":
    """L2-regularised with C = 1; the fit has no randomness, so the seed goes unused."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000)


def _mlp(seed: int) -> "ClassifierMixin":
    """One hidden layer of 64; fitted until its loss no longer falls."""
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(hidden_layer_sizes=(64,), max_iter=1000, random_state=seed)


HEADS: dict[str, Head] = {
    "logistic": Head(
        _logistic, lambda fitted: [(fitted.coef_, fitted.intercept_)], (("weight", "bias"),)
    ),
    "mlp": Head(
        _mlp,
        lambda fitted: [(w.T, b) for w, b in zip(fitted.coefs_, fitted.intercepts_, strict=True)],
        (("0.weight", "0.bias"), ("2.weight", "2.bias")),
    ),
}


def fit_head(
    vectors: np.ndarray,
    labels: np.ndarray,
    classes: int,
    head: str,
    seed: int,
    weights: Sequence[float] | None = None,
    row_weights: np.ndarray | None = None,
) -> "nn.Module":
    """Fits a head that turns vectors into logits, (B, C) -> (B, classes).

    The softmax of its logits is what ``predict_proba`` of scikit-learn would give.

    Args:
        vectors: (N, C) of the frozen model, balanced or not.
        labels: (N,) label numbers, 0 to ``classes`` - 1, each at least once.
        classes: how many labels there are.
        head: a key of ``HEADS``.
        seed: the same seed gives the same head.
        weights: (classes,) how much an error on each label counts; default: all the same.
        row_weights: (N,) how often each vector counts; default: once. As in scikit-learn, only
            the sum over the vectors weighs against the L2 penalty: 2 is as good as two rows.

    Returns:
        ``nn.Linear``, or ``nn.Sequential`` of Linear, ReLU, Linear; float32.

    Raises:
        TuneshotError: unknown ``head``, or a label without vectors.
    """
    from sklearn.preprocessing import StandardScaler

    if head not in HEADS:
        raise unknown_choice("head", head, HEADS)
    if missing := set(range(classes)) - set(labels.tolist()):
        raise TuneshotError(
            f"label number {min(missing)} has no message in the training part; add messages of it, "
            "or choose another seed for the split"
        )
    estimator = HEADS[head].estimator(seed)
    scaler = StandardScaler()
    z = scaler.fit_transform(vectors.astype(np.float64), sample_weight=row_weights)  # (N, C)
    each = np.ones(len(z)) if row_weights is None else row_weights  # (N,)
    if weights is not None:
        each = each * np.asarray(weights)[labels]
    with labels_of_few_messages():
        estimator.fit(z, labels, sample_weight=each)

    layers = HEADS[head].layers(estimator)
    # W ((x - mean) / scale) + b = (W / scale) x + (b - (W / scale) mean). scikit-learn's scale of
    # a feature that never changes is 1.
    weight, bias = layers[0]
    weight = weight / scaler.scale_
    layers[0] = weight, bias - weight @ scaler.mean_
    # Of two labels scikit-learn keeps the log-odds of the second against the first: logits (0, z).
    weight, bias = layers[-1]
    if len(bias) == 1:
        layers[-1] = np.vstack([0 * weight, weight]), np.append(0.0, bias)
    return _module(layers)


def head_from_state(state: Mapping[str, "Tensor"]) -> "nn.Module":
    """The head that has these tensors; names and shapes say which it is.

    Args:
        state: names relative to the head, as in ``HEADS``.

    Raises:
        TuneshotError: these are not the tensors of a head.
    """
    head = _head_with({name: tuple(tensor.shape) for name, tensor in state.items()})
    return _module([(state[weight], state[bias]) for weight, bias in head.tensors])


def head_sizes(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    """How many features the head of these shapes reads, and how many logits it gives.

    Raises:
        TuneshotError: as ``head_from_state``.
    """
    tensors = _head_with(shapes).tensors
    return shapes[tensors[0][0]][1], shapes[tensors[-1][0]][0]


def _head_with(shapes: Mapping[str, tuple[int, ...]]) -> Head:
    for head in HEADS.values():
        if {name for names in head.tensors for name in names} == shapes.keys():
            layers = [(shapes[weight], shapes[bias]) for weight, bias in head.tensors]
            if all(len(weight) == 2 and bias == weight[:1] for weight, bias in layers) and all(
                first[0] == then[1] for (first, _), (then, _) in pairwise(layers)
            ):
                return head
    tensors = ", ".join(f"{name} {shape}" for name, shape in sorted(shapes.items()))
    raise TuneshotError(
        f"not a classification head ({tensors or 'no tensors'}); expected weight and bias, or "
        "0.weight, 0.bias, 2.weight and 2.bias, with shapes that fit together; train it again"
    )


def last_linear(head: "nn.Module") -> "nn.Linear":
    """The layer of ``head`` that gives the logits."""
    from torch import nn

    return [module for module in head.modules() if isinstance(module, nn.Linear)][-1]


def _module(layers: Sequence[tuple[Any, Any]]) -> "nn.Module":
    import torch
    from torch import nn

    linears: list[nn.Module] = []
    for weight, bias in layers:
        # The random first values are overwritten, and leave torch's generator alone. (skip_init
        # would make none, but loads half a second of torch's compiler.)
        with torch.random.fork_rng(devices=[]):
            linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": torch.as_tensor(weight), "bias": torch.as_tensor(bias)})
        linears.append(linear)
    if len(linears) == 1:
        return linears[0]
    return nn.Sequential(linears[0], nn.ReLU(), linears[1])
