"""``icl forget``: rows of figures, records that are continued, one line for what cannot be done."""

import json
import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from icl.cli import icl
from tests.support.doubles import EXAMPLES, save_tiny_lm
from tests.support.killed import finish, start

TINY = ("--messages", "4", "--test", "4", "--measured", "4", "--questions", "4", "--every", "1",
        "--batch-size", "2", "--pool", "pool.tsv", "--data", "asked.tsv")  # fmt: skip


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return str(save_tiny_lm(tmp_path_factory.mktemp("lm"), "llama"))


@pytest.fixture
def run(tmp_path, monkeypatch, command):
    """``icl forget`` in a folder with ten messages to learn from and ten to ask about."""
    monkeypatch.chdir(tmp_path)
    Path("pool.tsv").write_text("".join(f"{e.label}\t{e.text}\n" for e in EXAMPLES))
    Path("asked.tsv").write_text("".join(f"{e.label}\t{e.text}, ok\n" for e in EXAMPLES))
    return partial(command, icl.main, "icl", "forget")


def records(folder):
    lines = Path(folder, "records.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_a_row_for_each_remedy_and_none_of_the_cells_is_run_twice(run, llama):
    words = ("--base", llama, "--remedies", "replay_50", *TINY, "--out", "out")
    status, out, err = run(*words, "--json")
    assert status == 0, err
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["remedy"] for row in rows] == ["none", "replay_50"]
    assert set(rows[0]["lost"]) == {"perplexity_replayed", "perplexity_other", "few_shot_accuracy"}
    assert rows[0]["saved"]["perplexity_other"][0] in (0, None)
    made = records("out")
    assert [point["step"] for point in made[0]["test"]["curve"]] == [0, 1, 2]
    assert [point["step"] for point in made[1]["test"]["curve"]] == [0, 1, 2, 3, 4]
    assert made[0]["test"]["curve"][0] == made[1]["test"]["curve"][0]
    assert "| none |" in Path("out/table.md").read_text()
    assert not list(Path("out").rglob("*.unfinished"))
    status, out, err = run(*words)
    assert status == 0, err
    assert "replay_50" in out
    assert "records: out/records.jsonl" in out
    assert records("out") == made


def test_gpt2_mini_learns_to_tell_news_from_stories_and_may_forget_spam(run, monkeypatch, tmp_path):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path / "cache"))  # the bundled messages
    words = ("--base", "gpt2-mini", "--remedies", "progressive", "--messages", "8", "--test", "4",
             "--measured", "4", "--epochs", "1", "--every", "1")  # fmt: skip
    status, _, err = run(*words, "--json")
    assert status == 0, err
    assert "140 messages to learn from, 60 to ask about" in err
    none, column = (record["test"]["curve"] for record in records("runs/forget"))
    assert set(none[0]) == {"step", "accuracy", "loss", "old_accuracy"}
    assert len({point["old_accuracy"] for point in column}) == 1


def test_the_figure_is_drawn(run, llama):
    words = ("--base", llama, "--remedies", "none", *TINY, "--figure", "it.png")
    status, _, err = run(*words)
    assert status == 0, err
    assert Path("it.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--remedies", "prayer"), "unknown remedy 'prayer'; choose from none, replay_1"),
        (("--remedies", "progressive"), "unknown remedy 'progressive'; choose from none"),
        (("--every", "0"), "every must be 1 or more"),
        (("--learning-rate", "inf"), "learning_rate must be positive and finite"),
        (("--base", "api:openai/gpt"), "has no weights on this machine that could be tuned"),
        (("--base", "nowhere/at/all"), "nowhere/at/all"),
        (("--base", "gpt2-mini", "--data", "asked.tsv"), "knows spam already"),
        (("--texts", "missing.csv"), "missing.csv"),
        (("--figure", "it.doc"), "cannot draw it.doc"),
        (("--out", "pool.tsv/it"), "pool.tsv"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(run, llama, options, reason):
    before = set(Path().rglob("*"))
    given = () if "--base" in options else ("--base", llama, *TINY)
    status, out, err = run(*given, *options)
    assert status in (1, 2)
    assert reason in " ".join(err.split())
    assert "Traceback" not in err
    assert out == ""
    assert set(Path().rglob("*")) == before


def test_labels_that_begin_alike_cannot_be_told_apart(run, llama):
    Path("alike.tsv").write_text(
        "".join(f"{('xa', 'xb', 'y')[i % 3]}\ttext {i}\n" for i in range(60))
    )
    status, _, err = run("--base", llama, "--task", "./alike.tsv", *TINY[:-4])
    assert status == 1
    assert "some begin alike" in " ".join(err.split())


@pytest.mark.slow
def test_a_comparison_killed_at_any_moment_ends_with_the_same_curves(run, llama):
    """kill -9, twice, in the middle of a cell; then it is let go on to its end."""
    options = ("--base", llama, "--remedies", "ewc", *TINY, "--epochs", "40", "--every", "10",
               "--save-every", "0")  # fmt: skip

    def saved():
        """When the state of the run in progress was written last, for each file that has one."""
        found = {}
        for file in Path("killed").rglob("*.unfinished"):
            with suppress(FileNotFoundError):  # the cell has just ended
                found[file] = file.stat().st_mtime_ns
        return found

    go_on = partial(start, "forget", *options, "--out", "killed", program=("-m", "icl"))
    finish(start("forget", *options, "--out", "whole", program=("-m", "icl")))
    for _ in range(2):
        before = saved()
        with go_on() as process:
            while process.poll() is None:
                time.sleep(0.01)
                if any(written != before.get(file) for file, written in saved().items()):
                    process.send_signal(signal.SIGKILL)
                    break
            assert process.wait() == -signal.SIGKILL
    finish(go_on())
    one, other = ([r["test"]["curve"] for r in records(name)] for name in ("whole", "killed"))
    assert one == other
    assert not list(Path("killed").rglob("*.unfinished"))
