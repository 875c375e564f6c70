"""Training programs that are killed and go on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from safetensors import safe_open

STEPS_BETWEEN = 9


def start(*words: object, program: tuple[str, ...] = ("-m", "clfcore")) -> subprocess.Popen[str]:
    """A program on one thread: the order in which threads add up would change last bits."""
    return subprocess.Popen(
        [sys.executable, *program, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str]) -> str:
    """What a program printed that has to end well."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def steps_done(out: str) -> int:
    """How far the stopped run of ``out`` has come, by the file that it goes on from."""
    unfinished = Path(f"{out}.unfinished")
    if not unfinished.exists():
        return 0
    with safe_open(unfinished, framework="pt") as file:
        return json.loads(file.metadata()["state"])["step"]


def kill_twice(go_on: Callable[[], subprocess.Popen[str]], out: str) -> None:
    """Kill -9, twice, some steps after each other; of ``out`` nothing is there before its end."""
    reached = 0
    for _ in range(2):
        with go_on() as process:
            while process.poll() is None:
                time.sleep(0.01)
                if (step := steps_done(out)) > reached + STEPS_BETWEEN:
                    reached = step
                    process.send_signal(signal.SIGKILL)
                    break
            assert process.wait() == -signal.SIGKILL
        assert not Path(out).exists()
