"""QLoRA's trunk: NF4 codes in memory, floats only while a layer computes."""

import copy

import pytest
import torch
from torch import nn

from clfcore.model.adapters import adapt, merge
from clfcore.model.classifier import class_logits
from clfcore.quantization.frozen import NF4Linear, freeze_in_nf4, thaw
from clfcore.quantization.schemes import SCHEMES, requantized
from tests.support.tiny import tiny, toy_data

NF4 = SCHEMES["nf4"]


def linear(rows=48, columns=64, bias=True):
    torch.manual_seed(0)
    return nn.Linear(columns, rows, bias=bias)


@pytest.fixture
def made(monkeypatch):
    """The layers whose floats were made, in this order."""
    layers, make = [], NF4Linear.in_scratch
    monkeypatch.setattr(NF4Linear, "in_scratch", lambda of: layers.append(of) or make(of))
    return layers


@pytest.mark.parametrize(("rows", "columns"), [(48, 64), (3, 5), (1, 1), (7, 65), (2, 96)])
def test_its_weights_are_those_that_quantizing_leaves_bit_for_bit(rows, columns):
    plain = linear(rows, columns)
    assert torch.equal(NF4Linear(plain).weight, requantized(plain.weight, NF4))


def test_it_lies_in_memory_in_an_eighth_and_learns_nothing():
    plain = linear(256, 256, bias=False)
    layer = NF4Linear(plain)
    bits = 8 * sum(tensor.nbytes for tensor in layer.buffers()) / plain.weight.numel()
    assert bits == pytest.approx(4.127, abs=0.01)  # 4, 8 for a block of 64, 32 for 256 of these
    assert not list(layer.parameters())
    assert not layer.state_dict()


@pytest.mark.parametrize("bias", [True, False])
def test_forward_and_gradient_are_those_of_a_plain_layer_with_its_weights(bias):
    layer = NF4Linear(linear(bias=bias))
    plain = layer.as_floats()
    x = torch.randn(2, 5, 64, requires_grad=True)
    other, above = x.detach().clone().requires_grad_(), torch.randn(2, 5, 48)
    layer(x).backward(above)
    plain(other).backward(above)
    assert torch.allclose(layer(x), plain(other), atol=1e-6)
    assert torch.allclose(x.grad, other.grad, atol=1e-6)


def test_floats_are_not_kept_for_the_backward_pass_but_made_again(made):
    first, second = NF4Linear(linear()), NF4Linear(linear(64, 48))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = second(first(torch.randn(5, 64, requires_grad=True))).sum()
    assert not [tensor for tensor in kept if tensor.numel() >= 48 * 64]
    assert made == [first, second]
    y.backward()
    assert made == [first, second, second, first]


def test_layers_share_one_memory_for_their_floats_which_never_mix():
    layers = [NF4Linear(linear(*shape)) for shape in ((48, 64), (64, 48), (96, 64), (3, 5))]
    for layer in (*layers, *reversed(layers)):
        with torch.inference_mode(layer is layers[0]):
            assert torch.equal(layer.in_scratch(), layer.weight)
    places = {layer.in_scratch().untyped_storage().data_ptr() for layer in layers[:3]}
    assert len(places) == 1


def test_where_no_gradient_has_to_pass_floats_are_made_once(made):
    layer = NF4Linear(linear())
    layer(torch.randn(5, 64)).sum().backward()  # the bias learns
    assert made == [layer]


def test_a_layer_computes_in_bfloat16_where_the_others_do():
    layer, x = NF4Linear(linear()), torch.randn(5, 64, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    y.sum().backward()
    assert (y.dtype, x.grad.dtype) == (torch.bfloat16, torch.float32)


def test_its_layers_are_made_without_memory_too():
    with torch.device("meta"):
        layer = NF4Linear(nn.Linear(64, 48))
    assert all(tensor.is_meta for tensor in layer.buffers())
    assert torch.equal(NF4Linear(linear()).weight, requantized(linear().weight, NF4))


# --- with LoRA around it ------------------------------------------------------------------------


def with_adapter(name, *, rounded):
    """A tiny classifier; ``rounded``: its weights are what NF4 leaves, as floats."""
    model = tiny()
    if rounded:
        freeze_in_nf4(model.trunk.trf_blocks)
        thaw(model.trunk.trf_blocks)
    adapt(model, name, rank=4, total_steps=1, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # a new LoRA has zeros, and then half of it no gradient
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return model


def test_gradients_are_those_of_lora_on_the_dequantized_weights():
    ids, lengths = torch.arange(100, 124).view(2, 12), torch.tensor([12, 7])
    gradients = []
    for name, rounded in (("qlora", False), ("lora", True)):
        model = with_adapter(name, rounded=rounded)
        model(ids, lengths).square().sum().backward()
        gradients.append({n: w.grad for n, w in model.named_parameters() if w.requires_grad})
    ours, theirs = gradients
    assert ours.keys() == theirs.keys()
    assert any("lora_A" in name for name in ours)
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], msg=name)


def test_merging_adds_the_adapter_to_the_weights_that_it_was_trained_for():
    data = toy_data()
    model = with_adapter("qlora", rounded=False)
    before = class_logits(model, data.tokens)
    merged = copy.deepcopy(model)
    merge(merged)
    assert not any(isinstance(layer, NF4Linear) for layer in merged.modules())
    assert torch.allclose(class_logits(merged, data.tokens), before, atol=1e-5)
    plain = with_adapter("lora", rounded=True)
    merge(plain)
    theirs = plain.trunk.state_dict()
    for name, weight in merged.trunk.state_dict().items():
        torch.testing.assert_close(weight, theirs[name], msg=name)
