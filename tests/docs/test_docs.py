"""The Python of the documentation's pages runs, in the order in which it stands there."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.S)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["in-context-learning.md", "compare.md"])
def test_the_examples_of_a_page_run(page, capsys):
    names: dict[str, object] = {}
    found = blocks(page)
    assert found
    for block in found:
        exec(block, names)
    assert capsys.readouterr().out


def test_every_template_and_selector_that_a_page_names_is_there():
    from icl.selectors.table import SELECTORS

    page = (DOCS / "in-context-learning.md").read_text(encoding="utf-8")
    assert [name for name in SELECTORS if f"`{name}`" not in page] == []
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


@pytest.mark.parametrize("page", ["compare.md", "experiments.md"])
def test_the_commands_of_a_page_have_the_options_they_name(page, command):
    from icl.cli.tuneshot import main

    text = (DOCS / page).read_text(encoding="utf-8")
    lines = re.findall(r"(?:^|`)(tuneshot compare[^`\n#]*)", text, re.M)
    assert lines
    for line in lines:
        words = shlex.split(line)
        assert command(main, *words, *(["--list"] if "--list" not in words else []))[0] == 0, line
