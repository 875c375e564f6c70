import json
from functools import partial

import pytest

from icl.cli.icl import main
from icl.settings import FewShotConfig
from tests.support.doubles import save_tiny_lm
from tests.support.modules import ROOT

WORDS = {"spam": ("prize", "cash", "win", "free"), "ham": ("dinner", "milk", "train", "mum")}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A tiny language model, and 100 messages, half of them spam."""
    folder = tmp_path_factory.mktemp("home")
    save_tiny_lm(folder / "lm")
    rows = [(label, f"{WORDS[label][n % 4]} number{n}") for n in range(50) for label in WORDS]
    (folder / "data.tsv").write_text("".join(f"{label}\t{text}\n" for label, text in rows))
    return folder


@pytest.fixture
def icl(home, monkeypatch, command):
    monkeypatch.setenv("TUNESHOT_CACHE", str(home / "cache"))
    return lambda name, *rest: command(main, "icl", name, *rest, "--lm", home / "lm")


def test_the_page_about_tuning_names_commands_and_options_that_there_are(command):
    page = (ROOT / "docs/in-context-learning.md").read_text(encoding="utf-8")
    section = page.partition("## Tuning")[2].partition("\n## ")[0]
    lines = [line.split() for line in section.splitlines() if line.startswith("    icl ")]
    assert {line[1] for line in lines} == {"tune", "evaluate", "classify"}
    for line in lines:
        _, told, _ = command(main, "icl", line[1], "--help")
        assert all(word in told for word in line if word.startswith("--"))


def write_recipe(path, labels=("ham", "spam"), **settings):
    path.write_text(json.dumps({"task": "toy", "labels": labels, "settings": settings}))
    return path


def test_a_recipe_is_chosen_written_and_used(icl, home, tmp_path):
    out, data = tmp_path / "mine.json", home / "data.tsv"
    code, told, err = icl("tune", "--data", data, "--reads", "60", "--out", out)
    assert code == 0, err
    assert "at most 6" in err or "at most 5" in err, "reads, before the first of them"
    assert "→" in told
    assert all(len(line) <= 80 for line in told.splitlines()[:-2])
    assert len({line.split()[-1] for line in told.splitlines() if "%" in line}) > 1, "not cut"
    recipe = json.loads(out.read_text())
    assert recipe["labels"] == ["ham", "spam"]
    assert recipe["basis"]["labelled"]["messages"] == 70, "the training part"
    tried = [json.loads(line) for line in out.with_suffix(".jsonl").read_text().splitlines()]
    assert sum(trial["chosen"] for trial in tried) == 1
    code, told, err = icl("evaluate", "--data", data, "--recipe", out, "--limit", "4", "--json")
    assert code == 0, err
    record = json.loads(told)
    for name in ("selector", "options", "order", "scoring", "calibration", "seed"):
        assert record[name] == recipe["settings"][name]


def test_what_is_given_beside_a_recipe_wins_even_if_it_is_the_default(icl, home, tmp_path):
    recipe = write_recipe(tmp_path / "r.json", selector="mmr", options={"relevance": 0.9}, k=2)
    prompt = partial(icl, "evaluate", "--data", home / "data.tsv", "--limit", "2", "--json")

    def settings(*given):
        code, out, err = prompt(*given)
        assert code == 0, err
        return {name: json.loads(out)[name] for name in ("selector", "options", "k")}

    mmr = {"relevance": 0.9}
    assert settings("--recipe", recipe) == {"selector": "mmr", "options": mmr, "k": 2}
    assert settings("--recipe", recipe, "-k", "4") == {"selector": "mmr", "options": mmr, "k": 4}
    assert settings("--recipe", recipe, "--selector", "topk") == {
        "selector": "topk", "options": {}, "k": 2,
    }  # fmt: skip
    assert settings()["k"] == FewShotConfig().k


def test_a_recipe_for_other_labels_is_refused_in_one_line(icl, home, tmp_path):
    recipe = write_recipe(tmp_path / "r.json", labels=("a", "b"))
    for name in ("classify", "show-prompt", "select"):
        code, _, err = icl(name, "--recipe", recipe, "hello")
        assert code == 1
        assert "the recipe is for a, b (task toy), not for ham, spam" in err


@pytest.mark.parametrize("content", ["{", '{"task": "t", "labels": [], "settings": {"kk": 1}}'])
def test_what_is_no_recipe_is_wrong_usage(icl, tmp_path, content):
    path = tmp_path / "r.json"
    path.write_text(content)
    code, _, err = icl("classify", "--recipe", path, "hello")
    assert code == 2
    assert "is no recipe" in " ".join(err.split())


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--out", "recipe.jsonl"), "must be a file that ends in .json, not recipe.jsonl"),
        (("--out", "there.json/"), "must be a file that ends in .json, not there.json"),
        (("--out", "file/r.json"), "cannot write file: there is a file"),
        (("--out", "tried.json"), "tried.jsonl is a folder"),
        (("--reads", "9"), "reads must be 17 or more here, not 9"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(
    icl, home, tmp_path, monkeypatch, options, complaint
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.json").mkdir()
    (tmp_path / "tried.jsonl").mkdir()
    (tmp_path / "file").touch()
    code, _, err = icl("tune", "--data", home / "data.tsv", *options)
    assert code == 1
    assert complaint in " ".join(err.split())
    assert {path.name for path in tmp_path.iterdir()} == {"there.json", "tried.jsonl", "file"}


def test_a_pool_that_is_too_small_to_be_split_can_be_tuned_on(icl, home, tmp_path):
    lines = (home / "data.tsv").read_text().splitlines(keepends=True)
    (pool := tmp_path / "pool.tsv").write_text("".join(lines[:19]))
    out = tmp_path / "r.json"
    given = ("--task", pool, "--pool", pool)
    code, _, err = icl("tune", *given, "--reads", "40", "--out", out)
    assert code == 0, err
    assert json.loads(out.read_text())["basis"]["labelled"]["messages"] == 19
    code, _, err = icl("evaluate", *given)
    assert code == 1
    assert "has 9 messages" in " ".join(err.split()), "there is nothing to ask about"


def test_what_is_interrupted_leaves_no_file(icl, home, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("icl.tuning.tune.choose", interrupted)
    out = tmp_path / "r.json"
    code, _, err = icl("tune", "--data", home / "data.tsv", "--reads", "40", "--out", out)
    assert (code, err.splitlines()[-1]) == (130, "interrupted")
    assert list(tmp_path.iterdir()) == []


def test_with_too_few_messages_the_recipe_has_the_defaults_and_says_so(icl, home, tmp_path):
    pool, data, out = (tmp_path / name for name in ("pool.tsv", "data.tsv", "r.json"))
    lines = (home / "data.tsv").read_text().splitlines(keepends=True)
    pool.write_text("".join(lines[:10]))
    data.write_text("".join(lines[10:]))
    code, _, err = icl("tune", "--pool", pool, "--data", data, "--out", out)
    assert code == 0, err
    assert "labelled messages are too few to choose by" in " ".join(err.split())
    assert json.loads(out.read_text())["settings"]["k"] == FewShotConfig().k
