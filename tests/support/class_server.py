"""``tuneshot serve`` as a process of its own, with models that look for a word."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.support.pages import PROJECT, Page, free_port

PROGRAM = """
import sys
import icl.session.environment as environment
from tests.support.chat import make_workers
workers = make_workers()
environment.workers = lambda: workers
from icl.cli.tuneshot import main
main()
"""


@contextlib.contextmanager
def class_server(folder: Path, *options: str, **environment: str) -> Iterator[Page]:
    """A server at 127.0.0.1 when its models have answered; stopped at the end."""
    port, log, started = free_port(), folder / "log", time.time()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "serve", "--port", str(port), *options],
            cwd=folder,
            stdout=output,
            stderr=output,
            env={
                **os.environ,
                "PYTHONPATH": str(PROJECT),
                "TUNESHOT_DATA": str(folder / "data"),
                **environment,
            },
        )
    page = Page(f"http://127.0.0.1:{port}", started, process, log, folder / "outside")
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{page.url}/readyz"):
                break
            assert process.poll() is None, log.read_text()
            time.sleep(0.2)
        else:
            raise AssertionError(log.read_text())
        yield page
    finally:
        process.terminate()
        process.wait(30)
