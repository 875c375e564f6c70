"""A page that runs: the server started as a person starts it, in an environment full of traps."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from icl.chat.serve import PROJECT

# What other programs leave in an environment; each of these stops a bare `chainlit run`, or sends
# it somewhere else.
HOSTILE = {
    "DEBUG": "myapp",
    "CI": "yes please",
    "PROJECT": "my-cloud-project",
    "ROOT": "/nowhere",
    "RUN": "1",
    "DATABASE_URL": "postgresql://nobody@203.0.113.1/chats",
    "LITERAL_API_KEY": "not-a-key",
    "TUNESHOT_ALLOWED_HOSTS": "evil.test",
}

# Loaded by the server's interpreter at start: writes down every address it wants to reach.
WATCH_OUTSIDE = """
import os, sys

def watch(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple):
        host = args[1][0]
    elif event == "socket.getaddrinfo":
        host = args[0]
    else:
        return
    if host not in (None, "localhost", "::1", "0.0.0.0") and not str(host).startswith("127."):
        with open(os.environ["OUTSIDE_LOG"], "a") as log:
            print(host, file=log)

sys.addaudithook(watch)
with open(os.environ["OUTSIDE_LOG"], "w") as log:
    print("watching", file=log)
"""


@dataclass
class Page:
    """A running server."""

    url: str
    started: float  # seconds since 1970
    process: subprocess.Popen[bytes]
    log: Path
    outside: Path

    def addresses_outside(self) -> list[str]:
        watching, *addresses = self.outside.read_text().split()
        assert watching == "watching"
        return addresses


@contextlib.contextmanager
def start_page(folder: Path, **environment: str) -> Iterator[Page]:
    """``python -m icl.chat`` on a free port, in an environment full of traps."""
    port = free_port()
    (folder / "sitecustomize.py").write_text(WATCH_OUTSIDE)
    log, outside, started = folder / "log", folder / "outside", time.time()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "icl.chat", "--headless", "--port", str(port)],
            stdout=output,
            stderr=output,
            cwd=folder,
            env={
                **os.environ,
                **HOSTILE,
                "PYTHONPATH": os.pathsep.join([str(folder), str(PROJECT)]),
                "OUTSIDE_LOG": str(outside),
                **environment,
            },
        )
    page = Page(f"http://127.0.0.1:{port}", started, process, log, outside)
    try:
        _wait(page)
        yield page
    finally:
        page.process.terminate()
        page.process.wait(20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(page: Page) -> None:
    for _ in range(240):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{page.url}/health"):
            return
        assert page.process.poll() is None, page.log.read_text()
        time.sleep(0.25)
    raise AssertionError(page.log.read_text())
