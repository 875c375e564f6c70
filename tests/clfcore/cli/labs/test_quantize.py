"""``clf quantize``: a smaller checkpoint that answers, and what became of its answers."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from clfcore.cli.clf import main
from clfcore.experiments.quantized import compare, quantize_checkpoint
from clfcore.fine_tuned import FineTuned
from clfcore.model.adapters import adapt, adapter_record
from clfcore.model.spec import GPTConfig
from clfcore.quantization.schemes import SCHEMES, SCOPES, requantized
from clfcore.types import Example
from clfcore.weights.checkpoint import load_checkpoint, save_checkpoint
from clfcore.weights.meta import Meta, read_meta
from clfcore.weights.storage import COMPACT
from tests.support.tiny import LABELS, tiny

CORPUS = Path(__file__).parents[5] / "shared/data/sms_spam/SMSSpamCollection"
EXAMPLES = [
    Example(f"{'win a prize' if i % 2 else 'see you'} {i}", LABELS[i % 2]) for i in range(8)
]
CFG = GPTConfig(context_length=32, emb_dim=16, n_heads=1, n_layers=1)
META = Meta("tiny", LABELS, CFG, about={"data": {"sha256": "of others"}})


@pytest.fixture
def clf(tmp_path, monkeypatch, command):
    """``clf`` with these arguments, where a tiny checkpoint and messages lie."""
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    save_checkpoint(tmp_path / "tiny", tiny(cfg=CFG), META)
    save_checkpoint(tmp_path / "compact", tiny(cfg=CFG), META, COMPACT)
    rows = "".join(f"{e.label}\t{e.text}\n" for e in EXAMPLES)
    (tmp_path / "sms.tsv").write_text(f"label\ttext\n{rows}")
    return partial(command, main, "clf")


def quantized(clf, *words, data=("--data", "sms.tsv")):
    status, out, err = clf("quantize", *words, *data, "--json")
    assert status == 0, err
    return json.loads(out)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_smaller_checkpoint_is_written_that_answers(clf, tmp_path, scheme):
    found = quantized(clf, "tiny", "--scheme", scheme, "--out", "small")
    before, after, shuffled = found["models"].values()
    assert (found["scheme"], found["scope"], found["baseline"]) == (scheme, "all", "float32")
    assert after["bytes"] == (tmp_path / "small/model.safetensors").stat().st_size
    assert after["bytes"] < 0.3 * before["bytes"]
    assert 0 < after["weight_error"] < 0.8 < shuffled["weight_error"]
    assert (before["weight_error"], before["probability_change"], before["answers_changed"]) == (
        0, 0, 0,
    )  # fmt: skip
    assert found["messages"] == len(EXAMPLES)
    status, out, _ = clf("classify", "win", "--checkpoint", "small", "--json")
    assert (status, json.loads(out)["label"] in LABELS) == (0, True)
    record = read_meta(tmp_path / "small")
    assert (record["name"], record["weights"]["storage"]) == (f"tiny {scheme}", scheme)
    assert record["about"]["quantized"] == {"scheme": scheme, "scope": "all", "from": "float32"}


def test_what_is_outside_of_the_scope_is_stored_as_it_was(clf, tmp_path):
    for folder, baseline in {"tiny": "float32", "compact": "int8"}.items():
        found = quantized(clf, folder, "--scheme", "nf4", "--scope", "blocks", "--out", "small")
        assert found["baseline"] == baseline
        old, new = (load_checkpoint(tmp_path / f).model.trunk.state_dict()
                    for f in (folder, "small"))  # fmt: skip
        for name, weight in old.items():
            inside = weight.dim() == 2 and name.startswith(SCOPES["blocks"])
            expected = requantized(weight, SCHEMES["nf4"]) if inside else weight
            assert torch.equal(new[name], expected), name


def test_int8_rows_in_int8_change_nothing(clf):
    after = quantized(clf, "compact", "--scheme", "int8", "--out", "small")["models"]["after"]
    assert (after["weight_error"], after["answers_changed"]) == (0, 0)


def test_the_change_of_probabilities_is_that_of_the_answers(tmp_path):
    save_checkpoint(tmp_path / "tiny", tiny(cfg=CFG), META)
    after = quantize_checkpoint(tmp_path / "tiny", "binary", "all", tmp_path / "small")
    before = FineTuned.load(tmp_path / "tiny")
    texts = [example.text for example in EXAMPLES]
    pairs = list(zip(before.predict(texts), after.predict(texts), strict=True))
    found = compare(tmp_path / "tiny", tmp_path / "small", EXAMPLES).models["after"]
    changes = [abs(a.probabilities["spam"] - b.probabilities["spam"]) for a, b in pairs]
    assert found.probability_change == pytest.approx(sum(changes) / 8, abs=1e-6)
    assert found.answers_changed == sum(a.label != b.label for a, b in pairs)


def test_the_table_says_what_the_baseline_is_and_the_figure_is_drawn(clf, tmp_path):
    words = ("quantize", "compact", "--scheme", "int4", "--out", "small", "--data", "sms.tsv")
    status, out, err = clf(*words, "--figure", "it.png")
    assert status == 0
    assert "before: weights stored as int8" in out
    assert "checkpoint: small" in out
    for row in ("file, MB", "weight error", "answers changed", "AUC", "shuffled"):
        assert row in out
    assert "8 messages: all of sms.tsv" in err
    assert (tmp_path / "it.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.skipif(not CORPUS.exists(), reason="needs the SMS Spam Collection")
def test_gpt2_mini_in_nf4_is_half_as_large_and_ranks_messages_as_before(clf):
    """On the 1,116 messages of the test part."""
    found = quantized(clf, "--scheme", "nf4", "--out", "small", data=("--data", str(CORPUS)))
    before, after, shuffled = found["models"].values()
    assert (found["messages"], found["part"], found["baseline"]) == (1116, "test", "int8")
    assert after["bytes"] <= 10e6
    assert abs(after["auc"] - before["auc"]) <= 0.002
    assert after["answers_changed"] <= 3
    assert shuffled["auc"] < 0.7


def test_every_mistake_is_one_line_and_writes_nothing(clf, tmp_path):
    model = tiny(cfg=CFG)
    adapt(model, "lora", 2, 10, 0)
    meta = Meta("tiny", LABELS, CFG, adapter=adapter_record(model))
    save_checkpoint(tmp_path / "lora", model, meta)
    quantized(clf, "tiny", "--scheme", "nf4", "--out", "small")
    (tmp_path / "other").mkdir()
    mistakes = {
        ("tiny", "--scheme", "int3"): "unknown scheme 'int3'; choose from int8, int4, uint4, nf4",
        ("tiny", "--scope", "head"): "unknown scope 'head'; choose from blocks, all",
        ("gone",): "no checkpoint at gone",
        ("small",): "small is quantized already, as nf4; give what it was made of",
        ("lora",): "lora holds only what was trained, and not its trunk",
        ("tiny", "--out", "tiny"): "tiny is the checkpoint itself; choose another --out",
        ("tiny", "--out", "other"): "other exists and is not a checkpoint",
        ("tiny", "--figure", "it.txt"): "cannot draw it.txt",
    }
    for words, said in mistakes.items():
        usual = ("--out", "new") * ("--out" not in words) + ("--data", "sms.tsv")
        status, out, err = clf("quantize", *usual, *words)
        lines = [line for line in err.splitlines() if line.startswith("error: ")]
        assert (status, out, len(lines)) == (1, "", 1), (words, err)
        assert said in lines[0]
        assert not (tmp_path / "new").exists(), words
