"""The notebook for class: stored clean, and it runs from top to bottom without a network."""

import ast
import re
import sys
from pathlib import Path

import pytest

from icl.compare.methods import METHODS
from tests.support.lazy import lazy
from tests.support.pages import WATCH_OUTSIDE

nbclient, nbformat = lazy("nbclient"), lazy("nbformat")

NOTEBOOK = Path(__file__).parents[2] / "docs" / "lecture.ipynb"
LONGEST = 1200  # seconds a cell may take on a machine that does other things, too


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def code_of(notebook):
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}


def test_it_is_stored_without_anything_that_a_run_leaves(notebook):
    nbformat.validate(notebook)
    assert nbformat.writes(notebook) + "\n" == NOTEBOOK.read_text(encoding="utf-8")
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert re.fullmatch("[a-z-]+", cell.id), "a name, which stays, and no random number"
        assert cell.metadata == {}
    for cell in code_of(notebook).values():
        assert cell.outputs == []
        assert cell.execution_count is None


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


@pytest.mark.slow
def test_it_runs_offline_and_draws_the_crossover(notebook, tmp_path, monkeypatch):
    """The models come from where the programs find them; all else the kernel writes, here."""
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

    client = nbclient.NotebookClient(
        notebook, timeout=LONGEST, resources={"metadata": {"path": str(empty)}}
    )
    client.execute()  # raises where a cell fails

    cells = code_of(notebook)
    said = {name: "".join(o.get("text", "") for o in cells[name].outputs) for name in cells}
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

    assert list(empty.iterdir()) == []
    assert outside.read_text().split() == ["watching"]
