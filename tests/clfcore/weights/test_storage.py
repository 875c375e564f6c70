"""Quantized weights on disk: small, and back to the very floats that quantizing leaves."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file

from clfcore.errors import TuneshotError
from clfcore.fine_tuned import FineTuned
from clfcore.paths import TRUNK
from clfcore.quantization.schemes import SCHEMES, SCOPES, requantized
from clfcore.weights.checkpoint import load_checkpoint, save_checkpoint
from clfcore.weights.meta import BUNDLED, Meta
from clfcore.weights.storage import COMPACT, Storage, from_stored, to_stored
from tests.support.hostile import META, WEIGHTS, filled, good_checkpoint, weights
from tests.support.tiny import CFG, LABELS, tiny

every_scheme = pytest.mark.parametrize("scheme", SCHEMES)
PACKED = [name for name in SCHEMES if name != "int8"]
MATRIX = "trf_blocks.0.att.W_query.weight"


def saved(folder, scheme, scope="all", rest="float32"):
    save_checkpoint(folder, tiny(), Meta("tiny", LABELS, CFG), Storage(scheme, scope, rest))
    return folder


@pytest.mark.parametrize("path", [TRUNK, BUNDLED / WEIGHTS], ids=["trunk", "model"])
def test_the_bundled_files_hold_the_weights_they_always_held(path):
    """Codes times their row's scale, bit for bit; and written again they are the same file."""
    stored = load_file(path)
    state = from_stored(path, stored, "int8")
    for name, weight in state.items():
        scale = stored.get(f"{name}:scale")
        expected = stored[name].float()
        assert torch.equal(weight, expected if scale is None else expected * scale.float()[:, None])
    again = to_stored(state, COMPACT)
    assert again.keys() == stored.keys()
    assert all(torch.equal(again[name], stored[name]) for name in stored)


@every_scheme
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("rest", ["float32", "int8"])
def test_a_checkpoint_comes_back_as_what_quantizing_leaves_of_it(tmp_path, scheme, scope, rest):
    loaded = load_checkpoint(saved(tmp_path / "q", scheme, scope, rest)).model.trunk.state_dict()
    for name, weight in tiny().trunk.state_dict().items():
        how = scheme if name.startswith(SCOPES[scope]) else rest
        if weight.dim() == 2 and how != "float32":
            weight = requantized(weight, SCHEMES[how])
        elif rest == "int8":
            weight = weight.half().float()
        assert torch.equal(loaded[name], weight), name


@every_scheme
def test_a_file_has_the_bits_that_its_scheme_promises(tmp_path, scheme):
    bits = 8 * (saved(tmp_path / "q", scheme) / WEIGHTS).stat().st_size
    state = tiny().trunk.state_dict()
    weights = sum(w.numel() for n, w in state.items() if n.startswith(SCOPES["all"]))
    promised = {"int8": 8.5, "int4": 4.5, "uint4": 4.75, "nf4": 4.13, "ternary": 1.6, "binary": 1}
    others = sum(32 * w.numel() for n, w in state.items() if w.dim() != 2 or "head" in n)
    names = 8 * 20_000  # of tensors, in the header
    assert 0 < bits - others < promised[scheme] * weights + names


def test_a_matrix_of_any_shape_comes_back():
    for shape in ((1, 1), (3, 5), (7, 13), (2, 65)):
        for name, scheme in SCHEMES.items():
            state = {"a": torch.randn(shape)}
            back = from_stored("it", to_stored(state, Storage(name)), name)
            assert torch.equal(back["a"], requantized(state["a"], scheme))


def test_weights_that_are_not_numbers_are_not_written(tmp_path):
    model = tiny()
    with torch.no_grad():
        model.trunk.tok_emb.weight[3, 3] = float("nan")
    with pytest.raises(TuneshotError, match="not finite"):
        save_checkpoint(tmp_path / "q", model, Meta("tiny", LABELS, CFG), COMPACT)
    assert not (tmp_path / "q").exists()


# --- from strangers -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    for name in SCHEMES:
        good_checkpoint(folder / name, Storage(name, "all"))
    return folder


def change(part, to):
    """The same file with ``to`` in place of a part of a matrix; ``None``: without it."""

    def harm(state):
        state[f"{MATRIX}{part}"] = to
        if to is None:
            del state[f"{MATRIX}{part}"]

    return weights(harm)


HARMS = {
    "the shape is missing": (change(":shape", None), "not as codes of"),
    "the shape has three numbers": (change(":shape", torch.tensor([4, 2, 2])), "not as codes of"),
    "the shape is floats": (change(":shape", torch.tensor([4.0, 4.0])), "not as codes of"),
    "the shape is negative": (change(":shape", torch.tensor([-4, -4])), "has no shape"),
    "the shape is zero": (change(":shape", torch.tensor([0, 4])), "has no shape"),
    "the shape is huge": (change(":shape", torch.tensor([2**62, 2**62])), "bytes are no"),
    "the shape is turned into a row": (change(":shape", torch.tensor([1, 16])), None),
    "the codes are missing": (change("", None), "not as codes of"),
    "the codes have two dimensions": (
        change("", torch.zeros(4, 4, dtype=torch.uint8)), "not as codes of",
    ),
    "the codes are too few": (change("", torch.zeros(1, dtype=torch.uint8)), "bytes are no"),
    "the codes are empty": (change("", torch.zeros(0, dtype=torch.uint8)), "bytes are no"),
    "the scale is missing": (change(":scale", None), "not as codes of"),
    "the scale is 64 bits": (change(":scale", torch.zeros(1).double()), "not as codes of"),
    "a part is too many": (change(":more", torch.zeros(1)), "not as codes of"),
    "nothing is quantized": (
        weights(lambda state: [
            state.pop(n) if ":" in n else state.update({n: t.float()}) for n, t in [*state.items()]
        ]),
        "nothing in it is stored as",
    ),
}  # fmt: skip


def refused(folder):
    with pytest.raises(TuneshotError) as caught:
        FineTuned.load(folder)
    line = str(caught.value)
    assert "\n" not in line
    assert str(folder) in line
    return line


def copied(good, scheme, tmp_path, harm):
    folder = shutil.copytree(good / scheme, tmp_path / "it", copy_function=os.link)
    harm(folder)
    return folder


@pytest.mark.parametrize("scheme", PACKED)
@pytest.mark.parametrize(("harm", "words"), HARMS.values(), ids=HARMS)
def test_a_hostile_file_is_one_line(good, tmp_path, scheme, harm, words):
    assert (words or "") in refused(copied(good, scheme, tmp_path, harm))


def test_codes_that_are_none_are_one_line(good, tmp_path):
    for scheme, largest in {"int4": 224, "ternary": 242}.items():
        codes = load_file(good / scheme / WEIGHTS)[MATRIX].fill_(255)
        folder = copied(good, scheme, tmp_path / scheme, change("", codes))
        assert f"a byte is 255, and {largest} is the largest" in refused(folder)
    codes = load_file(good / "int8" / WEIGHTS)[MATRIX].fill_(-128)
    folder = copied(good, "int8", tmp_path / "int8", change("", codes))
    assert "a code is -128, and -127 is the least" in refused(folder)


@every_scheme
def test_scales_that_are_no_numbers_or_too_many_are_one_line(good, tmp_path, scheme):
    stored = load_file(good / scheme / WEIGHTS)
    for part in SCHEMES[scheme].scales(4, 4):
        old = stored[f"{MATRIX}:{part}"]
        longer = copied(good, scheme, tmp_path / part, change(f":{part}", old.repeat(2)))
        assert f"its {part} has" in refused(longer)
        if old.is_floating_point():
            harm = filled(f"{MATRIX}:{part}", float("nan"))
            folder = copied(good, scheme, tmp_path / f"{part}-nan", harm)
            assert "not finite numbers" in refused(folder)


def test_a_file_of_another_scheme_than_it_says_is_one_line(good, tmp_path):
    for scheme, said in (("nf4", "int4"), ("binary", "float32"), ("int8", "nf4"), ("nf4", "int8")):
        folder = shutil.copytree(good / scheme, tmp_path / f"{scheme}-{said}")
        record = json.loads((folder / META).read_text())
        record["weights"]["storage"] = said
        (folder / META).write_text(json.dumps(record))
        refused(folder)
