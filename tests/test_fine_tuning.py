"""Batching, the loop, calibration, checkpoints and answers, on a tiny GPT."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from clfcore.balance import BALANCERS, balanced_rows
from clfcore.batching import by_length, pad, shuffled
from clfcore.calibrate import margins, platt_scale
from clfcore.checkpoint import FORMAT, Meta, load_checkpoint, save_checkpoint
from clfcore.classifier import TRAINABLE, class_logits
from clfcore.config import GPTConfig
from clfcore.errors import TuneshotError
from clfcore.gpt import GPTModel
from clfcore.predict import FineTuned
from clfcore.recipe import mix_with
from clfcore.train import Encoded, TrainConfig, fit, validate

CFG = GPTConfig(context_length=32, emb_dim=32, n_heads=2, n_layers=2)
LABELS = ("ham", "spam")
QUICK = TrainConfig(epochs=3, batch_size=4, learning_rate=3e-3, layers="all", balance="none")


def tiny(seed: int = 0) -> GPTModel:
    torch.manual_seed(seed)
    return GPTModel(CFG, num_classes=2).eval()


def tiny_classifier(**meta) -> FineTuned:
    return FineTuned(tiny(), Meta("tiny", CFG, LABELS, **meta))


def toy_data(n: int = 40) -> Encoded:
    """Token 7 somewhere means spam; one message in four is spam."""
    rng = np.random.default_rng(0)
    labels = [int(i % 4 == 0) for i in range(n)]
    tokens = [rng.integers(100, 140, rng.integers(2, 12)).tolist() for _ in labels]
    for row, label in enumerate(labels):
        if label:
            tokens[row][0] = 7
    return Encoded(tokens, labels)


# --- batching -----------------------------------------------------------------------------------

token_lists = st.lists(st.lists(st.integers(0, 50256), min_size=1, max_size=9), min_size=1)


@given(token_lists, st.integers(1, 7))
def test_every_message_is_in_exactly_one_batch_with_its_own_tokens(tokens, size):
    rng = np.random.default_rng(0)
    for batches in (by_length(tokens, size), shuffled(tokens, range(len(tokens)), size, rng)):
        seen = []
        for batch in batches:
            assert len(batch.rows) <= size
            for ids, length, row in zip(batch.ids, batch.lengths, batch.rows, strict=True):
                assert ids[:length].tolist() == tokens[row]
                seen.append(row)
        assert sorted(seen) == list(range(len(tokens)))


def test_padding_does_not_change_an_answer():
    model, short, long = tiny(), [5, 6, 7], list(range(30))
    with torch.inference_mode():
        alone = class_logits(model, pad([short], [0]))
        beside = class_logits(model, pad([short, long], [0, 1]))[:1]
    torch.testing.assert_close(alone, beside, atol=1e-5, rtol=1e-5)


def test_the_padding_token_inside_a_message_is_read_like_any_other():
    model, end = tiny(), 50256
    with torch.inference_mode():
        with_it = class_logits(model, pad([[5, end]], [0]))
        without = class_logits(model, pad([[5], [5, 6]], [0, 1]))[:1]
    assert not torch.allclose(with_it, without)


# --- balance ------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", BALANCERS)
def test_balancing_only_chooses_among_the_rows_it_was_given(strategy):
    labels = [0] * 30 + [1] * 5
    rows = balanced_rows(labels, strategy, seed=1)
    assert set(rows) <= set(range(35))
    assert rows == balanced_rows(labels, strategy, seed=1)
    spam = sum(labels[row] for row in rows)
    assert (len(rows) - spam, spam) == {
        "none": (30, 5),
        "oversample": (30, 15),
        "undersample": (5, 5),
    }[strategy]


def test_an_unknown_strategy_lists_the_choices():
    with pytest.raises(TuneshotError, match="choose from none, oversample, undersample"):
        balanced_rows([0, 1], "smote", seed=0)


# --- the loop -----------------------------------------------------------------------------------


def test_an_undecided_head_starts_at_a_loss_of_ln_2():
    model = tiny()
    torch.nn.init.zeros_(model.out_head.weight)
    loss, _ = validate(model, toy_data())
    assert loss == pytest.approx(math.log(2), abs=1e-6)


def test_a_handful_of_messages_can_be_learnt_by_heart():
    model, data = tiny(), toy_data(16)
    fit(model, data, data, replace(QUICK, epochs=20))
    loss, accuracy = validate(model, data)
    assert accuracy == 1
    assert loss < 0.1


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    data = toy_data()

    def weights(seed):
        model = tiny()
        fit(model, data, data, replace(QUICK, seed=seed, epochs=1))
        return model.state_dict()

    once, again, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert not all(torch.equal(once[name], other[name]) for name in once)


@pytest.mark.parametrize("layers", TRAINABLE)
def test_frozen_layers_keep_their_values(layers):
    model, data = tiny(), toy_data()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fit(model, data, data, replace(QUICK, layers=layers, epochs=1))
    moved = {
        n.split(".")[0] for n, t in model.state_dict().items() if not torch.equal(t, before[n])
    }
    if layers == "last_block":
        assert moved == {"trf_blocks", "final_norm", "out_head"}
        assert torch.equal(model.trf_blocks[0].norm1.scale, before["trf_blocks.0.norm1.scale"])
    else:
        assert {"tok_emb", "trf_blocks", "out_head"} <= moved


def test_progress_counts_steps_and_examples_and_reports_each_epoch():
    steps, data = [], toy_data(10)
    history = fit(tiny(), data, data, replace(QUICK, epochs=2), steps.append)
    assert [step.epoch for step in history] == [1, 2]
    assert history[-1].step == history[-1].steps == 6
    assert history[-1].examples_seen == 20
    assert all(0 <= step.val_accuracy <= 1 for step in history)
    assert [s.step for s in steps if s.val_loss is None] == list(range(1, 7))


def test_all_bad_settings_are_reported_at_once():
    with pytest.raises(TuneshotError) as caught:
        TrainConfig(epochs=0, learning_rate=-1, layers="first", balance="magic")
    for part in ("epochs", "learning_rate", "'first'; choose from all", "'magic'; choose from"):
        assert part in str(caught.value)
    with pytest.raises(TuneshotError, match=r"unknown key 'n_head'.*missing key 'n_heads'"):
        GPTConfig.from_dict(
            {**{k: v for k, v in CFG.to_dict().items() if k != "n_heads"}, "n_head": 2}
        )


# --- calibration --------------------------------------------------------------------------------


def test_calibration_repairs_overconfidence_and_changes_no_ranking():
    model, data = tiny(), toy_data(200)
    noisy = Encoded(data.tokens, [y if i % 10 else 1 - y for i, y in enumerate(data.labels)])
    fit(model, data, data, replace(QUICK, epochs=6))
    model.out_head.weight.data *= 20  # absurdly sure of itself
    model.out_head.bias.data += torch.tensor([0.0, 3.0])
    before, order = validate(model, noisy)[0], margins(model, noisy).argsort()
    slope, _ = platt_scale(model, noisy)
    after, same = validate(model, noisy)[0], margins(model, noisy).argsort()
    assert 0 < slope < 1
    assert after < before / 2
    assert order.tolist() == same.tolist()


def test_calibration_on_separable_messages_stays_finite():
    model, data = tiny(), toy_data()
    fit(model, data, data, replace(QUICK, epochs=20))
    platt_scale(model, data)
    p = F.softmax(torch.tensor(margins(model, data)), dim=0)
    assert torch.isfinite(p).all()
    assert abs(margins(model, data)).max() < 20


def test_mixing_moves_the_trunk_towards_what_it_was_and_keeps_the_head():
    model, data = tiny(), toy_data()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fit(model, data, data, replace(QUICK, epochs=1))
    tuned = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    mix_with(model, before, share=0.6)
    mixed = model.state_dict()
    expected = 0.6 * tuned["tok_emb.weight"] + 0.4 * before["tok_emb.weight"]
    torch.testing.assert_close(mixed["tok_emb.weight"], expected)
    assert torch.equal(mixed["out_head.weight"], tuned["out_head.weight"])


# --- checkpoints --------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    folder = tmp_path / "spam"
    meta = Meta("tiny", CFG, LABELS, threshold=0.6, about={"data": {"sha256": "abc"}})
    save_checkpoint(folder, tiny(), meta)
    return folder


def test_a_checkpoint_brings_everything_back(checkpoint):
    model, meta = load_checkpoint(checkpoint)
    assert meta == Meta("tiny", CFG, LABELS, threshold=0.6, about={"data": {"sha256": "abc"}})
    assert all(torch.equal(t, tiny().state_dict()[n]) for n, t in model.state_dict().items())


def test_a_compact_checkpoint_is_a_quarter_of_the_size_and_answers_nearly_the_same(tmp_path):
    whole, small, meta = tmp_path / "whole", tmp_path / "small", Meta("tiny", CFG, LABELS)
    save_checkpoint(whole, tiny(), meta)
    save_checkpoint(small, tiny(), meta, compact=True)
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
        (truncate, "missing or truncated"),
        (flip_one_weight, "not the file meta.json describes"),
        (without_head, "the classification head is missing"),
        (lambda f: (f / "model.safetensors").unlink(), "missing or truncated"),
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
            save_checkpoint(checkpoint, tiny(1), Meta("tiny", CFG, LABELS))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old_handler)
    assert {p.name: p.read_bytes() for p in checkpoint.iterdir()} == before
    assert [p.name for p in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_nothing_but_a_checkpoint_is_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(TuneshotError, match="is not a checkpoint; choose another"):
        save_checkpoint(tmp_path, tiny(), Meta("tiny", CFG, LABELS))
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


@settings(deadline=None)
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
        sure.model.out_head.bias[1] += 0.6 - math.log(
            usual.probabilities["spam"] / usual.probabilities["ham"]
        )
    (answer,) = sure.predict(["win"])
    assert 0.5 < answer.probabilities["spam"] < 0.9
    assert (answer.label, answer.notes) == ("ham", ("it answers spam from 90% on, to be careful",))


def test_a_chapter_6_file_is_read_as_the_book_reads_it(tmp_path):
    """Padded to 120 tokens with end-of-text, answered from the last column."""
    from llms_from_scratch.ch04 import GPTModel as BookGPT
    from llms_from_scratch.ch06 import classify_review

    from clfcore.tokenizer import gpt2_encoding

    torch.manual_seed(3)
    shape = {"vocab_size": 50257, "context_length": 128, "emb_dim": 64, "n_heads": 1, "n_layers": 2}
    book = BookGPT({**shape, "drop_rate": 0.0, "qkv_bias": True})
    book.out_head = torch.nn.Linear(64, 2)
    torch.save(book.state_dict(), tmp_path / "review_classifier.pth")
    ours = FineTuned.load(tmp_path / "review_classifier.pth")
    texts = ["You are a winner", "Hey, dinner tonight?", "a", "free " * 70, "x " * 300]
    for text, answer in zip(texts, ours.predict(texts), strict=True):
        theirs = classify_review(text, book, gpt2_encoding(), "cpu", max_length=120)
        assert {"spam": "spam", "ham": "not spam"}[answer.label] == theirs
