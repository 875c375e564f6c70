"""A head in plain torch answers as the scikit-learn estimator it was fitted with."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from clfcore.data.balance import class_weights
from clfcore.errors import TuneshotError
from clfcore.model.heads import HEADS, fit_head, head_from_state
from tests.support.lazy import lazy

pipeline = lazy("sklearn.pipeline")
preprocessing = lazy("sklearn.preprocessing")


def vectors_of(classes, n=120, width=8, seed=0):
    """Features of very different means and sizes, as a language model has them."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centres = rng.normal(size=(classes, width))
    vectors = centres[labels] + rng.normal(size=(n, width)) + np.linspace(-5, 5, width)
    return (vectors * np.geomspace(0.01, 30, width)).astype(np.float32), labels


def probabilities(module, vectors):
    with torch.inference_mode():
        return torch.softmax(module(torch.from_numpy(vectors)), dim=-1).numpy()


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("head", HEADS)
def test_a_head_answers_as_scikit_learn_does(head, classes):
    x, y = vectors_of(classes, width=32)
    theirs = pipeline.make_pipeline(preprocessing.StandardScaler(), HEADS[head].estimator(3)).fit(
        x.astype(float), y
    )
    ours = fit_head(x, y, classes, head, seed=3)
    new, _ = vectors_of(classes, width=32, seed=1)
    for some in (x, new):
        expected = theirs.predict_proba(some)
        assert probabilities(ours, some) == pytest.approx(expected, abs=1e-5)
    assert (probabilities(ours, x).argmax(axis=1) == y).mean() > 0.8


@pytest.mark.parametrize("head", HEADS)
def test_a_head_is_plain_float32_torch_with_one_output_per_label(head):
    x, y = vectors_of(2)
    module = fit_head(x, y, 2, head, seed=0)
    assert type(module) is {"logistic": nn.Linear, "mlp": nn.Sequential}[head]
    assert {tensor.dtype for tensor in module.state_dict().values()} == {torch.float32}
    assert module(torch.from_numpy(x)).shape == (len(x), 2)
    names = [name for pair in HEADS[head].tensors for name in pair]
    assert list(module.state_dict()) == names


def test_of_two_labels_the_second_logit_is_the_log_odds():
    x, y = vectors_of(2)
    z = fit_head(x, y, 2, "logistic", seed=0)(torch.from_numpy(x))
    assert (z[:, 0] == 0).all()


@pytest.mark.parametrize("head", HEADS)
def test_the_same_seed_gives_the_same_head_and_torchs_own_generator_is_left_alone(head):
    x, y = vectors_of(3)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    once, again = (fit_head(x, y, 3, head, seed=1).state_dict() for _ in range(2))
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("head", HEADS)
def test_a_feature_that_never_changes_does_no_harm(head):
    x, y = vectors_of(2)
    x[:, 0], x[:, 1], x[:, 2] = 0, 0.1, 3000.7
    before = x.copy()
    module = fit_head(x, y, 2, head, seed=0)
    assert all(torch.isfinite(tensor).all() for tensor in module.state_dict().values())
    assert (probabilities(module, x).argmax(axis=1) == y).mean() > 0.7
    assert (x == before).all()


@settings(max_examples=20)
@given(st.floats(1e-3, 1e3))
def test_the_unit_of_the_features_does_not_matter(unit):
    x, y = vectors_of(3)
    other = (x * unit).astype(np.float32)
    a = probabilities(fit_head(x, y, 3, "logistic", seed=0), x)
    b = probabilities(fit_head(other, y, 3, "logistic", seed=0), other)
    assert b == pytest.approx(a, abs=1e-3)


@pytest.mark.parametrize("head", HEADS)
def test_weights_find_more_of_the_rare_label(head):
    rng = np.random.default_rng(0)
    y = np.array([0] * 200 + [1] * 20)
    x = (rng.normal(size=(220, 2)) + y[:, None]).astype(np.float32)

    def found(weights):
        chosen = probabilities(fit_head(x, y, 2, head, 0, weights), x).argmax(axis=1)
        return (chosen[y == 1] == 1).mean()

    assert found(class_weights(y.tolist(), "class_weights")) > found(None) + 0.2


@pytest.mark.parametrize("head", HEADS)
def test_weights_of_one_are_no_weights(head):
    x, y = vectors_of(3)
    plain, weighted = (
        fit_head(x, y, 3, head, 0, weights).state_dict() for weights in (None, [1.0] * 3)
    )
    assert all(torch.equal(plain[name], weighted[name]) for name in plain)


def test_an_unknown_head_lists_the_choices_and_a_label_without_messages_is_named():
    x, y = vectors_of(2)
    with pytest.raises(TuneshotError, match="unknown head 'svm'; choose from logistic, mlp"):
        fit_head(x, y, 2, "svm", seed=0)
    with pytest.raises(TuneshotError, match="label number 2 has no message"):
        fit_head(x, y, 3, "logistic", seed=0)


# --- from a checkpoint --------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("head", HEADS)
def test_a_head_comes_back_from_its_tensors(head, classes):
    x, y = vectors_of(classes)
    module = fit_head(x, y, classes, head, seed=0)
    again = head_from_state(module.state_dict())
    assert type(again) is type(module)
    assert torch.equal(again(torch.from_numpy(x)), module(torch.from_numpy(x)))


def test_a_head_does_not_share_memory_with_the_tensors_it_came_from():
    state = {"weight": torch.ones(2, 4), "bias": torch.zeros(2)}
    module = head_from_state(state)
    state["weight"].zero_()
    assert module.weight.sum() == 8


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"weight": (2, 4)},
        {"weight": (2, 4), "bias": (3,)},
        {"weight": (2,), "bias": (2,)},
        {"weight": (2, 4), "bias": (2,), "extra": (1,)},
        {"0.weight": (8, 4), "0.bias": (8,)},
        {"0.weight": (8, 4), "0.bias": (8,), "2.weight": (2, 7), "2.bias": (2,)},
        {"0.weight": (8, 4), "0.bias": (4,), "2.weight": (2, 8), "2.bias": (2,)},
        {"0.weight": (8, 4), "0.bias": (8,), "1.weight": (2, 8), "1.bias": (2,)},
    ],
)
def test_tensors_that_are_no_head_are_refused_in_one_line(shapes):
    with pytest.raises(TuneshotError, match=r"not a classification head.*expected") as caught:
        head_from_state({name: torch.zeros(shape) for name, shape in shapes.items()})
    assert "\n" not in str(caught.value)
    assert all(name in str(caught.value) for name in shapes)
