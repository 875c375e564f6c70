"""The pages of the labs: their commands work, their tables are what the commands print."""

import json
import re
import shlex
from pathlib import Path
from statistics import fmean

import pytest
import typer

from clfcore.cli import clf
from clfcore.training.settings import LECTURE_NAMES
from icl.cli import icl, tuneshot

DOCS = Path(__file__).parents[2] / "docs"
LABS = sorted((DOCS / "labs").glob("*.md"))
APPS = {"clf": clf.app, "icl": icl.app, "tuneshot": tuneshot.app}


def commands(text: str) -> list[list[str]]:
    """The words of every command of a page."""
    lines = re.findall(r"^ {4}((?:clf|icl|tuneshot) .*)", text, re.M)
    return [shlex.split(line, comments=True) for line in lines]


def check_options(words: list[str]) -> None:
    """Fails if a command is not there, or does not take these options; runs nothing."""
    program, name, *rest = words
    command = typer.main.get_command(APPS[program]).commands[name]  # type: ignore[attr-defined]
    while hasattr(command, "commands"):  # a group, as ``clf data show``
        command, *rest = command.commands[rest[0]], *rest[1:]
    command.make_context(name, rest)


def rows(text: str) -> list[list[str]]:
    """The cells of every row of the tables of a page."""
    lines = re.findall(r"^\| (.*)\|$", text, re.M)
    return [[cell.strip() for cell in line.split("|")] for line in lines]


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_every_command_of_a_lab_has_the_options_it_names(path):
    found = commands(path.read_text(encoding="utf-8"))
    assert found
    for words in found:
        check_options(words)


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_the_lines_that_a_lab_shows_stand_in_its_file(path):
    text = path.read_text(encoding="utf-8")
    shown = re.findall(r"\(`([\w/]+\.py)`\):\n\n```python\n(.*?)```", text, re.S)
    assert shown, "a page shows the lines that matter, and where they stand"
    for place, lines in shown:
        source = [line.strip() for line in (DOCS.parent / place).read_text("utf-8").splitlines()]
        for line in filter(None, map(str.strip, lines.splitlines())):
            assert line in source, line


def test_the_table_of_costs_is_what_the_command_prints(command):
    page = (DOCS / "labs/cost.md").read_text(encoding="utf-8")
    for words in commands(page):
        status, out, _ = command(clf.main, *words)
        assert status == 0
        printed = [re.findall(r"[\w.+]+", line) for line in out.splitlines()]
        for row in rows(page)[1:]:
            assert row in printed
    _, out, _ = command(clf.main, *commands(page)[0])
    assert "9.6e+20 FLOP; 10 tokens a parameter, 0.5 times Chinchilla's 20" in out
    assert "2.828B parameters and 56.57B tokens" in out
    assert "2,136.8 hours" in out


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(0, id="gpt2-mini"),
        pytest.param(3, id="SmolLM2", marks=pytest.mark.slow),
    ],
)
def test_the_tables_of_attention_are_what_the_commands_print(number, command):
    page = (DOCS / "labs/attention.md").read_text(encoding="utf-8")
    words = commands(page)[number]
    status, out, _ = command(clf.main, *words)
    assert status == 0
    printed = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines()]
    table = rows(page)[5:] if number else rows(page)[:5]
    assert len(table) == 5
    for row in table[1:]:
        assert row in printed


def test_the_other_commands_of_attention_work(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "labs/attention.md").read_text(encoding="utf-8")
    for words in commands(page)[1:3]:
        assert command(clf.main, *words)[0] == 0
    assert (tmp_path / "heads.png").exists()


def test_the_table_of_composition_is_what_the_command_prints(command):
    page = (DOCS / "labs/composition.md").read_text(encoding="utf-8")
    record = json.loads(command(icl.main, *commands(page)[0], "--json")[1])
    header, *table = [row for row in rows(page) if not row[0].startswith("--")]
    assert header[-1] == "largest n"
    shown = [
        [name, *(f"{layer[key]:,}" for key in ("heads", "width", "bits", "largest_domain"))]
        for name, layer in record["layers"].items()
    ]
    assert table == shown
    assert f"{record['bits_needed']:.1f} bits" in page
    assert command(icl.main, *commands(page)[2])[0] == 0


@pytest.mark.slow
def test_what_is_said_of_the_six_questions_is_what_the_model_answers(command):
    page = (DOCS / "labs/composition.md").read_text(encoding="utf-8")
    asked = json.loads(command(icl.main, *commands(page)[1], "--json")[1])["questions"]
    assert [each["right"] for each in asked] == [False] * 6
    for country in ("Italy", "Germany", "Poland", "Russia", "Norway"):
        assert country in page
        assert country in [each["answer"] for each in asked]


@pytest.mark.parametrize("column", [1, 2], ids=["corpus", "sample"])
def test_the_cards_are_what_the_command_prints(column, command, tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path))
    corpus = DOCS.parents[1] / "shared/data/sms_spam/SMSSpamCollection"
    if column == 1 and not corpus.exists():
        pytest.skip("the corpus is not at hand")
    page = (DOCS / "labs/data-card.md").read_text(encoding="utf-8")
    data = ("--data", corpus) if column == 1 else ()
    status, out, _ = command(clf.main, *commands(page)[0], *data)
    assert status == 0
    printed = [" ".join(line.split()) for line in out.splitlines()]
    table = [row for row in rows(page) if not row[0].startswith("--")][1:]
    assert len(table) == 7
    for row in table:
        assert f"{row[0]} {row[column]}" in printed


def test_the_slides_names_are_those_of_the_table():
    page = (DOCS / "labs/three-ways.md").read_text(encoding="utf-8")
    named = [[cell.strip("`") for cell in row[:2]] for row in rows(page) if row[0][0] == "`"]
    assert dict(named) == LECTURE_NAMES
    records = (DOCS / "records/experiments_book.jsonl").read_text(encoding="utf-8").splitlines()
    shares = {}
    for run in map(json.loads, records):
        if run.get("test"):
            shares.setdefault(run["key"], []).append(run["test"]["accuracy"]["value"])
    for row in ("book-01", "book-05"):
        assert f"{100 * fmean(shares[row]):.1f} %" in page


def test_the_lectures_matrix_is_shown_as_the_command_prints_it(command):
    page = (DOCS / "labs/rank.md").read_text(encoding="utf-8")
    status, out, _ = command(clf.main, *commands(page)[0])
    assert status == 0
    for line in out.splitlines()[:3]:
        assert f"    {line}\n" in page


def test_what_is_said_of_the_rank_of_fine_tuning_stands_in_its_record():
    """The table itself is checked by docs/figures.py."""
    page = (DOCS / "labs/rank.md").read_text(encoding="utf-8")
    lines = (DOCS / "records/rank_gpt2_mini.jsonl").read_text(encoding="utf-8").splitlines()
    change, *cuts = map(json.loads, lines)
    assert len(change["matrices"]) == 24
    assert f"holds {1 - change['all']['missed']:.0%}".replace("%", " %") in page
    assert f"would hold {1 - change['random']['missed']:.0%}".replace("%", " %") in page
    changed = {cut["rank"]: cut["answers_changed"] for cut in cuts}
    assert (changed[16], changed[1], changed[0]) == (0, 2, 51)
