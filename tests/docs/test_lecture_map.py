"""Every topic of the lecture has a command, a file and a page, and each is there."""

import re
import shlex

import pytest

from tests.docs.test_labs import APPS, DOCS, LABS, check_options, rows
from tests.support.lazy import lazy

chat = lazy("icl.chat.actions.commands")

PAGE = (DOCS / "lecture-map.md").read_text(encoding="utf-8")
TOPICS = [row for row in rows(PAGE) if row[0] not in ("topic", "---")]
IN_CLASS = ("attention", "cost", "forget", "quantize")  # the labs that are commands of the chat


def links(cell):
    """The targets of a cell's links: path and heading."""
    return re.findall(r"\]\(([^)#]+)(?:#([^)]+))?\)", cell)


def headings(path):
    """The headings of a page as links name them."""
    found = re.findall(r"^#+ (.*)", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in found}


@pytest.mark.parametrize("row", TOPICS, ids=[row[0] for row in TOPICS])
def test_a_topic_has_a_command_a_file_and_a_page_that_are_there(row):
    _, run, code, page = row
    written = re.findall(r"`([^`]+)`", run)
    assert written[0].split()[0] in APPS
    for command in written:
        if command.startswith("/"):
            assert command[1:] in chat.COMMANDS
        else:
            check_options(shlex.split(command))
    assert links(code)
    for path, heading in links(code) + links(page):
        assert (DOCS / path).is_file(), path
        assert not heading or heading in headings(DOCS / path), heading
    assert links(page)


def test_no_lab_is_missing():
    linked = {path for row in TOPICS for path, _ in links(row[3])}
    assert {f"labs/{path.name}" for path in LABS} <= linked
    assert all(f"`/{name}`" in PAGE for name in IN_CLASS)
