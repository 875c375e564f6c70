"""The page, started as a person starts it, and a browser to look at it."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:  # else every worker would start a thread for every core
    os.environ["OMP_NUM_THREADS"] = "1"

from icl.chat.serve import PROJECT
from tests.support.pages import Page, start_page

# A slow machine is no fault of the program; speed is measured in benchmarks/.
settings.register_profile("without a deadline", deadline=None)
settings.load_profile("without a deadline")

CHROMIUM = Path("/usr/bin/chromium")


def pytest_collection_modifyitems(items):
    """A test that starts the page or a browser takes seconds, so the fast suite leaves it out."""
    for item in items:
        if {"chromium", "page", "page_without_lm", "page_with_login"} & set(item.fixturenames):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def page(tmp_path_factory) -> Iterator[Page]:
    with start_page(tmp_path_factory.mktemp("page")) as started:
        yield started


@pytest.fixture(scope="session")
def page_without_lm(tmp_path_factory) -> Iterator[Page]:
    missing = tmp_path_factory.mktemp("no-lm") / "missing"
    with start_page(missing.parent, TUNESHOT_LM=str(missing)) as started:
        yield started


@pytest.fixture(scope="session")
def page_with_login(tmp_path_factory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("login")
    with start_page(folder, TUNESHOT_CODES="anna:anna-code-1", TUNESHOT_DATA=str(folder)) as page:
        yield page


@pytest.fixture(scope="module")  # its event loop must be gone before other modules start theirs
def chromium():
    if not CHROMIUM.exists():
        pytest.skip(f"needs Chromium at {CHROMIUM}: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Opens a window on a page; all windows are closed, and checked, at the end."""
    from tests.support.visits import Visit

    visits = []

    def open_window(page, width=1280, height=720, dark=False, start=True, **context):
        visits.append(visit := Visit.to(page, chromium, width, height, dark, **context))
        if start:
            visit.wait_for_the_start()
        return visit

    yield open_window
    for visit in visits:
        visit.tab.context.close()
        assert visit.outside == []
        assert visit.complaints == []


@pytest.fixture
def command(monkeypatch, capfd):
    """Runs a console script in this process; returns (exit status, stdout, stderr)."""

    def call(main, name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code or 0, *capfd.readouterr())

    return call


CLUSTER = """
import ray
context = ray.init(
    num_cpus=2, include_dashboard=False, object_store_memory=80 * 2**20, log_to_driver=False
)
print(context.address_info["gcs_address"], flush=True)
input()
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """The address of a Ray with two workers, started by another process."""
    pytest.importorskip("ray")
    (tmp_path / "token").write_text(secrets.token_hex(32))  # else Ray leaves one in the home folder
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))  # what is sent must be there
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process.stdout.readline().strip()
    process.communicate("\n", timeout=30)
