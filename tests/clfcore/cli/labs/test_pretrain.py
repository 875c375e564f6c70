"""``clf pretrain`` and ``clf sample``: what they print, what they write, one line a failure."""

import io
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from clfcore.cli.clf import main
from clfcore.model.gpt import GPTModel
from clfcore.model.spec import GPTConfig
from clfcore.pretraining.language_model import load_writing_base
from clfcore.pretraining.recipe import pretrain
from clfcore.weights.pretrained import save_gpt2
from tests.docs.test_labs import commands
from tests.support.killed import finish, kill_twice, start
from tests.support.two_shards_pretraining import CONFIG, TEXTS

ROOT = Path(__file__).parents[4]

BOOK = "".join(f"see you at {n}, and bring {n + 1} friends\n" for n in range(40))
LABELLED = (("ham", "see you"), ("spam", "win a prize"))


@pytest.fixture(scope="module")
def tiny_base(tmp_path_factory):
    return small_base(tmp_path_factory.mktemp("tiny") / "base", positions=32, width=32)


def small_base(folder, positions, width):
    torch.manual_seed(0)
    save_gpt2(folder, GPTModel(GPTConfig(50257, positions, width, n_heads=2, n_layers=2)))
    return folder


@pytest.fixture
def clf(command, tmp_path, monkeypatch):
    """Runs ``clf`` in a folder with a text of forty lines."""
    monkeypatch.chdir(tmp_path)
    Path("book.txt").write_text(BOOK)
    return lambda *words: command(main, "clf", *words)


def test_a_base_is_taught_written_down_and_used(clf, tiny_base):
    learn = ("--base", tiny_base, "--data", "book.txt", "--epochs", "3", "--out", "out",
             "--learning-rate", "0.003")  # fmt: skip
    status, out, err = clf("pretrain", *learn, "--sample-every", "5", "--sample-from", "see\nyou")
    assert status == 0, err
    assert "book.txt: 36 documents to learn from, 4 held out" in " ".join(err.split())
    assert "step 5: see\\nyou" in err
    assert "perplexity" in out
    assert "language model: out" in out
    about = json.loads(Path("out/pretraining.json").read_text())["held_out"]
    assert about["after"]["perplexity"] < about["before"]["perplexity"]

    texts = [clf("sample", "out", "see you", "--tokens", "5", "--seed", s)[1] for s in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert texts[0].startswith("see you")
    line = clf("sample", "out", "see you", "--tokens", "5", "--seed", "1", "--json")[1]
    assert json.loads(line)["text"] == texts[0].removeprefix("see you").removesuffix("\n")

    rows = [f"{label}\t{text} {n}\n" for n in range(12) for label, text in LABELLED]
    Path("sms").write_text("".join(rows))
    status, out, err = clf("train", "--base", "out", "--data", "sms", "--epochs", "1",
                           "--layers", "last_layer", "--out", "classifier")  # fmt: skip
    assert status == 0, err
    assert "checkpoint: classifier" in out


def test_the_commands_of_the_page_work_one_after_the_other(clf, tmp_path):
    """With a smaller base, and with texts and messages of which there are fewer."""
    small_base(tmp_path / "small", positions=64, width=8)
    rows = [f"{label}\t{text} {n}\n" for n in range(12) for label, text in LABELLED]
    Path("sms").write_text("".join(rows))
    page = (ROOT / "docs/labs/pretraining.md").read_text(encoding="utf-8")
    for program, *words in commands(page):
        assert program == "clf"
        name, *options = ("small" if word == "gpt2-mini" else word for word in words)
        more = {"pretrain": ("--data", "book.txt"), "train": ("--data", "sms")}.get(name, ())
        status, out, err = clf(name, *options, *more)
        assert status == 0, err
        assert out


def test_what_is_written_steers_no_terminal(tiny_base, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "argv", ["clf", "sample", str(tiny_base), "\x1b[2J", "--tokens", "9"])
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setattr(
        "clfcore.pretraining.sample.write", lambda *_: iter(["a\x1b", "[31m\n", "b"])
    )
    with pytest.raises(SystemExit):
        main()
    assert sys.stdout.getvalue() == "\\x1b[2Ja\\x1b[31m\nb\n"


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("\n \n", (), "book.txt holds no text"),
        ("see you\nbye\n", (), "and a block has 32; give more text, or a --block of at most"),
        (BOOK, ("--block", "64"), "reads 32 tokens, and --block is 64"),
        (BOOK, ("--data", "other.txt"), "there is no other.txt; give a text file"),
        (BOOK, ("--base", "no/such/base"), "no/such/base is not there; give a Hugging Face folder"),
        (BOOK, ("--base", "no/such/base", "--weights", "random"), "no/such/base is not there"),
        (BOOK, ("--learning-rate", "1e30"), "choose a smaller --learning-rate"),
        (BOOK, ("--out", "."), "exists and is not a pretrained language model"),
    ],
)
def test_what_goes_wrong_is_one_line_and_nothing_is_written(clf, tiny_base, text, options, said):
    Path("book.txt").write_text(text)
    usual = {"--base": tiny_base, "--data": "book.txt", "--out": "out", "--epochs": "1"}
    options = usual | dict(zip(options[::2], options[1::2], strict=True))
    status, out, err = clf("pretrain", *(word for pair in options.items() for word in pair))
    assert status == 1
    assert out == ""
    error = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert said in error[0]
    assert "Traceback" not in err
    assert [path.name for path in Path().iterdir()] == ["book.txt"]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("no/such/base", "x"), 1, "no/such/base is not there"),
        (("gpt2-mini", "x", "--temperature", "-1"), 2, "temperature must be 0 or more"),
        (("gpt2-mini", "x", "--tokens", "0"), 2, "tokens must be 1 or more"),
    ],
)
def test_nothing_is_written_by_what_is_no_model_or_with_impossible_settings(
    clf, words, status, said
):
    assert clf("sample", *words)[0] == status
    assert said in clf("sample", *words)[2]


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_bits(clf, tiny_base):
    """kill -9, twice; then it is let go on to its end."""
    options = ("pretrain", "--base", tiny_base, "--data", "book.txt", "--epochs", "8",
               "--batch-size", "2", "--save-every", "0")  # fmt: skip
    finish(start(*options, "--out", "whole", "--sample-every", "7"))
    go_on = partial(start, *options, "--out", "killed", "--resume")
    kill_twice(go_on, "killed")
    status, _, err = clf(*options, "--out", "killed", "--resume", "--seed", "5")
    assert status == 1
    assert "another run: different settings" in err
    finish(go_on())
    one, other = (Path(name, "model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert one == other
    assert not Path("killed.unfinished").exists()
    status, _, err = clf(*options, "--out", "killed", "--resume")
    assert status == 0
    assert "killed is finished" in err


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(clf, tiny_base):
    options = ("pretrain", "--base", tiny_base, "--data", "book.txt", "--epochs", "2",
               "--batch-size", "3", "--precision", "float32")  # fmt: skip
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
              "-m", "clfcore")  # fmt: skip
    assert clf(*options, "--out", "one")[0] == 0
    finish(start(*options, "--out", "two", program=launch))
    one, other = (
        json.loads(Path(name, "pretraining.json").read_text())["train"]["history"]
        for name in ("one", "two")
    )
    for a, b in zip(one, other, strict=True):
        for figure in ("train_loss", "val_loss", "train_accuracy", "val_accuracy"):
            assert a[figure] == pytest.approx(b[figure], abs=1e-3)


@pytest.mark.slow
def test_weights_in_two_shards_learn_what_whole_ones_learn(tiny_base, tmp_path):
    """As under FSDP; the head stays tied to the embedding, and the folder holds whole weights."""
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
         "-m", "tests.support.two_shards_pretraining", str(tiny_base), str(tmp_path / "two")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        check=True, timeout=300, cwd=ROOT,
    )  # fmt: skip
    whole = pretrain(str(tiny_base), TEXTS, CONFIG).model.trunk.state_dict()
    for name, weight in load_writing_base(str(tmp_path / "two")).trunk.state_dict().items():
        if "W_key.bias" not in name:  # it moves no logit: its gradient is rounding alone
            torch.testing.assert_close(weight, whole[name], atol=1e-4, rtol=1e-3)
