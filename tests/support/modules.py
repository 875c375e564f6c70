"""The modules of the project, and what each of them imports."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {
    module_name(path): path
    for path in (ROOT / "chat_app.py", *ROOT.glob("clfcore/**/*.py"), *ROOT.glob("icl/**/*.py"))
}


@cache
def imports_of(module: str) -> set[str]:
    """Modules a file imports, wherever in the file; ``from a import b`` may mean ``a.b``."""
    imported = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: write absolute imports"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            imported |= {name if name in FILES else str(node.module) for name in names}
    return imported
