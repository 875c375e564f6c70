"""The GPT agrees with the references on random weights, and looks like the lecture's."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from llms_from_scratch.ch04 import GPTModel as BookGPT
from safetensors.torch import save_file

from clfcore.errors import TuneshotError
from clfcore.model.gpt import GPTModel
from clfcore.model.spec import GPT_PRESETS, GPTConfig
from clfcore.weights.pretrained import (
    empty_gpt2,
    is_gpt2,
    load_chapter6,
    load_gpt2,
    without_memory,
)
from clfcore.weights.untrusted.gpt2 import gpt2_shapes
from tests.support.lazy import lazy

transformers = lazy("transformers")

TINY = GPTConfig(vocab_size=101, context_length=32, emb_dim=64, n_heads=4, n_layers=3)
NARROW = replace(TINY, n_heads=2)  # heads 32 wide, not 64 as in every published GPT-2


def reference(cfg: GPTConfig) -> "transformers.GPT2LMHeadModel":
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=cfg.vocab_size,
            n_positions=cfg.context_length,
            n_embd=cfg.emb_dim,
            n_head=cfg.n_heads,
            n_layer=cfg.n_layers,
        )
    ).eval()
    with torch.no_grad():  # biases start at zero, where a mix-up would not show
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.02)
    return model


@pytest.mark.parametrize(
    "cfg",
    [
        pytest.param(TINY, id="tiny"),
        pytest.param(NARROW, id="heads of 32"),
        pytest.param(GPT_PRESETS["gpt2"], id="124M", marks=pytest.mark.slow),
    ],
)
def test_logits_match_transformers_on_random_weights(tmp_path, cfg):
    theirs = reference(cfg)
    theirs.save_pretrained(tmp_path)
    found, state = load_gpt2(str(tmp_path))
    assert found == cfg
    ours = GPTModel(cfg).eval()
    ours.load_state_dict(state | {"out_head.weight": state["tok_emb.weight"]})
    ids = torch.randint(0, cfg.vocab_size, (2, 17))
    with torch.inference_mode():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-4, rtol=1e-4)


def book_classifier(classes: int = 2, heads: int = 2) -> BookGPT:
    torch.manual_seed(0)
    model = BookGPT({**TINY.to_dict(), "emb_dim": 128, "n_heads": heads, "drop_rate": 0.0})
    model.out_head = torch.nn.Linear(128, classes)
    return model.eval()


@pytest.mark.parametrize(("heads", "name"), [(2, "n_heads"), (4, "n_head"), (1, "n_heads")])
def test_a_chapter_6_classifier_gives_the_books_logits(tmp_path, heads, name):
    theirs = book_classifier(heads=heads)
    torch.save(theirs.state_dict(), tmp_path / "review_classifier.pth")
    (tmp_path / "config.json").write_text(json.dumps({name: heads}))
    ours = load_chapter6(tmp_path / "review_classifier.pth").eval()
    ids = torch.randint(0, TINY.vocab_size, (3, 20))
    with torch.inference_mode():
        torch.testing.assert_close(ours(ids), theirs(ids), atol=1e-4, rtol=1e-4)


def test_a_file_of_a_published_size_needs_no_word_about_its_heads(tmp_path, monkeypatch):
    published = GPTConfig(**{**TINY.to_dict(), "emb_dim": 128, "n_heads": 4})
    monkeypatch.setitem(GPT_PRESETS, "gpt2", published)
    torch.save(book_classifier(heads=4).state_dict(), tmp_path / "review_classifier.pth")
    assert load_chapter6(tmp_path / "review_classifier.pth").cfg == published


def test_a_file_of_another_size_is_refused_until_its_heads_are_told(tmp_path):
    path = tmp_path / "review_classifier.pth"
    torch.save(book_classifier(heads=4).state_dict(), path)
    with pytest.raises(TuneshotError, match="how many attention heads") as caught:
        load_chapter6(path)
    assert f'write {{"n_head": NUMBER}} into {tmp_path / "config.json"}' in str(caught.value)
    for config, message in (
        ({"n_head": 5}, "not divisible"),
        ({"n_head": "four"}, "whole number"),
        ({"n_embd": 128}, "how many attention heads"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(TuneshotError, match=message):
            load_chapter6(path)


@pytest.mark.parametrize(
    "variant",
    [
        {"activation_function": "relu"},
        {"layer_norm_epsilon": 1e-3},
        {"scale_attn_by_inverse_layer_idx": True},
        {"scale_attn_weights": False},
    ],
)
def test_a_variant_of_gpt2_is_left_to_transformers(tmp_path, variant):
    config = hugging_face_folder(tmp_path) / "config.json"
    as_published = {**json.loads(config.read_text()), "vocab_size": 50_257}
    config.write_text(json.dumps(as_published))
    assert is_gpt2(str(tmp_path))
    config.write_text(json.dumps({**as_published, **variant}))
    assert not is_gpt2(str(tmp_path))
    with pytest.raises(TuneshotError, match=next(iter(variant))):
        load_gpt2(str(tmp_path))


def test_a_gpt2_of_fewer_tokens_is_left_to_transformers_and_its_own_tokenizer(tmp_path):
    config = hugging_face_folder(tmp_path) / "config.json"
    for size, is_ours in ((50_256, False), (50_257, True), (50_304, True)):
        config.write_text(json.dumps({**json.loads(config.read_text()), "vocab_size": size}))
        assert is_gpt2(str(tmp_path)) is is_ours


def test_module_names_are_those_of_the_slides():
    book, ours = book_classifier(), GPTModel(TINY, num_classes=2)
    names = {name for name in book.state_dict() if not name.endswith("att.mask")}
    assert set(ours.state_dict()) == names
    printed = str(ours)
    for name in ("tok_emb", "trf_blocks", "W_query", "out_proj", "ff", "final_norm", "out_head"):
        assert f"({name})" in printed


def test_a_token_never_sees_what_comes_after_it():
    model = GPTModel(TINY).eval()
    ids = torch.randint(0, TINY.vocab_size, (1, 12))
    changed = ids.clone()
    changed[0, 8:] = (changed[0, 8:] + 1) % TINY.vocab_size
    with torch.inference_mode():
        torch.testing.assert_close(model(ids)[:, :8], model(changed)[:, :8])
        assert not torch.allclose(model(ids)[:, 8:], model(changed)[:, 8:])


def test_the_language_model_head_is_tied_to_the_embedding():
    model = GPTModel(TINY)
    assert model.out_head.weight is model.tok_emb.weight
    assert model(torch.zeros(1, 4, dtype=torch.long)).shape == (1, 4, TINY.vocab_size)


COLD = """
import sys
from clfcore.fine_tuned import FineTuned
from clfcore.weights.bases import load_base
FineTuned.load().predict(["hello"])
load_base("gpt2-mini", 2)
print(*({"sympy", "torch._dynamo", "sklearn", "scipy", "transformers"} & sys.modules.keys()))
"""


def test_a_first_answer_and_a_start_load_neither_torchs_compiler_nor_other_libraries():
    done = subprocess.run([sys.executable, "-c", COLD], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("classes", [3, None])
@pytest.mark.parametrize("qkv_bias", [True, False])
def test_a_gpts_names_and_shapes_are_known_without_it(classes, qkv_bias):
    cfg = replace(TINY, qkv_bias=qkv_bias)
    whole = GPTModel(cfg, classes).state_dict()
    known = gpt2_shapes(cfg, classes)
    assert known == {name: tuple(weight.shape) for name, weight in whole.items()}


def test_a_gpt_without_memory_has_every_name_and_shape():
    empty = gpt2_shapes(TINY, 3)
    assert all(weight.is_meta for weight in empty_gpt2(TINY, 3).state_dict().values())
    copied = without_memory(GPTModel(TINY, 3)).state_dict()
    assert {name: tuple(weight.shape) for name, weight in copied.items()} == empty
    assert all(weight.is_meta for weight in copied.values())


# --- what cannot be loaded is refused by name ----------------------------------------------------


def hugging_face_folder(path):
    reference(TINY).save_pretrained(path)
    return path


def test_a_folder_of_another_architecture_is_refused(tmp_path):
    folder = hugging_face_folder(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))
    with pytest.raises(TuneshotError, match="is not a GPT-2"):
        load_gpt2(str(folder))


def test_weights_that_do_not_fit_the_config_are_refused(tmp_path):
    folder = hugging_face_folder(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "n_positions": 64}))
    with pytest.raises(TuneshotError, match=r"pos_emb.weight has shape \(32, 64\)"):
        load_gpt2(str(folder))


def test_a_strange_tensor_and_a_truncated_file_are_refused(tmp_path):
    folder = hugging_face_folder(tmp_path)
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    save_file({"h.0.router.weight": torch.zeros(2)}, weights)
    with pytest.raises(TuneshotError, match="router"):
        load_gpt2(str(folder))
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TuneshotError, match=r"truncated.*copy the file again"):
        load_gpt2(str(folder))


def test_an_unknown_repository_without_network_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(TuneshotError, match="choose one of gpt2, gpt2-medium"):
        load_gpt2("nobody/nothing")


class Surprise:
    """Unpickling this would run code."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('code from a pickle ran')",))


@pytest.mark.parametrize("content", ["code", "text", "trunk only"])
def test_a_pth_that_is_no_chapter_6_classifier_is_refused(tmp_path, content):
    path = tmp_path / "review_classifier.pth"
    if content == "code":
        torch.save({"out_head.weight": Surprise()}, path)
    elif content == "text":
        path.write_text("hello")
    else:
        state = book_classifier().state_dict()
        torch.save({k: v for k, v in state.items() if not k.startswith("out_head")}, path)
    with pytest.raises(TuneshotError, match=r"review_classifier\.pth is not a"):
        load_chapter6(path)
