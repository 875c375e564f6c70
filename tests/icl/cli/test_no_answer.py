"""What the commands say of a model behind an API that replies with something else."""

import json
from functools import partial

import pytest

from icl.cli import icl, tuneshot
from tests.support.doubles import EXAMPLES
from tests.support.openai_server import OpenAIServer, Reply, chat

pytestmark = pytest.mark.slow


class Refusing(OpenAIServer):
    def reply(self, request) -> Reply:
        return chat("It is not spam")


@pytest.fixture(scope="module")
def server():
    with Refusing() as server:
        yield server


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(server, cache, tmp_path, monkeypatch, command):
    """A command about that server: (exit status, stdout, stderr)."""
    pytest.importorskip("litellm")
    monkeypatch.setenv("TUNESHOT_CACHE", str(cache))
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pool.tsv").write_text("".join(f"{e.label}\t{e.text}\n" for e in EXAMPLES))
    return partial(command)


LM = ("--lm", "api:openai/tiny", "-k", "2", "--pool", "pool.tsv")
FEW_QUESTIONS = ("--limit", "4", *LM)


def test_an_evaluation_counts_no_answer_as_no_answer(run):
    status, out, err = run(icl.main, "icl", "evaluate", *FEW_QUESTIONS)
    assert status == 0
    lines = {cells[1].strip(): cells[2].strip() for line in out.splitlines()
             if len(cells := line.split("│")) > 3}  # fmt: skip
    assert lines["accuracy"] == "0.0000"
    assert lines["answers without a label"] == "4 of 4"
    assert lines["ham answers right (precision)"] == "–"
    assert "4 of 4 answers named no label; " in err
    _, out, err = run(icl.main, "icl", "evaluate", *FEW_QUESTIONS, "--json")
    record = json.loads(out)
    assert (record["messages"], record["no_answer"], record["accuracy"]["hits"]) == (4, 4, 0)
    assert record["confusion"] == [[0, 0, 2], [0, 0, 2]]


def test_classify_says_no_answer_and_what_the_model_said(run):
    status, out, err = run(icl.main, "icl", "classify", *LM, "see you")
    assert status == 0
    assert out.splitlines()[0].startswith("no answer   see you")
    assert "1 of 1 answers named no label; " in err
    _, out, _ = run(icl.main, "icl", "classify", *LM, "see you", "--json")
    record = json.loads(out)
    assert (record["label"], record["probabilities"]) == (None, None)
    assert "'It is not spam'" in record["notes"][0]


def test_the_front_door_shows_it_beside_the_other_answer(run):
    status, out, err = run(tuneshot.main, "tuneshot", "classify", *LM, "win a prize")
    assert status == 0
    assert "spam" in out.splitlines()[1]
    assert "no answer" in out.splitlines()[1]
    assert "1 of 1 answers named no label; " in err


def test_a_grid_has_a_column_for_it(run):
    status, _, err = run(
        icl.main, "icl", "grid", "--tasks", "sms_spam", "--selectors", "random", "--lms",
        "api:openai/tiny", "--seeds", "1", "--limit", "4", "--out", "grid",
    )  # fmt: skip
    assert status == 0
    assert "8 of 8 answers named no label; " in err
    status, out, _ = run(
        icl.main, "icl", "grid", "--tasks", "a", "--selectors", "a", "--table", "--out", "grid"
    )
    first = out[out.index("| model") :].partition("\n\n")[0]
    header, _, *rows = (line.strip("| ").split(" | ") for line in first.splitlines())
    assert header[-1] == "no answer"
    assert {row[1]: row[-1] for row in rows} == {
        "knn": "0 of 4", "zero": "4 of 4", "random": "4 of 4",
    }  # fmt: skip


def test_a_comparison_has_a_column_for_it(run):
    status, out, err = run(
        tuneshot.main, "tuneshot", "compare", "--methods", "zero,majority", "--budgets", "8",
        "--seeds", "1", "--test-size", "4", "--no-robust", "--jobs", "1", "--lm",
        "api:openai/tiny", "--out", "compared",
    )  # fmt: skip
    assert status == 0
    assert "4 of 4" in out
    assert "4 of 4 answers named no label; " in err
