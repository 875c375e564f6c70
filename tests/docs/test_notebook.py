"""The notebooks for class: stored clean, and they run from top to bottom without a network."""

import ast
import re
import sys
from pathlib import Path

import pytest

from icl.compare.methods import METHODS
from tests.support.lazy import lazy
from tests.support.pages import WATCH_OUTSIDE

nbclient, nbformat = lazy("nbclient"), lazy("nbformat")

DOCS = Path(__file__).parents[2] / "docs"
LECTURE, LABS = DOCS / "lecture.ipynb", DOCS / "labs.ipynb"
LONGEST = 1200  # seconds a cell may take on a machine that does other things, too


@pytest.fixture(params=[LECTURE, LABS], ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def code_of(notebook):
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}


def test_it_is_stored_without_anything_that_a_run_leaves(notebook, path):
    nbformat.validate(notebook)
    assert nbformat.writes(notebook) + "\n" == path.read_text(encoding="utf-8")
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert re.fullmatch("[a-z-]+", cell.id), "a name, which stays, and no random number"
        assert cell.metadata == {}
    for cell in code_of(notebook).values():
        assert cell.execution_count is None
        if path == LECTURE:
            assert cell.outputs == []


def test_every_cell_is_plain_python_and_said_before_in_words(notebook):
    before = None
    for cell in notebook.cells:
        if cell.cell_type == "code":
            ast.parse(cell.source)  # no magics, no shell
            assert before == "markdown"
        before = cell.cell_type


def test_it_asks_no_network_and_knows_no_machine(notebook):
    for cell in notebook.cells:
        assert not re.search(r"https?:|//|(?<![\w.])/\w+/|[A-Z]:\\|~/", cell.source), cell.id
        if cell.cell_type == "code":
            assert not re.search(r"\b(socket|urllib|requests|httpx|subprocess|pip)\b", cell.source)


def printed(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """Runs a notebook in an empty folder, in which nothing may be left.

    The models come from where the programs find them; all else the kernel writes, here.
    """
    (tmp_path / "sitecustomize.py").write_text(WATCH_OUTSIDE)
    outside, empty = tmp_path / "outside", tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("OUTSIDE_LOG", str(outside))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")  # this environment's kernel

    def run(notebook):
        nbclient.NotebookClient(
            notebook, timeout=LONGEST, resources={"metadata": {"path": str(empty)}}
        ).execute()  # raises where a cell fails
        assert list(empty.iterdir()) == []
        assert outside.read_text().split() == ["watching"]

    return run


@pytest.mark.slow
@pytest.mark.parametrize("path", [LABS])
def test_the_labs_print_what_is_stored(notebook, path, offline):
    stored = {name: printed(cell) for name, cell in code_of(notebook).items()}
    assert all(stored.values())
    offline(notebook)
    assert {name: printed(cell) for name, cell in code_of(notebook).items()} == stored


@pytest.mark.slow
@pytest.mark.parametrize("path", [LECTURE])
def test_the_lecture_draws_the_crossover(notebook, path, offline):
    offline(notebook)
    cells = code_of(notebook)
    said = {name: printed(cell) for name, cell in cells.items()}
    assert sys.version_info[:2] == tuple(
        map(int, notebook.metadata.language_info.version.split(".")[:2])
    )
    assert "The comparison took" in said["compare"]
    assert "fine-tuned" in said["answer"]
    assert "image/png" in cells["curves"].outputs[-1].data

    plot, description = [output.data for output in cells["crossover"].outputs if "data" in output]
    assert "Plotly.newPlot" in plot["text/html"]
    assert not re.search(r"<(script|link)[^>]+(src|href)=", plot["text/html"])
    table = cells["table"].outputs[0].data["text/markdown"]
    for key in ("fine_tuned", "few_shot_topk", "knn", "tfidf", "majority"):
        assert METHODS[key].name in table
        assert METHODS[key].name in description["text/markdown"]
