"""``tuneshot classify``: both answers to every message."""

import json
from functools import partial

import pytest

from icl.cli.tuneshot import main
from tests.support.doubles import EXAMPLES, save_tiny_lm


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A cache, a tiny language model and a pool."""
    folder = tmp_path_factory.mktemp("home")
    save_tiny_lm(folder / "lm")
    (folder / "pool.tsv").write_text("".join(f"{e.label}\t{e.text}\n" for e in EXAMPLES))
    return folder


@pytest.fixture
def classify(home, monkeypatch, command):
    """``tuneshot classify`` with the bundled gpt2-mini, a tiny language model and a pool."""
    monkeypatch.setenv("TUNESHOT_CACHE", str(home / "cache"))
    usual = ("classify", "--pool", home / "pool.tsv", "--lm", home / "lm")
    return partial(command, main, "tuneshot", *usual)


def test_both_methods_answer_every_message(classify, tmp_path):
    (tmp_path / "more.txt").write_text("see you\n")
    status, out, _ = classify("win a prize", "--file", tmp_path / "more.txt", "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [record["text"] for record in records] == ["win a prize", "see you"]
    for record in records:
        for method in ("fine_tuned", "few_shot"):
            assert {"label", "probabilities", "ms", "notes"} == set(record[method])
            assert sum(record[method]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert records[0]["fine_tuned"]["label"] == "spam"


def test_the_table_shows_both_labels_and_never_interprets_a_message(classify):
    status, out, _ = classify("--selector", "knn", "[red]see[/red]\x1b[31m you")
    header, row = out.splitlines()
    assert status == 0
    assert header.split() == ["fine-tuned", "few-shot", "message"]
    assert row.startswith("ham ")
    assert r"[red]see[/red]\x1b[31m you" in row


@pytest.mark.parametrize(
    ("options", "fails", "answers", "reason"),
    [
        (("--lm", "/nowhere"), "few_shot", "fine_tuned", "few-shot: /nowhere is not there"),
        (("--checkpoint", "/nowhere"), "fine_tuned", "few_shot", "fine-tuned: no checkpoint at"),
    ],
)
def test_one_method_answers_where_the_other_cannot(classify, options, fails, answers, reason):
    status, out, err = classify("see you", "see me", *options, "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert [line for line in err.splitlines() if line.startswith(reason)] != []
    assert "Traceback" not in err
    assert len(records) == 2
    for record in records:
        assert record[fails] == {"error": records[0][fails]["error"]}
        assert record[answers]["label"] in ("ham", "spam")
    status, out, _ = classify("see you", *options)
    assert status == 1
    assert "-" in out.splitlines()[1].split()
