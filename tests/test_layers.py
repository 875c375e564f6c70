"""The arrows of the architecture: chat_app -> icl -> clfcore, and never back."""

import ast
from itertools import pairwise
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parents[1]
FILES = [ROOT / "chat_app.py", *sorted((ROOT / "clfcore").rglob("*.py")),
         *sorted((ROOT / "icl").rglob("*.py"))]  # fmt: skip
OURS = {"chat_app", "clfcore", "icl"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, top_level_only: bool = False) -> set[str]:
    """Modules a file imports, wherever in the file; `from a.b import c` may mean module a.b.c."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write absolute imports"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_downhill(path):
    package = module_name(path).split(".")[0]
    imported = {name.split(".")[0] for name in imports_of(path)}
    if package == "clfcore":
        assert not imported & {"icl", "chat_app"}
    if package == "icl":
        assert "chat_app" not in imported


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_only_the_page_knows_chainlit(path):
    if "chainlit" in {name.split(".")[0] for name in imports_of(path)}:
        assert module_name(path) == "chat_app" or module_name(path).startswith("icl.chat")


def test_no_module_imports_itself_through_others():
    known = {module_name(path) for path in FILES}
    graph = nx.DiGraph(
        (module_name(path), target)
        for path in FILES
        for target in imports_of(path, top_level_only=True)
        if target in known and target != module_name(path)
    )
    cycles = [[*c, c[0]] for c in nx.simple_cycles(graph)]
    assert not cycles, [" -> ".join(a for a, _ in pairwise(c)) for c in cycles]
