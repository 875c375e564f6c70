"""A message of weight 2 is learnt from as if it stood there twice; one of weight 0 is not there."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from clfcore.data.balance import BALANCERS, balanced_points, class_weights
from clfcore.errors import TuneshotError
from clfcore.model.batching import Encoded
from clfcore.model.heads import fit_head
from clfcore.training.calibrate import calibrate, threshold_for
from clfcore.training.classification import fit
from clfcore.training.settings import TrainConfig
from tests.support.tiny import all_logits, tiny, toy_data

RNG = np.random.default_rng(0)
TIMES = RNG.integers(1, 4, 40)  # how often each message stands there, or its weight


def weighted(data: Encoded) -> Encoded:
    return Encoded(data.tokens, data.labels, TIMES.astype(float).tolist())


def repeated(data: Encoded) -> Encoded:
    rows = np.repeat(np.arange(len(TIMES)), TIMES)
    return Encoded([data.tokens[row] for row in rows], [data.labels[row] for row in rows])


def test_by_default_every_message_weighs_1():
    assert Encoded([[1], [2]], [0, 1]).weights == [1.0, 1.0]


def test_the_feature_based_head_is_that_of_repeated_messages():
    x = RNG.normal(size=(40, 5)).astype(np.float32)
    y = (x[:, 0] + RNG.normal(size=40) > 0).astype(int)
    one = fit_head(x, y, 2, "logistic", 0, row_weights=TIMES.astype(float))
    two = fit_head(np.repeat(x, TIMES, axis=0), np.repeat(y, TIMES), 2, "logistic", 0)
    for name, tensor in two.state_dict().items():
        torch.testing.assert_close(one.state_dict()[name], tensor, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("balance", ["none", "class_weights"])
@pytest.mark.parametrize("padding", ["dynamic", "none"])
def test_a_step_on_all_messages_is_that_on_repeated_ones(balance, padding):
    """Its gradient is that of the weighted mean loss, in however many passes."""
    config = TrainConfig(
        epochs=2, batch_size=200, layers="all", balance=balance, precision="float32",
        learning_rate=1e-3, label_smoothing=0.1, padding=padding,
    )  # fmt: skip
    data, models = toy_data(), [tiny(), tiny()]
    histories = [
        fit(model, form(data), form(data), config)
        for model, form in zip(models, (weighted, repeated), strict=True)
    ]
    one, two = (all_logits(model, data) for model in models)
    np.testing.assert_allclose(one, two, atol=1e-4)
    assert abs(one - all_logits(tiny(), data)).max() > 0.01  # they have learnt something
    for ours, theirs in zip(*histories, strict=True):
        assert ours.val_loss == pytest.approx(theirs.val_loss, abs=1e-5)
        assert ours.val_accuracy == pytest.approx(theirs.val_accuracy)


def test_calibration_and_threshold_are_those_of_repeated_messages():
    data, rng = toy_data(), np.random.default_rng(1)
    noisy = Encoded(data.tokens, rng.integers(0, 2, 40).tolist())
    models = [tiny(), tiny()]
    (slope, shifts), (slope2, shifts2) = (
        calibrate(model, form(noisy))
        for model, form in zip(models, (weighted, repeated), strict=True)
    )
    assert slope == pytest.approx(slope2, rel=1e-3)
    assert shifts == pytest.approx(shifts2, rel=1e-3, abs=1e-4)
    for share in (0, 0.1, 0.5, 0.9):
        assert threshold_for(models[0], weighted(noisy), share) == pytest.approx(
            threshold_for(models[0], repeated(noisy), share)
        )


def test_weights_of_classes_count_weights_of_messages():
    labels = RNG.integers(0, 3, 40)
    assert class_weights(
        labels.tolist(), "class_weights", TIMES.astype(float).tolist()
    ) == pytest.approx(class_weights(np.repeat(labels, TIMES).tolist(), "class_weights"))


@pytest.mark.parametrize("strategy", BALANCERS)
def test_balancing_keeps_each_message_with_its_weight_or_says_that_it_cannot(strategy):
    vectors = RNG.normal(size=(40, 3)).astype(np.float32)
    labels = [0] * 28 + [1] * 12
    weights = (1 + np.arange(40)).tolist()
    if BALANCERS[strategy].kind == "points":
        with pytest.raises(TuneshotError, match=f"{strategy} invents points.*choose from none"):
            balanced_points(vectors, labels, strategy, 0, 1.0, weights)
        return
    points, _, kept = balanced_points(vectors, labels, strategy, 0, 1.0, weights)
    rows = [int(np.flatnonzero((vectors == point).all(axis=1))[0]) for point in points]
    assert kept.tolist() == [weights[row] for row in rows]


def test_a_message_counts_by_its_weight_also_in_small_steps():
    """Two messages that contradict each other: the heavier one wins."""
    tokens = [[5, 6, 7]] * 20
    labels = [0, 1] * 10
    config = TrainConfig(
        epochs=8, batch_size=4, layers="all", balance="none", precision="float32",
        learning_rate=3e-3,
    )  # fmt: skip
    for heavy in (0, 1):
        data = Encoded(tokens, labels, [5.0 if label == heavy else 1.0 for label in labels])
        model = tiny()
        fit(model, data, data, replace(config, seed=heavy))
        p = torch.tensor(all_logits(model, Encoded(tokens[:1], [0]))).softmax(dim=1)[0]
        assert p[heavy] == pytest.approx(5 / 6, abs=0.12)
