"""A wheel is built as a release would be, and used where there is nothing but what it asks for."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.environments import Environment
from tests.support.modules import ROOT
from tests.support.pages import free_port

pytestmark = pytest.mark.slow

SOURCES = ("pyproject.toml", "README.md", "LICENSE", ".gitignore", "chat_app.py", "chainlit.md",
           "chainlit_de-DE.md", "public", ".chainlit", "clfcore", "icl",
           "docs/records")  # fmt: skip
# Modules that the base cannot import, and the extra that they are there for.
OF_EXTRAS = {
    "clfcore.experiments.quantized_figure": "plots",
    "clfcore.experiments.forgetting_figure": "plots",
    "clfcore.experiments.ranks_figure": "plots",
    "clfcore.training.curves": "plots",
    "icl.figures": "plots",
    "icl.report": "plots",
    "icl.session.jobs": "plots",
    "icl.session.queue": "chat",
    "icl.session.workers": "chat",
    "icl.session.environment": "chat",
    "icl.chat": "chat",
    "icl.service": "chat",
}
IMPORT_ALL = """
import importlib, json, pkgutil, clfcore, icl
from clfcore.errors import TuneshotError
failed = {}
for package in (clfcore, icl):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".", lambda _: None):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:
                failed[module.name] = error.name
            except TuneshotError as error:  # says which extra is missing
                failed[module.name] = error.__cause__.name
print(json.dumps(failed))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from the sdist, from a copy, so that nothing is left behind here."""
    source, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist)]
    done = subprocess.run(build, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = dist.glob("*.whl")
    assert len(list(dist.glob("*.tar.gz"))) == 1
    return made


@pytest.fixture(scope="module")
def base(wheel, tmp_path_factory) -> Environment:
    return Environment(tmp_path_factory.mktemp("base"), wheel, carriers=True)


@pytest.fixture(scope="module")
def with_chat(wheel, tmp_path_factory) -> Environment:
    return Environment(tmp_path_factory.mktemp("chat"), wheel, "chat")


@pytest.fixture
def empty(tmp_path) -> Path:
    """A folder into which nothing may be written."""
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


# --- the base ------------------------------------------------------------------------------------


def test_the_base_alone_imports_every_module_of_the_base(base, empty):
    done = base.run("python", "-c", IMPORT_ALL, cwd=empty)
    assert done.returncode == 0, done.stderr
    failed = json.loads(done.stdout)
    assert {prefix for prefix in OF_EXTRAS if any(m.startswith(prefix) for m in failed)} == set(
        OF_EXTRAS
    )
    assert [m for m in failed if not m.startswith(tuple(OF_EXTRAS))] == []


def test_the_base_alone_answers_with_both(base, empty):
    done = base.run("tuneshot", "classify", "--json", "Free entry! Text WIN to 80086", cwd=empty)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["clf", "icl"])
def test_the_base_alone_classifies_and_evaluates(name, base, empty):
    done = base.run(name, "classify", "--json", "Free entry! Text WIN to 80086", cwd=empty)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["label"] in {"ham", "spam"}
    limit = ("--limit", "4") if name == "icl" else ()
    done = base.run(name, "evaluate", "--json", *limit, cwd=empty)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("tuneshot serve", "chat"),
        ("tuneshot chat", "chat"),
        ("tuneshot compare --methods knn --budgets 8", "plots"),
        ("clf data show --data owner/name", "data"),
        ("clf plot --out curves.png", "plots"),
        ("icl classify --lm api:openai/gpt-4o-mini hello", "api"),
    ],
)
def test_a_command_whose_extra_is_missing_says_what_to_install_in_one_line(
    command, extra, base, empty
):
    done = base.run(*command.split(), cwd=empty)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert done.stderr.endswith(f"run: pip install 'tuneshot[{extra}]'\n")
    assert "Traceback" not in done.stderr


# --- the page ------------------------------------------------------------------------------------


def test_with_the_extra_chat_every_module_can_be_imported(
    with_chat, empty, tmp_path_factory, monkeypatch
):
    # Chainlit writes into a folder when it is imported; the page gives it one of its own.
    monkeypatch.setenv("CHAINLIT_APP_ROOT", str(tmp_path_factory.mktemp("chainlit")))
    done = with_chat.run("python", "-c", IMPORT_ALL, cwd=empty)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}


def test_the_page_of_a_wheel_opens_in_an_empty_folder(with_chat, empty, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    url = f"http://127.0.0.1:{(port := free_port())}"
    log = home / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(with_chat.bin / "tuneshot"), "chat", "--headless", "--port", str(port)],
            cwd=empty,
            stdout=output,
            stderr=output,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home)},
        )
    try:
        for _ in range(240):
            with suppress(OSError):
                page = urllib.request.urlopen(url, timeout=5).read().decode()
                break
            assert process.poll() is None, log.read_text()
            time.sleep(0.25)
        assert "<title>Tuneshot</title>" in page
        for name in ("tuneshot.css", "tuneshot.js", "theme.json", "elements/CompareCard.jsx"):
            served = urllib.request.urlopen(f"{url}/public/{name}", timeout=5).read()
            assert served == (ROOT / "public" / name).read_bytes()
        with urllib.request.urlopen(f"{url}/project/settings?language=de-DE", timeout=5) as answer:
            settings = json.load(answer)
        assert settings["markdown"] == (ROOT / "chainlit_de-DE.md").read_text(encoding="utf-8")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
    assert {path.name for path in home.iterdir()} <= {"log", ".cache", ".local"}


# --- from PyPI -----------------------------------------------------------------------------------


@pytest.mark.peers
def test_the_wheel_installs_into_an_empty_environment(wheel, tmp_path):
    """With PyTorch and all, from PyPI."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "new")], check=True)
    install = [str(tmp_path / "new/bin/pip"), "install", "-q", "-c", str(ROOT / "constraints.txt")]
    subprocess.run([*install, "torch"], check=True)
    subprocess.run([*install, f"{wheel}[chat]"], check=True)
    done = subprocess.run(
        [str(tmp_path / "new/bin/python"), "-c", IMPORT_ALL], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}
