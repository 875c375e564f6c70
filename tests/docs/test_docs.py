"""The Python of the documentation's pages runs, in the order in which it stands there."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from clfcore.evaluation.perturb import INJECTIONS, Fields, WrongAnswer
from clfcore.evaluation.perturb import injection as injection_words

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.S)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["in-context-learning.md", "compare.md"])
def test_the_examples_of_a_page_run(name, capsys):
    names: dict[str, object] = {}
    found = blocks(name)
    assert found
    for block in found:
        exec(block, names)
    assert capsys.readouterr().out


PAGES = [DOCS.parent / "README.md", *DOCS.glob("*.md")]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_file_that_a_page_names_is_there(path):
    """By its path from the root, or beside the file named before it."""
    named, folder = re.findall(r"`([\w/.-]+\.(?:py|txt|css|js|yaml)|(?:clfcore|icl)/[\w/]*)`",
                               path.read_text(encoding="utf-8")), DOCS.parent  # fmt: skip
    for name in named:
        if not (DOCS.parent / name).exists():
            assert (folder / name).exists(), name
        else:
            folder = DOCS.parent / name
            folder = folder if folder.is_dir() else folder.parent


def test_every_template_and_selector_that_a_page_names_is_there():
    from icl.selectors.table import SELECTORS

    page = (DOCS / "in-context-learning.md").read_text(encoding="utf-8")
    section = page[page.index("## Selectors") : page.index("## Templates")]
    rows = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert len(named) > 10
    assert named <= SELECTORS.keys()
    template = (DOCS.parent / "icl/prompt/templates/sst2.txt").read_text(encoding="utf-8").rstrip()
    shown = "\n".join("    " + line if line else "" for line in template.splitlines())
    assert shown in page


def test_the_page_of_experiments_is_made_of_its_records():
    checked = [sys.executable, str(DOCS / "experiments.py"), "--check"]
    assert subprocess.run(checked, check=False).returncode == 0


def test_records_of_comparisons_hold_no_messages():
    kept = list((DOCS / "records").glob("compare_*.json"))
    assert kept
    for path in kept:
        assert json.loads(path.read_text(encoding="utf-8"))["disagreements"]["items"] == []


@pytest.mark.parametrize("name", ["compare.md", "experiments.md"])
def test_the_commands_of_a_page_have_the_options_they_name(name, command):
    from icl.cli.tuneshot import main

    text = (DOCS / name).read_text(encoding="utf-8")
    lines = re.findall(r"(?:^|`)(tuneshot compare[^`\n#]*)", text, re.M)
    assert lines
    for line in lines:
        words = shlex.split(line)
        assert command(main, *words, *(["--list"] if "--list" not in words else []))[0] == 0, line


def test_the_command_that_measures_the_defaults_takes_every_task_that_it_names(command, tmp_path):
    from icl.cli.icl import main
    from icl.prompt.tasks import TASKS

    text = (DOCS / "few-shot.md").read_text(encoding="utf-8")
    section = text[text.index("## What the defaults are measured on") :].split("\n## ")[0]
    (line,) = re.findall(r"^ {4}(icl grid .*\\\n.*)", section, re.M)
    words = shlex.split(line.replace("\\\n", " "))
    named = {words[words.index("--tasks") + 1], *re.findall(r"`(\w+)`", section)} - {"DATA"}
    assert len(named) == 7
    assert named <= TASKS.keys()
    status, _, said = command(main, *words, "--table", "--out", tmp_path)
    assert (status, said) == (
        1, f"error: no records in {tmp_path}/records.jsonl; run the grid first, or choose another "
        "--out\n",
    )  # fmt: skip


def test_the_commands_of_instruction_tuning_have_the_options_and_methods_they_name():
    import typer

    from clfcore.cli import clf
    from icl.cli import icl, tuneshot
    from icl.compare.methods import METHODS

    apps = {"clf": clf.app, "icl": icl.app, "tuneshot": tuneshot.app}
    text = (DOCS / "instruction-tuning.md").read_text(encoding="utf-8")
    lines = re.findall(r"^ {4}((?:clf|icl|tuneshot) [^#\n]*)", text, re.M)
    assert len(lines) == 9
    for line in lines:
        program, name, *words = shlex.split(line)
        command = typer.main.get_command(apps[program]).commands[name]
        given = command.make_context(name, words).params
        assert set((given.get("methods") or "zero").split(",")) <= METHODS.keys() | {""}
    named = set(re.findall(r"^\| `(\w+)`", text.split("## One model")[1], re.M))
    assert named <= METHODS.keys()
    options = {o for p in typer.main.get_command(icl.app).commands["train"].params for o in p.opts}
    assert set(re.findall(r"`(--[\w-]+)`", text)) <= options | {"--scoring", "--same-model"}


def test_the_table_of_injections_is_made_of_its_record():
    page = (DOCS / "security.md").read_text(encoding="utf-8")
    lines = (DOCS / "records/injection.jsonl").read_text(encoding="utf-8").splitlines()
    found = {
        (record["asked"], record["injection"], record["place"], record["label"]): record
        for record in map(json.loads, lines)
    }
    assert len(found) == len(lines)

    def cell(asked, injection, place, label):
        if (record := found.get((asked, injection, place, label))) is None:
            return "–"
        more, low, high = record["more_than_harmless"]
        turned = f"{record['turned']} of {record['of']} ({record['turned_by_harmless']})"
        text = f"{turned}, {more:+.1f} [{low:+.1f}, {high:+.1f}]"
        return text if record["ok"] else f"**{text}**"

    for injection in INJECTIONS:
        for place in ("end", "front"):
            cells = " | ".join(
                cell(asked, injection, place, label)
                for asked in ("fine-tuned", "few-shot")
                for label in ("ham", "spam")
            )
            assert f"| {injection.replace('_', ' ')} | {place} | {cells} |" in page
    fields = Fields("SMS: ", "\nType:")
    for injection in INJECTIONS:
        words = injection_words(injection, WrongAnswer("spam", fields))
        assert words.replace("\n", "\\n") in page
