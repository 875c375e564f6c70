"""The pages of the labs: their commands work, their tables are what the commands print."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from clfcore.cli import clf
from icl.cli import icl, tuneshot

DOCS = Path(__file__).parents[2] / "docs"
LABS = sorted((DOCS / "labs").glob("*.md"))
APPS = {"clf": clf.app, "icl": icl.app, "tuneshot": tuneshot.app}


def commands(text: str) -> list[list[str]]:
    """The words of every command of a page."""
    lines = re.findall(r"^ {4}((?:clf|icl|tuneshot) .*)", text, re.M)
    return [shlex.split(line, comments=True) for line in lines]


def rows(text: str) -> list[list[str]]:
    """The cells of every row of the tables of a page."""
    lines = re.findall(r"^\| (.*)\|$", text, re.M)
    return [[cell.strip() for cell in line.split("|")] for line in lines]


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_every_command_of_a_lab_has_the_options_it_names(path):
    found = commands(path.read_text(encoding="utf-8"))
    assert found
    for program, name, *words in found:
        command = typer.main.get_command(APPS[program]).commands[name]  # type: ignore[attr-defined]
        while hasattr(command, "commands"):  # a group, as ``clf data show``
            command, *words = command.commands[words[0]], *words[1:]
        command.make_context(name, words)


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_the_lines_that_a_lab_shows_stand_in_its_file(path):
    text = path.read_text(encoding="utf-8")
    shown = re.search(r"\(`([\w/]+\.py)`\):\n\n```python\n(.*?)```", text, re.S)
    assert shown, "a page shows the lines that matter, and where they stand"
    source = [line.strip() for line in (DOCS.parent / shown[1]).read_text("utf-8").splitlines()]
    for line in filter(None, map(str.strip, shown[2].splitlines())):
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
