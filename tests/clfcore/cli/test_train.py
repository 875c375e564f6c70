"""``clf train`` as people run it: other bases, own data, kills, several processes."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from clfcore.cli.clf import main
from clfcore.errors import TuneshotError
from clfcore.fine_tuned import FineTuned
from clfcore.model.trainable import freeze_all_but
from clfcore.paths import TRUNK
from clfcore.training.classification import fit
from clfcore.training.settings import TrainConfig
from tests.support.killed import finish, kill_twice, start
from tests.support.lazy import lazy
from tests.support.tiny import tiny, toy_data

transformers = lazy("transformers")

ROOT = Path(__file__).parents[3]

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def tiny_gpt2(tmp_path_factory) -> str:
    """A GPT-2 as Hugging Face stores it, small and untrained."""
    folder = tmp_path_factory.mktemp("bases") / "tiny-gpt2"
    torch.manual_seed(0)
    shape = transformers.GPT2Config(n_positions=48, n_embd=32, n_head=2, n_layer=2)
    transformers.GPT2LMHeadModel(shape).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def tiny_llama(tmp_path_factory) -> str:
    """A model of another architecture, with a tokenizer of its own."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("bases") / "tiny-llama"
    torch.manual_seed(0)
    shape = transformers.LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    transformers.LlamaForCausalLM(shape).save_pretrained(folder)
    letters = {chr(33 + i): i + 2 for i in range(94)}
    words = Tokenizer(models.BPE({"<unk>": 0, "</s>": 1, **letters}, [], unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", eos_token="</s>"
    ).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def clf(tmp_path, monkeypatch, command):
    """``clf`` in a folder with 120 labelled messages."""
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    lines = [f"{'spam' if i % 4 == 0 else 'ham'}\t{'win ' if i % 4 == 0 else 'see you '}"
             f"{LETTERS[i % 26]}{LETTERS[i // 26]} now" for i in range(120)]  # fmt: skip
    (tmp_path / "sms").write_text("\n".join(lines) + "\n")
    return partial(command, main, "clf")


QUICK = ("--data", "sms", "--epochs", "3", "--learning-rate", "0.01")


def meta_of(folder: str) -> dict:
    return json.loads(Path(folder, "meta.json").read_text())


@pytest.mark.parametrize(
    "options",
    [
        ("--layers", "last_layer"),
        ("--layers", "last_two_blocks", "--position", "mean"),
        ("--layers", "all", "--weights", "random", "--schedule", "linear", "--warmup", "0.1"),
        ("--layers", "none", "--balance", "smote"),
        ("--layers", "none", "--head", "mlp", "--balance", "class_weights"),
        ("--layers", "lora", "--rank", "4"),
        ("--position", "last_column", "--padding", "longest"),
        ("--position", "first", "--no-causal-mask", "--padding", "none"),
        ("--balance", "tomek_links", "--accumulate", "2", "--keep", "best", "--patience", "2"),
    ],
)
def test_every_kind_of_training_gives_a_checkpoint_that_answers(clf, tiny_gpt2, options):
    status, out, err = clf("train", "--base", tiny_gpt2, "--out", "run", *QUICK, *options)
    assert status == 0, err
    assert "weights trained" in out
    model = FineTuned.load(Path("run"), trust_source=True)
    told = meta_of("run")
    assert told["about"]["test_metrics"]["messages"] == 24
    (answer, empty) = model.predict(["win aa now", ""])
    assert set(answer.probabilities) == {"ham", "spam"}
    assert sum(empty.probabilities.values()) == pytest.approx(1, abs=1e-5)
    learnt = told["about"]["weights"]["learning"]
    assert 0 < learnt <= told["about"]["weights"]["all"]


def test_a_transformers_model_is_a_trunk_like_any_other(clf, tiny_llama):
    """Its file holds what was learnt; the trunk is looked up again, and must be the same one."""
    options = ("--base", tiny_llama, "--out", "run", "--layers", "last_block", *QUICK)
    assert clf("train", *options)[0] == 0
    stored = load_file("run/model.safetensors")
    assert {name.split(".")[2] for name in stored if name.startswith("body.layers")} == {"2"}
    assert "out_head.weight" in stored
    assert not any("embed" in name for name in stored)
    (answer,) = FineTuned.load(Path("run"), trust_source=True).predict(["win aa now"])
    assert answer.label in ("ham", "spam")

    changed = transformers.LlamaForCausalLM.from_pretrained(tiny_llama)
    changed.model.layers[0].mlp.up_proj.weight.data += 1
    changed.save_pretrained("other")
    told = meta_of("run")
    told["source"] = "other"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        Path("other", name).write_bytes(Path(tiny_llama, name).read_bytes())
    Path("run/meta.json").write_text(json.dumps(told))
    status, _, err = clf("classify", "hi", "--checkpoint", "run", "--trust-source")
    assert status == 1
    assert "other weights of 'other'" in err
    told["source"] = "gone"
    Path("run/meta.json").write_text(json.dumps(told))
    assert clf("classify", "hi", "--checkpoint", "run", "--trust-source")[0] == 1


def test_a_trunk_in_another_folder_is_loaded_only_where_it_is_trusted(clf, tiny_llama, tmp_path):
    options = ("--base", tiny_llama, "--out", "run", "--layers", "last_block", *QUICK)
    _, _, err = clf("train", *options)
    assert f"its trunk stays in {tiny_llama}: other commands want --trust-source" in err
    for command in (("classify", "hi"), ("evaluate",), ("merge", "--out", "merged")):
        status, out, err = clf(*command, "--checkpoint", "run")
        assert (status, out) == (1, "")
        assert "which is outside of its folder; if you know who made it" in err
        assert len(err.splitlines()) == 1
    with pytest.raises(TuneshotError, match="trust_source=True"):
        FineTuned.load(Path("run"))
    status, out, _ = clf("classify", "hi", "--checkpoint", "run", "--trust-source")
    assert (status, "%" in out) == (0, True)
    inside = Path("run/trunk")
    shutil.copytree(tiny_llama, inside)
    Path("run/meta.json").write_text(json.dumps({**meta_of("run"), "source": str(inside)}))
    assert clf("classify", "hi", "--checkpoint", "run")[0] == 0


@pytest.mark.parametrize("base", ["tiny_gpt2", "tiny_llama"])
def test_an_adapter_is_saved_with_its_head_and_merges_into_equal_answers(clf, base, request):
    folder = request.getfixturevalue(base)
    options = ("--base", folder, "--out", "run", "--layers", "lora", "--rank", "4", *QUICK)
    assert clf("train", *options)[0] == 0
    assert Path("run/model.safetensors").stat().st_size < 60_000  # not the whole trunk
    assert clf("merge", "--checkpoint", "run", "--out", "merged", "--trust-source")[0] == 0
    assert meta_of("merged")["adapter"] is None
    texts = ["win aa now", "see you at 8", ""]
    pairs = (FineTuned.load(Path(f), trust_source=True).predict(texts) for f in ("run", "merged"))
    for a, b in zip(*pairs, strict=True):
        assert a.probabilities["spam"] == pytest.approx(b.probabilities["spam"], abs=1e-4)
    assert clf("merge", "--checkpoint", "merged", "--out", "twice", "--trust-source")[0] == 1


def test_a_bottleneck_is_saved_without_the_trunk_and_cannot_be_merged(clf, tiny_llama):
    options = ("--base", tiny_llama, "--out", "run", "--layers", "houlsby", "--rank", "4", *QUICK)
    assert clf("train", *options)[0] == 0
    assert Path("run/model.safetensors").stat().st_size < 20_000  # the trunk has 200 KB
    assert FineTuned.load(Path("run"), trust_source=True).predict(["win aa now"])
    status, out, err = clf("merge", "--checkpoint", "run", "--out", "merged", "--trust-source")
    assert (status, out, Path("merged").exists()) == (1, "", False)
    line = "houlsby is no change of weights and cannot be merged; use the model as it is"
    assert line in err.replace("\n", " ")


def test_an_adapter_on_gpt2_mini_is_saved_without_the_trunk_and_knows_it_again(clf, monkeypatch):
    options = ("--layers", "lora", "--rank", "4", "--out", "run", *QUICK)
    assert clf("train", *options)[0] == 0
    assert Path("run/model.safetensors").stat().st_size < 400_000  # the whole has 64 MB
    assert meta_of("run")["source"] == "gpt2-mini"
    assert not Path("cache/models").exists()  # nothing was distilled
    texts = ["win aa now", "see you at 8", ""]
    answers = FineTuned.load(Path("run")).predict(texts)
    assert clf("merge", "--checkpoint", "run", "--out", "merged")[0] == 0
    assert meta_of("merged")["source"] is None
    for a, b in zip(answers, FineTuned.load(Path("merged")).predict(texts), strict=True):
        assert a.probabilities["spam"] == pytest.approx(b.probabilities["spam"], abs=1e-4)

    other = {name: -tensor for name, tensor in load_file(TRUNK).items()}
    save_file(other, "other.safetensors")
    monkeypatch.setattr("clfcore.weights.bases.TRUNK", Path("other.safetensors"))
    status, _, err = clf("classify", "hi", "--checkpoint", "run")
    assert status == 1
    assert "trained on other weights of 'gpt2-mini'" in err
    assert clf("classify", "hi", "--checkpoint", "merged")[0] == 0


def test_own_data_with_many_labels_is_described_before_training(clf, tiny_gpt2):
    rows = [{"content": f"{label} {LETTERS[i]} {LETTERS[-1 - i]}", "topic": label}
            for label in ("sports", "news", "art") for i in range(20)]  # fmt: skip
    rows += [{"content": "news a z", "topic": "art"}] + [rows[0]] * 3
    rows += [{"content": "art " + "very " * 60, "topic": "art"}]
    Path("own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    options = (
        "--base",
        tiny_gpt2,
        "--out",
        "run",
        "--data",
        "own.jsonl",
        "--label-column",
        "topic",
    )
    status, _, err = clf("train", *options, "--epochs", "1")
    assert status == 0, err
    told = err.replace("\n", " ")
    for part in ("repeat another one", "carr", "more than 48 tokens"):
        assert part in told, err
    assert meta_of("run")["labels"] == ["art", "news", "sports"]
    status, out, _ = clf("classify", "art a z", "--checkpoint", "run", "--json")
    assert set(json.loads(out)["probabilities"]) == {"art", "news", "sports"}


def test_the_curves_of_a_run_can_be_drawn_and_watched(clf, tiny_gpt2):
    options = ("--base", tiny_gpt2, "--out", "run", "--tensorboard", "board", *QUICK)
    assert clf("train", *options)[0] == 0
    assert clf("plot", "--checkpoint", "run", "--out", "curves.png")[0] == 0
    assert Path("curves.png").read_bytes().startswith(b"\x89PNG")
    assert list(Path("board").iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--balance", "smote"), "invents points, which have no text"),
        (("--layers", "prefix"), "prefix"),
        (("--position", "last_column"), "choose one of them, or position last_token"),
        (("--weights", "some"), "choose from pretrained, distilled, random"),
        (("--weights", "distilled"), "only gpt2-mini is distilled here"),
    ],
)
def test_choices_that_do_not_go_together_are_one_line_and_leave_nothing(
    clf, tiny_gpt2, options, message
):
    status, out, err = clf("train", "--base", tiny_gpt2, "--out", "run", *QUICK, *options)
    assert (status, out) == (1, "")
    assert message in err.splitlines()[-1]
    assert not Path("run").exists()
    assert not Path("run.unfinished").exists()


# --- in fewer bits while it learns --------------------------------------------------------------


def test_what_was_trained_in_three_values_is_stored_in_them_and_answers_as_evaluated(
    clf, tiny_gpt2
):
    options = ("--base", tiny_gpt2, "--layers", "all", "--qat", "ternary", *QUICK)
    for folder, more in (("run", ()), ("small", ("--compact",))):
        status, _, err = clf("train", "--out", folder, *options, *more)
        assert status == 0, err
        meta = meta_of(folder)
        assert (meta["weights"]["storage"], meta["activation_bits"]) == ("ternary", 8)
        stored = load_file(Path(folder, "model.safetensors"))
        assert stored["trf_blocks.0.att.W_query.weight:shape"].tolist() == [32, 32]
        assert (stored["tok_emb.weight"].dtype == torch.int8) == bool(more)
        weights = FineTuned.load(Path(folder)).model.trunk.get_parameter(
            "trf_blocks.1.ff.layers.0.weight"
        )
        assert len(weights.unique()) == 3
    status, _, err = clf("quantize", "run", "--scheme", "ternary", "--out", "again")
    assert status == 1
    assert "quantized already, as ternary" in err


def test_three_values_are_for_a_gpt2_whose_checkpoint_holds_all_weights(clf, tiny_llama):
    status, _, err = clf(
        "train", "--base", tiny_llama, "--layers", "all", "--qat", "binary", "--out", "run", *QUICK
    )
    assert status == 1
    assert "qat binary is for a GPT-2" in err
    assert not Path("run").exists()


# --- kills and processes ------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--qat", "ternary")], ids=["as it is", "quantization-aware"])
def test_a_run_killed_at_any_moment_ends_with_the_same_bits(clf, more):
    """kill -9, twice; then it is let go on to its end.

    The model is as small as can be, so that its state is saved many times before the run ends.
    """
    shape = transformers.GPT2Config(n_positions=48, n_embd=8, n_head=2, n_layer=2)
    transformers.GPT2LMHeadModel(shape).save_pretrained("smallest")
    options = (
        "--base", "smallest", "--data", "sms", "--layers", "all", "--epochs", "70",
        "--keep", "best", "--balance", "none",
        "--schedule", "one_cycle", "--batch-size", "2", "--save-every", "0", *more,
    )  # fmt: skip
    finish(start("train", "--out", "whole", *options))
    kill_twice(partial(start, "train", "--out", "killed", "--resume", *options), "killed")
    status, _, err = clf("train", "--out", "killed", "--resume", *options, "--seed", "5")
    assert status == 1
    assert "another run: different settings" in err
    finish(start("train", "--out", "killed", "--resume", *options))
    assert Path("killed/model.safetensors").read_bytes() == (
        Path("whole/model.safetensors").read_bytes()
    )
    assert not Path("killed.unfinished").exists()
    status, _, err = clf("train", "--out", "killed", "--resume", *options)
    assert status == 0
    assert "killed is finished" in err
    a, b = (meta_of(folder)["about"]["train"]["history"] for folder in ("whole", "killed"))
    assert a == b
    assert not [path for path in Path().iterdir() if path.name.startswith(".killed")]


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(clf, tiny_gpt2):
    """Without dropout, which every process draws for itself."""
    options = (
        "--base", tiny_gpt2, "--data", "sms", "--layers", "all", "--epochs", "2",
        "--batch-size", "7", "--learning-rate", "0.005", "--precision", "float32",
    )  # fmt: skip
    assert clf("train", "--out", "one", *options)[0] == 0
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
              "-m", "clfcore")  # fmt: skip
    output = finish(start("train", "--out", "two", *options, program=launch))
    assert output.count("checkpoint: two") == 1
    one, two = (meta_of(folder)["about"] for folder in ("one", "two"))
    assert (one["processes"], two["processes"]) == (1, 2)
    for a, b in zip(one["train"]["history"], two["train"]["history"], strict=True):
        assert a["examples_seen"] == b["examples_seen"]
        for figure in ("train_loss", "val_loss", "train_accuracy", "val_accuracy"):
            assert a[figure] == pytest.approx(b[figure], abs=2e-3)
    assert one["test_metrics"]["accuracy"]["value"] == pytest.approx(
        two["test_metrics"]["accuracy"]["value"], abs=0.05
    )


@pytest.mark.slow
def test_weights_in_two_shards_learn_what_whole_ones_learn(tmp_path):
    """As under FSDP; the shards come together again at the end."""
    program = ROOT / "tests" / "support" / "two_shards.py"
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone",
         "--nproc_per_node", "2", str(program), str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        check=True, timeout=120,
    )  # fmt: skip
    for layers in ("all", "last_block"):
        config = TrainConfig(
            layers=layers, balance="none", epochs=2, batch_size=5, learning_rate=3e-3, keep="best",
            precision="float32",
        )  # fmt: skip
        whole = tiny()
        freeze_all_but(whole.trunk, layers)
        fit(whole, toy_data(), toy_data(), config)
        for name, weight in load_file(tmp_path / f"{layers}.safetensors").items():
            if "W_key.bias" not in name:  # it moves no logit: its gradient is rounding alone
                torch.testing.assert_close(weight, whole.state_dict()[name], atol=1e-4, rtol=1e-3)
