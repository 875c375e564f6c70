"""Quantization: what every scheme promises, and what each of them computes."""

import math
from statistics import NormalDist

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clfcore.errors import TuneshotError
from clfcore.quantization.normal_float import LEVELS, nf4
from clfcore.quantization.packing import codes_in_a_byte, pack, unpack
from clfcore.quantization.schemes import SCHEMES, quantize, requantized
from clfcore.quantization.uniform import (
    asymmetric,
    from_asymmetric,
    from_symmetric,
    round_activations,
    symmetric,
)

every_scheme = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
few = settings(max_examples=20, deadline=None)
sizes = st.tuples(st.integers(1, 9), st.integers(1, 70))
matrices = sizes.flatmap(
    lambda shape: arrays("float32", shape, elements=st.floats(-10, 10, width=32))
).map(torch.from_numpy)


def normal(rows=64, columns=256, seed=0, spread=0.05):
    return spread * torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def error(weights, name):
    """Of all weights together, as a part of their size."""
    return float((requantized(weights, SCHEMES[name]) - weights).norm() / weights.norm())


# --- every scheme -------------------------------------------------------------------------------


@every_scheme
@few
@given(weights=matrices)
def test_codes_are_within_their_range_and_scales_are_those_the_scheme_declares(scheme, weights):
    quantized = quantize(weights, scheme)
    assert quantized.codes.shape == weights.shape
    assert scheme.lowest <= quantized.codes.min() <= quantized.codes.max() <= scheme.highest
    types = {"F16": torch.float16, "F32": torch.float32, "U8": torch.uint8}
    declared = scheme.scales(*weights.shape)
    assert {n: (types[kind], length) for n, (kind, length) in declared.items()} == {
        n: (scale.dtype, len(scale)) for n, scale in quantized.scales.items()
    }


@every_scheme
def test_quantizing_again_changes_no_code(scheme):
    first = quantize(normal(), scheme)
    assert torch.equal(quantize(scheme.dequantize(first), scheme).codes, first.codes)


@every_scheme
@few
@given(weights=matrices)
def test_no_sign_is_turned_but_by_binary_which_has_no_zero(scheme, weights):
    back = requantized(weights, scheme)
    if scheme is SCHEMES["binary"]:
        assert ((back > 0) == (weights > weights.mean())).all() or not weights.any()
    else:
        # A block a hundred times smaller than others may get a negative scale by double
        # quantization, in bitsandbytes too.
        turned = back[back * weights < 0]
        assert (turned.abs() <= 0.01 * weights.abs().max()).all()


@every_scheme
def test_nothing_becomes_nothing(scheme):
    assert not requantized(torch.zeros(3, 70), scheme).abs().gt(1e-7).any()


@every_scheme
def test_weights_of_one_value_are_kept_but_where_binary_subtracts_their_mean(scheme):
    for value in (0.25, -0.25):
        back = requantized(torch.full((4, 64), value), scheme)
        if scheme is SCHEMES["binary"]:
            assert back.eq(-0.25).all()  # none is above the mean
        else:
            assert torch.allclose(back, torch.tensor(value), rtol=1e-3)


@every_scheme
def test_what_cannot_be_quantized_is_one_line(scheme):
    bad = {
        "not finite": torch.tensor([[1.0, math.nan]]),
        "not finite numbers": torch.tensor([[1.0, -math.inf]]),
        r"only a matrix of floats can be quantized, not torch.float32 of shape \(3,\)": (
            torch.ones(3)
        ),
        r"shape \(0, 5\)": torch.ones(0, 5),
        r"shape \(5, 0\)": torch.ones(5, 0),
        "not torch.int64": torch.ones(2, 2).long(),
    }
    for words, weights in bad.items():
        with pytest.raises(TuneshotError, match=words):
            quantize(weights, scheme)


def test_fewer_levels_cost_more_and_normal_weights_fit_nf4_better_than_even_levels():
    found = {name: error(normal(), name) for name in SCHEMES}
    assert found["int8"] < 0.01 < found["nf4"] < found["int4"] < found["ternary"]
    assert found["ternary"] < found["binary"]
    assert found["nf4"] < 0.1


def test_one_outlier_costs_its_row_its_block_or_nothing():
    weights = normal()
    weights[5, 7] = 20.0
    with_outlier = {}
    for name in ("int4", "nf4", "ternary"):
        wrong = (requantized(weights, SCHEMES[name]) - weights).abs()
        with_outlier[name] = wrong[5]
        others = torch.cat([wrong[:5], wrong[6:]])
        assert others.max() < 0.2  # the other rows are what they were
    lost = weights[5].abs()
    assert torch.equal(with_outlier["int4"][8:], lost[8:])  # the whole row has become zero
    assert torch.allclose(with_outlier["nf4"][1:64], lost[1:64].index_fill(0, torch.tensor(6), 0))
    assert with_outlier["nf4"][64:].mean() < 0.01  # the next block knows nothing of it
    assert with_outlier["ternary"][7] > 19  # it is one step large, like any other


# --- each scheme --------------------------------------------------------------------------------


def test_symmetric_is_what_the_slide_says():
    """s = 127 / a; times s, rounded, divided by s."""
    weights = torch.tensor([[-1.0, 0.5, 0.004, -0.003, 0.25]])
    s = 127 / 1.0
    codes = symmetric(weights).codes
    assert codes.tolist() == [[-127, 64, 1, 0, 32]]
    assert torch.allclose(from_symmetric(symmetric(weights)), codes / s, rtol=1e-3)


@few
@given(weights=matrices, bits=st.integers(2, 8))
def test_a_weight_changes_by_half_a_step_at_most(bits, weights):
    for rows in (True, False):
        quantized = symmetric(weights, bits, rows)
        step = quantized.scales["scale"].float()[:, None]
        # Of a step so small that 16 bits hold few digits of it, the largest code may be too low.
        slack = 2 ** (bits - 1) * 2.0**-24 + 1e-6 * weights.abs()
        assert ((from_symmetric(quantized) - weights).abs() <= step / 2 + slack).all()
        asym = asymmetric(weights, bits)
        step = asym.scales["scale"].float()[:, None]
        slack = 2**bits * (2.0**-24 + step * 2.0**-11)
        assert ((from_asymmetric(asym) - weights).abs() <= step / 2 + slack).all()


@pytest.mark.parametrize("bits", range(2, 8))
def test_one_bit_more_halves_the_error(bits):
    wrong = [
        float((from_symmetric(symmetric(normal(), b)) - normal()).norm()) for b in (bits, bits + 1)
    ]
    assert 1.5 < wrong[0] / wrong[1] < 3.1


def test_a_step_for_each_row_is_better_than_one_for_all():
    weights = normal() * torch.logspace(-2, 0, 64)[:, None]
    by_row, by_matrix = (from_symmetric(symmetric(weights, 4, rows)) for rows in (True, False))
    assert (by_row - weights)[:20].norm() < 0.2 * (by_matrix - weights)[:20].norm()


def test_asymmetric_wastes_no_level_on_a_side_where_nothing_is():
    weights = normal().abs()
    one_side = {name: error(weights, name) for name in ("int4", "uint4")}
    assert one_side["uint4"] < 0.6 * one_side["int4"]
    assert asymmetric(weights).scales["zero"].eq(0).all()


@pytest.mark.parametrize("bits", [0, 1, 9, -3])
def test_numbers_of_bits_that_mean_nothing_are_one_line(bits):
    for function in (symmetric, round_activations):
        with pytest.raises(TuneshotError, match="bits must be 2 to 8"):
            function(torch.ones(2, 2), bits)


def test_a_scale_beyond_16_bits_is_one_line():
    with pytest.raises(TuneshotError, match="does not fit into 16 bits"):
        symmetric(torch.full((1, 2), 1e30))


@few
@given(weights=matrices)
def test_activations_have_a_grid_for_each_token(weights):
    rounded = round_activations(weights)
    a = weights.abs().amax(dim=1, keepdim=True)
    assert ((rounded - weights).abs() <= a / 254 + 1e-6).all()
    assert torch.allclose(round_activations(weights.repeat(2, 3, 1)), rounded.repeat(2, 3, 1))
    assert torch.allclose(round_activations(rounded), rounded, atol=1e-5)


def test_the_levels_of_nf4_are_quantiles_of_the_normal_distribution():
    """Eight below zero, zero, and seven above, evenly spread; as parts of the outermost."""

    def quantiles(count):
        ends = torch.linspace(0.9677083, 0.5, count, dtype=torch.float64)[:-1].tolist()
        return [NormalDist().inv_cdf(end) for end in ends]

    below, above = quantiles(8), quantiles(9)
    expected = sorted([*(-q for q in below), 0.0, *above])
    assert [level * max(above) for level in LEVELS] == pytest.approx(expected, abs=1e-6)


# Made with bitsandbytes 0.50.2: quantize_4bit(…, quant_type="nf4", blocksize=64), and its nearest
# level (``backends/default/ops.py``) for the scales.
BY_BITSANDBYTES = (
    "04c16e29e3b15c17d29e4b16c28d39e5b16c38d4a15b27c39d4a26b37c49d5a26e18f3b04d17e29f3b05d17e29f4b1"
    "6d28e3a05c16d28e4a15c27d39e4b16c28e2af4c16e28e3b05c17e29e4b15d17e3af4b16d28e3a15c17d29e4b15c27"
    "d39e3c05e18f"
)


def fractions():
    """200 numbers that every machine computes alike, in three blocks and an eighth."""
    return ((torch.arange(200) * 37 % 101 - 50) / torch.arange(100, 300)).reshape(10, 20)


def test_nf4_has_the_codes_and_scales_of_bitsandbytes():
    found = nf4(fractions())
    assert bytes(pack(found.codes, 16).tolist()).hex() == BY_BITSANDBYTES
    assert found.scales["scale"].tolist() == [255, 107, 47, 23]
    assert found.scales["scale_of_scale"].tolist() == pytest.approx([0.21268540620803833], rel=1e-6)
    assert found.scales["scale_mean"].tolist() == pytest.approx([0.28731459379196167], rel=1e-6)


def test_nf4_agrees_with_bitsandbytes_where_it_is_installed():
    """Of the scales its processor kernel looks up a rounded table, so that some are one level off;
    its own reference takes the nearest, as we do."""
    theirs = pytest.importorskip("bitsandbytes.functional")
    for weights in (normal(), normal(1024, 256, 1), fractions()):
        packed, state = theirs.quantize_4bit(
            weights, blocksize=64, quant_type="nf4", compress_statistics=True
        )
        found = nf4(weights)
        assert torch.equal(pack(found.codes, 16), packed.flatten())
        assert torch.equal(found.scales["scale_mean"], state.offset.reshape(1))
        assert torch.equal(found.scales["scale_of_scale"], state.state2.absmax)
        off = (found.scales["scale"].int() - state.absmax.int()).abs()
        assert off.max() <= 1
        assert off.float().mean() < 0.02


def test_ternary_and_binary_are_what_the_papers_say():
    weights = torch.tensor([[1.0, -0.2, 0.1, -0.7]])  # mean 0.05, mean magnitude 0.5
    assert quantize(weights, SCHEMES["ternary"]).codes.tolist() == [[1, 0, 0, -1]]
    assert requantized(weights, SCHEMES["ternary"]).tolist() == [[0.5, 0, 0, -0.5]]
    assert quantize(weights, SCHEMES["binary"]).codes.tolist() == [[1, 0, 1, 0]]
    assert requantized(weights, SCHEMES["binary"]).tolist() == [[0.5, -0.5, 0.5, -0.5]]


# --- bytes --------------------------------------------------------------------------------------


def test_a_byte_holds_as_many_codes_as_it_can():
    assert [codes_in_a_byte(levels) for levels in (2, 3, 15, 16, 255)] == [8, 5, 2, 2, 1]


@few
@given(st.sampled_from([2, 3, 15, 16, 255]), st.integers(0, 40), st.randoms())
def test_what_is_packed_comes_back(levels, count, random):
    codes = torch.tensor([random.randrange(levels) for _ in range(count)], dtype=torch.uint8)
    packed = pack(codes, levels)
    assert len(packed) == math.ceil(count / codes_in_a_byte(levels))
    assert torch.equal(unpack(packed, levels, count), codes)


def test_bytes_that_hold_no_codes_are_one_line():
    with pytest.raises(TuneshotError, match="a byte is 243, and 242 is the largest"):
        unpack(torch.tensor([243], dtype=torch.uint8), 3, 5)
    with pytest.raises(TuneshotError, match="more codes than weights"):
        unpack(torch.tensor([1], dtype=torch.uint8), 16, 1)
