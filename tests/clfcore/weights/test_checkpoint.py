"""Checkpoints on disk, and the answers that come out of them."""

import json
import math
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clfcore.errors import TuneshotError
from clfcore.fine_tuned import FineTuned
from clfcore.weights.checkpoint import load_checkpoint, save_checkpoint
from clfcore.weights.meta import FORMAT, Meta
from clfcore.weights.storage import COMPACT
from tests.support.tiny import CFG, LABELS, tiny, tiny_classifier

# --- checkpoints --------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    folder = tmp_path / "spam"
    meta = Meta("tiny", LABELS, CFG, threshold=0.6, about={"data": {"sha256": "abc"}})
    save_checkpoint(folder, tiny(), meta)
    return folder


def test_a_checkpoint_brings_everything_back(checkpoint):
    loaded = load_checkpoint(checkpoint)
    model, meta = loaded.model, loaded.meta
    assert meta == Meta("tiny", LABELS, CFG, threshold=0.6, about={"data": {"sha256": "abc"}})
    assert all(torch.equal(t, tiny().state_dict()[n]) for n, t in model.state_dict().items())


def test_a_compact_checkpoint_is_a_quarter_of_the_size_and_answers_nearly_the_same(tmp_path):
    whole, small, meta = tmp_path / "whole", tmp_path / "small", Meta("tiny", LABELS, CFG)
    save_checkpoint(whole, tiny(), meta)
    save_checkpoint(small, tiny(), meta, COMPACT)
    size = {f: (f / "model.safetensors").stat().st_size for f in (whole, small)}
    assert size[small] < 0.3 * size[whole]
    texts = ["win a prize now", "see you at 8", "", "👍"]
    pairs = zip(*(FineTuned.load(f).predict(texts) for f in (whole, small)), strict=True)
    for a, b in pairs:
        assert a.probabilities["spam"] == pytest.approx(b.probabilities["spam"], abs=0.01)


def edit_meta(folder: Path, **changes) -> None:
    path = folder / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def without_head(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    save_file({n: t for n, t in load_file(path).items() if not n.startswith("out_head")}, path)


def truncate(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 5000)


def flip_one_weight(folder: Path) -> None:
    path = folder / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (truncate, "truncated or damaged"),
        (flip_one_weight, "not the file meta.json describes"),
        (without_head, "the classification head is missing"),
        (lambda f: (f / "model.safetensors").unlink(), "is missing"),
        (lambda f: (f / "meta.json").unlink(), "is not a checkpoint"),
        (lambda f: (f / "meta.json").write_text("{"), "is damaged"),
        (lambda f: edit_meta(f, format=FORMAT + 1), f"format {FORMAT + 1}, this version"),
        (lambda f: edit_meta(f, kind="lora"), "another kind of model"),
        (lambda f: edit_meta(f, labels=None), "is damaged"),
        (lambda f: edit_meta(f, model={**CFG.to_dict(), "emb_dim": 64}), "this model needs"),
        (lambda f: edit_meta(f, labels=["a", "b", "c"]), "this model needs"),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused_by_name(checkpoint, harm, message):
    harm(checkpoint)
    with pytest.raises(TuneshotError) as caught:
        FineTuned.load(checkpoint)
    assert message in str(caught.value)
    assert str(checkpoint) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_checkpoint_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(TuneshotError, match="make one: clf train"):
        FineTuned.load(tmp_path / "nowhere")


def test_a_full_disk_leaves_the_old_checkpoint_intact(checkpoint, monkeypatch):
    """A limit on file size is as close to a full disk as a test can come."""
    import resource
    import signal

    before = {p.name: p.read_bytes() for p in checkpoint.iterdir()}
    monkeypatch.setattr(signal, "SIGXFSZ", signal.SIGXFSZ)
    old_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(TuneshotError, match="cannot write"):
            save_checkpoint(checkpoint, tiny(1), Meta("tiny", LABELS, CFG))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old_handler)
    assert {p.name: p.read_bytes() for p in checkpoint.iterdir()} == before
    assert [p.name for p in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_nothing_but_a_checkpoint_is_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(TuneshotError, match="is not a checkpoint; choose another"):
        save_checkpoint(tmp_path, tiny(), Meta("tiny", LABELS, CFG))
    assert (tmp_path / "thesis.txt").read_text() == "precious"


# --- answers ------------------------------------------------------------------------------------

AWKWARD = {
    "empty": "",
    "blank": " \n\t ",
    "very long": "call now " * 12_000,
    "one long word": "a" * 100_000,
    "emoji only": "🎉🎉👍🏽",
    "NUL": "win\x00now",
    "right to left": "مرحبا، هل سنلتقي الليلة؟",
    "html": "<script>alert(1)</script><b>free</b>",
    "markdown": "**win** [link](http://x.example) :now",
    "braces": "{text} {{label}} %s ${HOME}",
    "tabs": "a\tb\tc",
    "lone surrogate": "\udcff",
}


@pytest.mark.parametrize("text", AWKWARD.values(), ids=AWKWARD)
def test_any_message_is_answered(text):
    (answer,) = tiny_classifier().predict([text])
    assert answer.label in LABELS
    assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert answer.ms > 0


def test_what_was_not_read_is_said():
    classifier = tiny_classifier()
    long, empty, plain = classifier.predict(["word " * 100, "", "hi"])
    assert long.notes == ("only the first 32 of 101 tokens were read",)
    assert empty.notes == ("the message is empty",)
    assert plain.notes == ()


@given(st.lists(st.text(max_size=40), max_size=12))
def test_a_batch_answers_as_one_by_one_and_in_order(texts):
    classifier = tiny_classifier()
    together = classifier.predict(texts, batch_size=3)
    for text, answer in zip(texts, together, strict=True):
        (alone,) = classifier.predict([text])
        assert answer.probabilities["spam"] == pytest.approx(alone.probabilities["spam"], abs=1e-5)


def test_the_threshold_decides_the_label_and_not_the_probability():
    (usual,) = tiny_classifier().predict(["win"])
    p = usual.probabilities["spam"]
    (eager,) = tiny_classifier(threshold=p - 0.001).predict(["win"])
    (careful,) = tiny_classifier(threshold=p + 0.001).predict(["win"])
    assert (eager.label, careful.label) == ("spam", "ham")
    assert eager.probabilities == careful.probabilities == usual.probabilities


def test_an_answer_against_the_bare_majority_says_why():
    (usual,) = tiny_classifier().predict(["win"])
    sure = tiny_classifier(threshold=0.9)
    with torch.no_grad():
        sure.model.trunk.out_head.bias[1] += 0.6 - math.log(
            usual.probabilities["spam"] / usual.probabilities["ham"]
        )
    (answer,) = sure.predict(["win"])
    assert 0.5 < answer.probabilities["spam"] < 0.9
    assert (answer.label, answer.notes) == ("ham", ("it answers spam from 90% on, to be careful",))


def test_a_chapter_6_file_is_read_as_the_book_reads_it(tmp_path):
    """Padded with end-of-text, or cut, to 120 tokens; answered from the last column."""
    from llms_from_scratch.ch04 import GPTModel as BookGPT
    from llms_from_scratch.ch06 import classify_review

    from clfcore.model.tokenizer import gpt2_encoding

    torch.manual_seed(3)
    shape = {"vocab_size": 50257, "context_length": 256, "emb_dim": 64, "n_heads": 1, "n_layers": 2}
    book = BookGPT({**shape, "drop_rate": 0.0, "qkv_bias": True})
    book.out_head = torch.nn.Linear(64, 2)
    torch.save(book.state_dict(), tmp_path / "review_classifier.pth")
    (tmp_path / "config.json").write_text(json.dumps(shape))
    ours = FineTuned.load(tmp_path / "review_classifier.pth")
    texts = ["You are a winner", "Hey, dinner tonight?", "a", "free " * 70, "x " * 62, "x " * 300]
    read = []
    book.register_forward_hook(lambda _, given, logits: read.append((given[0], logits[0, -1])))
    for text, answer in zip(texts, ours.predict(texts), strict=True):
        theirs = classify_review(text, book, gpt2_encoding(), "cpu", max_length=120)
        assert {"spam": "spam", "ham": "not spam"}[answer.label] == theirs
        ids, logits = read[-1]
        assert ours.read(text) == ids[0].tolist()
        assert list(answer.probabilities.values()) == pytest.approx(logits.softmax(0).tolist())
    assert answer.tokens == 120
    assert answer.notes == ("only the first 120 of 301 tokens were read",)
