"""Quantization-aware training: what is learned through rounding, and what is stored of it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from clfcore.errors import TuneshotError
from clfcore.model.classifier import class_logits
from clfcore.quantization.learning import (
    ACTIVATION_BITS,
    RoundedLinear,
    round_linears,
    settle,
    straight_through,
)
from clfcore.quantization.schemes import SCHEMES, quantize, requantized
from clfcore.quantization.uniform import round_activations
from clfcore.training.classification import fit
from clfcore.training.settings import FULL_PRECISION, QAT, TrainConfig, settings_for
from clfcore.weights.checkpoint import load_checkpoint, save_checkpoint
from clfcore.weights.meta import Meta
from clfcore.weights.storage import Storage
from tests.support.tiny import CFG, LABELS, loss_and_accuracy, tiny, toy_data

TERNARY = SCHEMES["ternary"]
every_scheme = pytest.mark.parametrize("scheme", [name for name in QAT if name != FULL_PRECISION])


def rounded_linear(scheme="ternary", seed=0):
    torch.manual_seed(seed)
    return RoundedLinear(nn.Linear(6, 4), ACTIVATION_BITS, scheme)


# --- the straight-through estimator -------------------------------------------------------------


def test_its_value_is_the_rounded_one_and_its_gradient_the_identity():
    exact = torch.randn(5, 3, requires_grad=True)
    rounded = straight_through(exact, exact.round())
    assert torch.equal(rounded, exact.round())
    above = torch.randn(5, 3)
    rounded.backward(above)
    assert torch.equal(exact.grad, above)


def test_plain_rounding_has_no_gradient_to_learn_from():
    exact = torch.randn(5, 3, requires_grad=True)
    exact.round().sum().backward()
    assert not exact.grad.any()


@every_scheme
def test_the_gradients_of_a_layer_are_those_of_a_plain_one_with_the_rounded_numbers(scheme):
    layer, x = rounded_linear(scheme), torch.randn(7, 6, requires_grad=True)
    plain = nn.Linear(6, 4)
    plain.load_state_dict(
        {**layer.state_dict(), "weight": requantized(layer.weight, SCHEMES[scheme])}
    )
    x_rounded = round_activations(x.detach()).requires_grad_()
    above = torch.randn(7, 4)
    layer(x).backward(above)
    plain(x_rounded).backward(above)
    assert torch.equal(x.grad, x_rounded.grad)
    assert torch.equal(layer.weight.grad, plain.weight.grad)
    assert torch.equal(layer.bias.grad, plain.bias.grad)


def test_a_step_of_a_regression_is_the_one_in_closed_form_and_many_find_the_known_answer():
    """Loss ½ ‖Q(W) − T‖² on unit vectors: a step of η takes W to W − η (Q(W) − T)."""
    answer = 0.5 * torch.tensor([[1.0, 0, -1, 1], [0, -1, 1, 0], [-1, 1, 0, -1]])
    weights = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    rate, first = 0.05, None
    for _ in range(400):
        before, rounded = weights.detach().clone(), requantized(weights, TERNARY)
        (0.5 * (straight_through(weights, rounded) - answer).square().sum()).backward()
        with torch.no_grad():
            weights -= rate * weights.grad
        weights.grad = None
        if first is None:
            first = (weights.detach() - before, -rate * (rounded - answer))
    assert torch.allclose(*first, atol=1e-6)
    found = quantize(weights, TERNARY)
    assert torch.equal(found.codes, (2 * answer).char())
    assert float(found.scales["scale"]) == pytest.approx(0.5, abs=0.03)


# --- settled and stored -------------------------------------------------------------------------


@given(
    st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=40),
    st.floats(2.0**-10, 8, width=16),
)
@settings(max_examples=50, deadline=None)
def test_weights_that_are_ternary_already_stay_what_they_are(codes, scale):
    weights = scale * torch.tensor([codes], dtype=torch.float32)
    assert torch.equal(requantized(weights, TERNARY), weights)


@every_scheme
def test_a_settled_layer_computes_with_the_same_bits_and_rounds_no_weight_again(scheme):
    layer, x = rounded_linear(scheme), torch.randn(7, 6)
    learned = layer(x)
    settle(nn.Sequential(layer))
    assert layer.scheme is None
    assert torch.equal(layer(x), learned)
    assert torch.equal(requantized(layer.weight, SCHEMES[scheme]), layer.weight)


@every_scheme
def test_the_stored_classifier_answers_with_the_bits_of_the_one_that_learned(tmp_path, scheme):
    model, data = tiny(), toy_data()
    loss, _ = loss_and_accuracy(model, data)
    round_linears(model.trunk.trf_blocks, ACTIVATION_BITS, scheme)
    fit(model, data, data, TrainConfig(layers="all", balance="none", epochs=10, learning_rate=3e-3))
    learned = class_logits(model, data.tokens)
    assert loss_and_accuracy(model, data)[0] < 0.6 * loss
    settle(model.trunk.trf_blocks)
    meta = Meta("tiny", LABELS, CFG, activation_bits=ACTIVATION_BITS)
    save_checkpoint(tmp_path / "packed", model, meta, Storage(scheme, "blocks"))
    save_checkpoint(tmp_path / "floats", model, meta)
    for folder in ("packed", "floats"):
        loaded = load_checkpoint(tmp_path / folder)
        assert loaded.meta == meta
        assert torch.equal(class_logits(loaded.model, data.tokens), learned)
    sizes = [(tmp_path / f / "model.safetensors").stat().st_size for f in ("packed", "floats")]
    blocks = sum(w.numel() for w in model.trunk.trf_blocks.parameters() if w.dim() == 2)
    assert sizes[1] - sizes[0] > 3 * blocks  # of 4 bytes a weight, less than one is left


def test_activations_are_rounded_after_loading_only_where_the_checkpoint_says_so(tmp_path):
    model, data = tiny(), toy_data()
    save_checkpoint(tmp_path / "exact", model, Meta("tiny", LABELS, CFG))
    save_checkpoint(tmp_path / "rounded", model, Meta("tiny", LABELS, CFG, activation_bits=3))
    exact, rounded = (
        class_logits(load_checkpoint(tmp_path / folder).model, data.tokens)
        for folder in ("exact", "rounded")
    )
    assert torch.equal(exact, class_logits(model, data.tokens))
    assert not torch.allclose(exact, rounded, atol=1e-3)


# --- settings -----------------------------------------------------------------------------------


def test_what_rounding_cannot_go_with_is_one_line():
    for other in ({"layers": "last_block"}, {"layers": "lora"}, {"layers": "all", "mix": 0.5}):
        with pytest.raises(TuneshotError, match="it goes with layers all and mix 1"):
            TrainConfig(qat="ternary", **other)


def test_gpt2_mini_is_not_mixed_with_its_old_weights_where_these_were_not_rounded():
    assert settings_for("gpt2-mini").mix < 1
    assert settings_for("gpt2-mini", qat="ternary").mix == 1
