"""``clf align``: a folder and a record of what changed; what cannot be done is one line."""

import json
import math
from functools import partial
from pathlib import Path

import pytest

from clfcore.cli import clf
from tests.support.doubles import save_tiny_lm
from tests.support.killed import finish, kill_twice, start
from tests.support.lazy import lazy

transformers = lazy("transformers")

FAST = ("--data", "pairs.jsonl", "--epochs", "1", "--batch-size", "4", "--rank", "2")


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return str(save_tiny_lm(tmp_path_factory.mktemp("lm"), "llama"))


@pytest.fixture
def run(tmp_path, monkeypatch, command):
    """``clf align`` in a folder with 12 pairs of three topics."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {"context": f"{topic} {n}?", "better": f"ham so, {n}", "worse": f"spam, {n}.",
         "topic": topic}
        for topic in ("tea", "milk", "rain") for n in range(4)
    ]  # fmt: skip
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return partial(command, clf.main, "clf", "align")


def test_clf_align_says_what_changed_and_writes_a_folder_that_transformers_opens(run, llama):
    status, out, err = run("--lm", llama, *FAST, "--learning-rate", "2e-2", "--json", "--out", "a")
    assert status == 0, err
    assert "4 pairs to learn from, 8 of other topics held out" in err
    said = json.loads(out)
    assert said["preferred"]["before"]["of"] == said["preferred"]["after"]["of"] == 8
    assert len(said["preferred"]["pairs"]["before"]) == 8
    gain, shares = said["preferred"]["gain"], said["preferred"]
    assert gain["value"] == pytest.approx(shares["after"]["value"] - shares["before"]["value"])
    assert gain["low"] <= gain["value"] <= gain["high"]
    start, *_, last = said["steps"]
    assert start == {"step": 0, "loss": math.log(2), "preferred": shares["before"]["value"],
                     "margin": 0.0, "kl": 0.0}  # fmt: skip
    assert last["margin"] > 0
    assert last["kl"] > 0
    assert last["preferred"] == shares["after"]["value"]
    assert said["scores"]["perplexity"]["before"] > 1
    assert [reply["better"] for reply in said["replies"]] == ["ham so, 3", "ham so, 3"]
    assert said["config"]["beta"] == 0.1
    assert len(said["data"]["held_out_topics"]) == 2
    about = json.loads(Path("a/tuning.json").read_text())
    assert about["objective"] == "preferences"
    assert about["preferred"] == said["preferred"]
    transformers.AutoModelForCausalLM.from_pretrained("a")
    assert not Path("a.unfinished").exists()
    status, _, err = run("--lm", "a", *FAST, "--out", "./a")
    assert status == 1
    assert "is the language model to be aligned; choose another --out" in err


def test_the_terminal_shows_shares_steps_and_replies_side_by_side(run, llama):
    status, out, err = run("--lm", llama, *FAST, "--out", "a")
    assert status == 0, err
    for words in ("preferred, %", "points", "perplexity", "margin, nats", "KL, nats a token",
                  "the better answer", "language model: a"):  # fmt: skip
        assert words in out


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--beta", "0"), "beta must be positive and finite"),
        (("--held-out", "1"), "held_out must be in (0, 1)"),
        (("--rank", "0"), "rank must be 1 or more"),
        (("--schedule", "up"), "unknown schedule 'up'; choose from"),
        (("--data", "none.jsonl"), "none.jsonl"),
        (("--data", "empty.jsonl"), "empty.jsonl"),
        (("--data", "one.jsonl"), "have 1 topic, and whole topics are held out"),
        (("--data", "wrong.jsonl"), "has no column"),
        (("--lm", "nowhere/at/all"), "nowhere/at/all"),
        (("--lm", ""), "the model has no name"),
        (("--out", "pairs.jsonl"), "exists and is not a tuned language model"),
        (("--learning-rate", "1e9", "--epochs", "9"), "choose a smaller --learning-rate"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(run, llama, options, reason):
    Path("empty.jsonl").write_text("")
    row = {"context": "a?", "better": "b", "worse": "c", "topic": "one"}
    Path("one.jsonl").write_text(json.dumps(row) + "\n")
    Path("wrong.jsonl").write_text(json.dumps({"context": "a?", "answer": "b"}) + "\n")
    before = set(Path().iterdir())
    given = () if "--lm" in options else ("--lm", llama)
    status, out, err = run(*given, *FAST, *options)
    assert status in (1, 2)
    assert reason in " ".join(err.split())
    assert "Traceback" not in err
    assert out == ""
    assert set(Path().iterdir()) == before


@pytest.mark.slow
def test_an_alignment_killed_at_any_moment_ends_with_the_same_bits(run, llama):
    """kill -9, twice; then it is let go on to its end."""
    options = ("--lm", llama, "--data", "pairs.jsonl", "--epochs", "60", "--batch-size", "2",
               "--validate-every", "10", "--save-every", "0")  # fmt: skip

    finish(start("align", *options, "--out", "whole"))
    go_on = partial(start, "align", *options, "--out", "killed", "--resume")
    kill_twice(go_on, "killed")
    status, _, err = run(*options, "--out", "killed", "--resume", "--seed", "5")
    assert status == 1
    assert "another run: different" in err
    finish(go_on())
    one, other = (Path(name, "model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert one == other
    histories = [json.loads(Path(name, "tuning.json").read_text())["train"]["history"]
                 for name in ("whole", "killed")]  # fmt: skip
    assert histories[0] == histories[1]
    assert not Path("killed.unfinished").exists()
    status, _, err = run(*options, "--out", "killed", "--resume")
    assert status == 0
    assert "killed is finished" in err
