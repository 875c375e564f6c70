"""Training in a process of its own: what the reader hears, and what is left, whatever happens."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from safetensors.torch import load_file

from clfcore.data.messages import load_messages
from clfcore.errors import TuneshotError
from clfcore.fine_tuned import FineTuned
from clfcore.training import background
from clfcore.training.background import (
    BackgroundTraining,
    Event,
    TrainingDone,
    TrainingFailed,
    TrainingProgress,
)
from clfcore.training.rehearsal import plan_rehearsal
from clfcore.weights.checkpoint import save_checkpoint
from tests.support.taught import SOURCE, TAUGHT, toy_classifier

STEPS = [
    TrainingProgress(0, 2, val_loss=0.5),
    TrainingProgress(1, 2, 0.4),
    TrainingProgress(2, 2, 0.3, 0.2, 0.9, 1.5),
]


async def follow(training: BackgroundTraining) -> list[Event]:
    return [event async for event in training.events()]


# --- the parent, with a child that only says what it is told to ---------------------------------


@pytest.fixture
def child(monkeypatch):
    """Replaces the child: it says ``events``, then does ``then``."""

    def set_child(events: list[Event], then: str = "") -> None:
        lines = [json.dumps([type(e).__name__, asdict(e)], default=str) for e in events]
        program = f"import os, sys, time\nprint('''{chr(10).join(lines)}''', flush=True)\n{then}"
        if not lines:
            program = then
        monkeypatch.setattr(background, "_COMMAND", (sys.executable, "-I", "-c", program))

    return set_child


def half_written(out: Path) -> None:
    """What a kill in the middle of saving leaves behind."""
    scratch = out.with_name(f".{out.name}.abc")
    scratch.mkdir()
    (scratch / "model.safetensors").write_bytes(b"half")


def test_every_event_is_heard_in_order_and_the_last_one_is_the_end(child, tmp_path):
    told = [*STEPS, TrainingDone(tmp_path / "more", 1, 1, 0.9, 0.95, 3.0, 9, 1, ["tea"])]
    child(told)

    async def run() -> list[Event]:
        return await follow(await BackgroundTraining.start(TAUGHT, tmp_path / "more"))

    assert asyncio.run(run()) == told


def test_the_job_travels_through_the_pipe_and_not_in_the_command_line(child, tmp_path):
    child(
        [],
        "import json, sys\n"
        "text = json.loads(sys.stdin.readline())['taught'][0]['text']\n"
        "print(json.dumps(['TrainingFailed', {'problem': text + str(sys.argv)}]))",
    )

    async def run() -> list[Event]:
        return await follow(await BackgroundTraining.start(TAUGHT, tmp_path / "more"))

    assert asyncio.run(run()) == [TrainingFailed(TAUGHT[0].text + "['-c']")]


@pytest.mark.parametrize(
    ("then", "line"),
    [
        ("os.kill(os.getpid(), 9)", "was killed, perhaps for want of memory"),
        ("os.kill(os.getpid(), 11)", "ended by signal 11"),
        ("os._exit(3)", "ended with status 3"),
        ("", "ended with status 0"),
    ],
)
def test_a_child_that_dies_is_one_clear_line_and_leaves_nothing(child, tmp_path, then, line):
    out = tmp_path / "more"
    half_written(out)
    child(STEPS, then)

    async def run() -> list[Event]:
        return await follow(await BackgroundTraining.start(TAUGHT, out))

    *steps, last = asyncio.run(run())
    assert steps == STEPS
    assert isinstance(last, TrainingFailed)
    assert line in last.problem
    assert list(tmp_path.iterdir()) == []


def test_stop_ends_it_in_time_and_leaves_nothing(child, tmp_path):
    out = tmp_path / "more"
    child(STEPS, "time.sleep(60)")

    async def run() -> tuple[list[Event], float]:
        training = await BackgroundTraining.start(TAUGHT, out)
        heard = []
        async for event in training.events():
            heard.append(event)
            if event == STEPS[0]:
                half_written(out)
                asked = time.perf_counter()
                await training.stop()
        return heard, time.perf_counter() - asked

    (first, last), seconds = asyncio.run(run())
    assert (first, seconds < 30) == (STEPS[0], True)  # it would sleep for 60
    assert isinstance(last, TrainingFailed)
    assert "stopped" in last.problem
    assert list(tmp_path.iterdir()) == []


def test_stop_needs_no_reader(child, tmp_path):
    child([], "import time; time.sleep(60)")

    async def run() -> list[Event]:
        training = await BackgroundTraining.start(TAUGHT, tmp_path / "more")
        await training.stop()
        await training.stop()
        return await follow(training)

    (last,) = asyncio.run(run())
    assert isinstance(last, TrainingFailed)


MANY = """
import sys
while True:
    print('["TrainingProgress", {"step": 1, "steps": 9}]')
"""


def test_stop_is_not_held_up_by_events_that_nobody_has_read(child, tmp_path):
    child([], MANY)

    async def run() -> list[Event]:
        training = await BackgroundTraining.start(TAUGHT, tmp_path / "more")
        await asyncio.sleep(0.5)  # much more than a pipe holds
        await asyncio.wait_for(training.stop(), timeout=10)
        return await follow(training)

    (last,) = asyncio.run(run())
    assert isinstance(last, TrainingFailed)


def test_a_child_that_dies_in_the_middle_of_a_line_is_one_clear_line(child, tmp_path):
    half = "sys.stdout.write('[\"TrainingPro'); sys.stdout.flush(); os.kill(os.getpid(), 9)"
    child(STEPS, half)

    async def run() -> list[Event]:
        return await follow(await BackgroundTraining.start(TAUGHT, tmp_path / "more"))

    *steps, last = asyncio.run(run())
    assert steps == STEPS
    assert "was killed" in last.problem


def test_stop_after_the_end_keeps_the_checkpoint(child, tmp_path):
    out = tmp_path / "more"
    out_is_made = f"os.mkdir({str(out)!r})"
    child([TrainingDone(out, 1, 1, 0.9, 0.95, 3.0, 9, 1, ["tea"])], out_is_made)

    async def run() -> None:
        training = await BackgroundTraining.start(TAUGHT, out)
        await follow(training)
        await training.stop()

    asyncio.run(run())
    assert out.exists()


def test_a_folder_that_exists_is_refused_before_any_work(tmp_path):
    with pytest.raises(TuneshotError, match="exists; choose a new folder"):
        asyncio.run(BackgroundTraining.start(TAUGHT, tmp_path))


# --- the real child, with a tiny model ----------------------------------------------------------


@pytest.fixture(scope="module")
def toys(tmp_path_factory) -> dict[str, Path]:
    """A tiny checkpoint, and messages it may rehearse."""
    folder = tmp_path_factory.mktemp("toys")
    parent = toy_classifier()
    save_checkpoint(folder / "parent", parent.model, parent.meta)
    lines = [f"{example.label}\t{example.text}" for example in SOURCE.examples]
    (folder / "toys.tsv").write_text("\n".join(["label\ttext", *lines, ""]))
    return {"checkpoint": folder / "parent", "data": folder / "toys.tsv"}


@pytest.mark.slow
def test_a_run_reports_its_steps_and_writes_the_same_checkpoint_for_the_same_seed(
    toys, tmp_path, monkeypatch
):
    """Also in a folder with a file that shadows a package, as an app's may."""
    (tmp_path / "clfcore.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)

    async def run(name: str) -> list[Event]:
        return await follow(await BackgroundTraining.start(TAUGHT, tmp_path / name, **toys))

    async def both() -> list[list[Event]]:
        return await asyncio.gather(run("one"), run("two"))

    (*steps, done), (*others, _) = asyncio.run(both())
    assert all(isinstance(step, TrainingProgress) for step in steps)
    assert [step.step for step in steps] == list(range(steps[0].steps + 1))
    assert len({step.steps for step in steps}) == 1
    assert [step.loss for step in steps] == [step.loss for step in others]
    assert steps[0].loss is steps[0].seconds_left is None
    assert steps[0].val_loss is not None
    assert sum(step.val_accuracy is not None for step in steps) == 64  # epochs
    assert all(step.seconds_left >= 0 for step in steps[2:])
    assert isinstance(done, TrainingDone)
    assert (done.folder, done.taught, done.answered_as_taught) == (tmp_path / "one", 1, 1)
    child, parent = FineTuned.load(done.folder), FineTuned.load(toys["checkpoint"])
    assert child.predict([TAUGHT[0].text])[0].label == "spam"
    val = plan_rehearsal(parent, TAUGHT, load_messages(toys["data"])).val
    old, new = (
        [a.label == e.label for a, e in zip(m.predict([e.text for e in val]), val, strict=True)]
        for m in (parent, child)
    )
    lost = [e.text for e, was, still in zip(val, old, new, strict=True) if was and not still]
    assert (done.right_before, done.forgotten) == (sum(old), len(lost))
    assert done.forgotten_texts == lost[:3]
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert all((one[name] == two[name]).all() for name in one)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clfcore.py", "one", "two"]


@pytest.mark.slow
def test_stop_and_kill_end_a_real_run(toys, tmp_path):
    async def run(name: str, kill: bool) -> tuple[Event, float]:
        training = await BackgroundTraining.start(TAUGHT, tmp_path / name, **toys)
        async for event in training.events():
            last = event
            if isinstance(event, TrainingProgress) and event.step == 1:
                asked = time.perf_counter()
                if kill:
                    training._process.send_signal(signal.SIGKILL)
                else:
                    await training.stop()
        return last, time.perf_counter() - asked

    async def both() -> list[tuple[Event, float]]:
        return await asyncio.gather(run("stopped", False), run("killed", True))

    for last, seconds in asyncio.run(both()):
        assert isinstance(last, TrainingFailed)
        assert seconds < 30
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_a_user_can_put_right_is_said_in_a_line(toys, tmp_path):
    async def run() -> list[Event]:
        return await follow(
            await BackgroundTraining.start(TAUGHT, tmp_path / "more", checkpoint=tmp_path / "no")
        )

    (last,) = asyncio.run(run())
    assert isinstance(last, TrainingFailed)
    assert last.problem.startswith("no checkpoint at")


ORPHAN = """
import asyncio, os, sys
from pathlib import Path
from clfcore.training.background import BackgroundTraining
from clfcore.types import Example

async def run():
    out, checkpoint, data = map(Path, sys.argv[1:])
    taught = [Example("hello", "spam")]
    training = await BackgroundTraining.start(taught, out, checkpoint=checkpoint, data=data)
    async for event in training.events():
        print(training._process.pid, flush=True)
        os.kill(os.getpid(), 9)

asyncio.run(run())
"""


@pytest.mark.slow
def test_the_child_ends_with_its_parent(toys, tmp_path):
    parent = subprocess.run(
        [sys.executable, "-c", ORPHAN, str(tmp_path / "more"), *map(str, toys.values())],
        stdout=subprocess.PIPE, check=False,
    )  # fmt: skip
    assert parent.returncode == -9
    pid, deadline = int(parent.stdout), time.monotonic() + 5
    while _lives(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _lives(pid)


def _lives(pid: int) -> bool:
    """Whether a process runs; one that nobody has buried yet does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
