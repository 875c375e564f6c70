"""A class at `tuneshot serve`: one visitor, a crowd at once, open pages, a file. Over real sockets.

    python benchmarks/load.py                a table
    python benchmarks/load.py --json         one JSON object a line
    python benchmarks/load.py --minutes 1    the open pages for a shorter time
    python benchmarks/load.py --only file    one part: alone, crowd, fine-tuned, starter, open, file

Every visitor is logged in and every turn is stored, as for a class. A wait is from sending a
message to its card. Visitors and server share this machine's cores.
"""

import argparse
import asyncio
import csv
import io
import itertools
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError

import httpx
import psutil
import socketio
from chat import MESSAGES, figure, free_port

from clfcore.cli.terminal import run_app
from clfcore.data.messages import load_messages
from clfcore.json_text import to_json

ALONE = 40  # messages
CROWD, TURNS = 40, 5
IDLE, ACTIVE, THINKING = 200, 20, 5.0  # seconds between an answer and the next message
ROWS, OTHERS = 10_000, 5
PATIENCE = 300  # seconds until a message counts as unanswered
CODE = "the same code for everybody"
SENT = itertools.count(1)


@dataclass
class Tally:
    """What the visitors of one part saw."""

    waits: list[float] = field(default_factory=list)  # seconds
    errors: list[str] = field(default_factory=list)
    notices: int = 0  # "... messages are before yours"

    def p(self, percent: int) -> float:
        return statistics.quantiles(self.waits, n=100)[percent - 1]


class Visitor:
    """One logged-in browser's half of Chainlit's socket protocol."""

    def __init__(self, url: str, number: int, profile: str, tally: Tally) -> None:
        self.url, self.name, self.profile, self.tally = url, f"visitor{number}", profile, tally
        self.session = str(uuid.uuid4())
        self.web = httpx.AsyncClient(base_url=url, timeout=60)
        self.socket = socketio.AsyncClient(reconnection=False)
        self.offered, self.answered, self.done = (asyncio.Event() for _ in range(3))
        self.said = ""  # the last message that the page got
        self.model_ms = 0.0  # of the last answer; the sides are asked at the same time
        self.socket.on("chat_settings", self.see_offer)
        self.socket.on("new_message", self.hear)
        self.socket.on("element", self.see)
        self.socket.on("task_end", lambda data=None: self.done.set())

    async def log_in(self) -> None:
        form = {"username": self.name, "password": CODE}
        (await self.web.post("/login", data=form)).raise_for_status()

    async def join(self) -> None:
        """Opens the socket; returns when the page has its pickers."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.web.cookies.items())
        await self.socket.connect(
            self.url,
            socketio_path="/ws/socket.io",
            transports=["websocket"],
            headers={"Cookie": cookie},
            wait_timeout=30,
            auth={
                "clientType": "webapp",
                "sessionId": self.session,
                "threadId": "",
                "userEnv": "{}",
                "chatProfile": self.profile,
            },
        )
        await self.socket.emit("connection_successful")
        await asyncio.wait_for(self.offered.wait(), 30)
        await asyncio.wait_for(self.done.wait(), 30)

    def see_offer(self, inputs: list) -> None:
        self.offered.set()
        self.done.clear()  # set again at the end of the start

    def hear(self, step: dict) -> None:
        self.said = step["output"]
        self.tally.notices += "before yours" in self.said
        if step.get("isError"):
            self.tally.errors.append(self.said)

    def see(self, element: dict) -> None:
        if element["name"] == "CompareCard":
            self.tally.errors += [
                side["problem"] for side in element["props"]["sides"] if side["problem"]
            ]
            latencies = [side.get("latency") or "0" for side in element["props"]["sides"]]
            self.model_ms = max(float(re.sub(r"[^0-9.]", "", shown)) for shown in latencies)
            self.answered.set()

    async def send(self, text: str, *files: str) -> None:
        """Sends ``text``; ``done`` is set when the server has dealt with it."""
        self.answered.clear()
        self.done.clear()
        message = {
            "id": str(uuid.uuid4()),
            "threadId": "",
            "name": self.name,
            "type": "user_message",
            "output": text,
            "createdAt": "2026-01-01T00:00:00Z",
        }
        references = [{"id": file} for file in files]
        await self.socket.emit("client_message", {"message": message, "fileReferences": references})

    async def say(self, text: str) -> None:
        """Counts the wait for the card."""
        start = time.perf_counter()
        try:
            await self.send(text)
            await asyncio.wait_for(self.answered.wait(), PATIENCE)
            self.tally.waits.append(time.perf_counter() - start)
            await asyncio.wait_for(self.done.wait(), PATIENCE)
        except Exception as error:  # counted, and the others continue
            self.tally.errors.append(repr(error))

    async def upload(self, name: str, content: bytes) -> str:
        """What the page calls the uploaded file."""
        files = {"file": (name, content, "text/csv")}
        path = f"/project/file?session_id={self.session}"
        return (await self.web.post(path, files=files)).raise_for_status().json()["id"]

    async def leave(self) -> None:
        await self.socket.disconnect()
        await self.web.aclose()


def text() -> str:
    """A message that was not sent before."""
    number = next(SENT)
    return f"{MESSAGES[number % len(MESSAGES)]} ({number})"


async def come(url: str, count: int, profile: str, tally: Tally) -> list[Visitor]:
    """Visitors who join in the same second."""
    visitors = [Visitor(url, number, profile, tally) for number in range(count)]
    for visitor in visitors:
        await visitor.log_in()
    joined = await asyncio.gather(*(v.join() for v in visitors), return_exceptions=True)
    tally.errors += [repr(error) for error in joined if error]
    return visitors


async def go(visitors: list[Visitor]) -> None:
    await asyncio.gather(*(visitor.leave() for visitor in visitors))


# --- the parts ----------------------------------------------------------------------------------


async def alone(url: str, *profiles: str) -> AsyncIterator[dict]:
    """What the page's server takes for a message, beside the models."""
    for profile in profiles:
        tally, beside = Tally(), []
        (visitor,) = await come(url, 1, profile, tally)
        for _ in range(ALONE):
            await visitor.say(text())
            beside.append(1000 * tally.waits[-1] - visitor.model_ms)
        await go([visitor])
        name = f"one visitor, {profile}: a wait without the models, p50"
        yield figure(name, statistics.median(beside), "ms", 60)
        show(tally.errors)


async def crowd(url: str, process: psutil.Process, profile: str) -> AsyncIterator[dict]:
    """All join at once and send their messages, each as soon as the one before is answered."""
    tally = Tally()
    visitors = await come(url, CROWD, profile, tally)

    async def turns(visitor: Visitor) -> None:
        for _ in range(TURNS):
            await visitor.say(text())

    start = time.perf_counter()
    await asyncio.gather(*map(turns, visitors))
    took = time.perf_counter() - start
    await go(visitors)
    name = f"{CROWD} at once, {profile}"
    unanswered = CROWD * TURNS - len(tally.waits)
    yield figure(f"{name}: errors", len(tally.errors), "", 0)
    yield figure(f"{name}: of {CROWD * TURNS} messages not answered", unanswered, "", 0)
    yield figure(f"{name}: wait, p50", tally.p(50), "s")
    yield figure(f"{name}: wait, p95", tally.p(95), "s", 1 if profile == "Fine-tuned" else 11)
    yield figure(f"{name}: throughput", len(tally.waits) / took, "/s")
    yield figure(f"{name}: told how many are before them", tally.notices, "")
    show(tally.errors)


async def starter(url: str) -> AsyncIterator[dict]:
    """A class presses the same example at once; nobody has pressed it before."""
    tally = Tally()
    visitors = await come(url, CROWD, "Compare", tally)
    same = text()
    await asyncio.gather(*(visitor.say(same) for visitor in visitors))
    await go(visitors)
    next(itertools.islice(SENT, CROWD - 2, None))  # each visitor has sent one
    name = f"{CROWD} press the same starter, Compare"
    yield figure(f"{name}: errors", len(tally.errors) + CROWD - len(tally.waits), "", 0)
    yield figure(f"{name}: all answered after", max(tally.waits), "s", 2)
    show(tally.errors)


async def open_pages(url: str, process: psutil.Process, minutes: float) -> AsyncIterator[dict]:
    """Most only have the page open; the others send messages all the time."""
    tally = Tally()
    visitors = await come(url, IDLE + ACTIVE, "Compare", tally)

    async def class_of(seconds: float) -> None:
        async def busy(visitor: Visitor) -> None:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                await visitor.say(text())
                await asyncio.sleep(THINKING)

        await asyncio.gather(*map(busy, visitors[IDLE:]))

    await class_of(30)
    before = process.memory_info().rss
    tally.waits.clear()
    await class_of(60 * minutes)
    growth = (process.memory_info().rss - before) / 1e6
    gone = sum(not visitor.socket.connected for visitor in visitors)
    await go(visitors)
    name = f"{IDLE} open pages, {ACTIVE} busy, {minutes:g} min"
    yield figure(f"{name}: errors", len(tally.errors) + gone, "", 0)
    yield figure(f"{name}: answers", len(tally.waits), "")
    yield figure(f"{name}: wait in Compare, p95", tally.p(95), "s")
    yield figure(f"{name}: memory growth", growth, "MB", 50)
    yield figure(f"{name}: memory", process.memory_info().rss / 1e6, "MB", 2000)
    show(tally.errors)


async def file(url: str, process: psutil.Process) -> AsyncIterator[dict]:
    """One has a file classified while others send messages; then it is stopped."""
    ours, others = Tally(), Tally()
    (teacher,) = await come(url, 1, "Fine-tuned", ours)
    visitors = await come(url, OTHERS, "Fine-tuned", others)

    async def busy(visitor: Visitor) -> None:
        while not teacher.done.is_set():
            await visitor.say(text())
            await asyncio.sleep(0.5)

    content = table()
    start = time.perf_counter()
    await teacher.send("", await teacher.upload("messages.csv", content))
    await asyncio.gather(teacher.done.wait(), *map(busy, visitors))
    took, result = time.perf_counter() - start, teacher.said

    await teacher.send("", await teacher.upload("messages.csv", content))
    talking = asyncio.gather(*map(busy, visitors))
    await asyncio.sleep(5)
    start = time.perf_counter()
    await teacher.socket.emit("stop")
    while "It was" not in teacher.said:
        await asyncio.sleep(0.01)
        if time.perf_counter() - start > 60:
            ours.errors.append("Stop was not heard")
            break
    stopped = time.perf_counter() - start
    teacher.done.set()
    await talking
    await go([teacher, *visitors])
    name = f"{ROWS:,} rows of a file, Fine-tuned"
    errors = [*ours.errors, *others.errors, *([] if "accuracy" in result else [result])]
    yield figure(f"{name}: errors", len(errors), "", 0)
    yield figure(f"{name}: all answered after", took, "s")
    yield figure(f"{name}: wait of {OTHERS} others meanwhile, p95", others.p(95), "s", 1)
    yield figure(f"{name}: from Stop to what is there", stopped, "s", 2)
    show(errors)


def table() -> bytes:
    """Labelled messages as a CSV."""
    lines = io.StringIO()
    rows = csv.writer(lines)
    rows.writerow(["text", "label"])
    examples = itertools.islice(itertools.cycle(load_messages().examples), ROWS)
    rows.writerows((example.text[:180], example.label) for example in examples)
    return lines.getvalue().encode()


# --- the server ---------------------------------------------------------------------------------


@contextmanager
def class_server(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Address and process of a server for which everybody has a code, when it is ready."""
    port = free_port()
    os.environ["TUNESHOT_DATA"] = str(folder)
    os.environ["TUNESHOT_CODES"] = ",".join(f"visitor{n}:{CODE}" for n in range(IDLE + ACTIVE))
    url = f"http://127.0.0.1:{port}"
    command = [Path(sys.executable).with_name("tuneshot"), "serve", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        while not ready(url):
            if process.poll() is not None:
                sys.exit((folder / "log").read_text())
            time.sleep(0.2)
        yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def ready(url: str) -> bool:
    with suppress(URLError), urllib.request.urlopen(f"{url}/readyz"):
        return True
    return False


def lost(folder: Path) -> int:
    """How many of the messages sent are not stored."""
    with sqlite3.connect(folder / "chat.db") as kept:
        # All but those that a file came with.
        query = "SELECT count(*) FROM tuneshot_steps WHERE type = 'user_message' AND output != ''"
        return next(SENT) - 1 - kept.execute(query).fetchone()[0]


def show(errors: list[str]) -> None:
    for error in sorted(set(errors)):
        sys.stderr.write(f"{errors.count(error)} x {error}\n")


async def measure(only: str | None, minutes: float) -> AsyncIterator[dict]:
    folder = Path(tempfile.mkdtemp())
    with class_server(folder) as (url, process):
        parts = {
            "alone": lambda: alone(url, "Fine-tuned", "Compare"),
            "fine-tuned": lambda: crowd(url, process, "Fine-tuned"),
            "crowd": lambda: crowd(url, process, "Compare"),
            "starter": lambda: starter(url),
            "file": lambda: file(url, process),
            "open": lambda: open_pages(url, process, minutes),
        }
        for part in [only] if only else parts:
            async for found in parts[part]():
                yield found
    yield figure("messages sent that are not stored", lost(folder), "", 0)
    log = (folder / "log").read_text()
    yield figure("lines in the server's log", len(log.splitlines()) - 1, "", 0)  # it says hello
    sys.stderr.write(log)


async def report(chosen: argparse.Namespace) -> None:
    async for found in measure(chosen.only, chosen.minutes):
        if chosen.json:
            print(to_json(found), flush=True)
        else:
            goal = f"goal {found['goal']}" if found["goal"] is not None else ""
            print(f"{found['name']:60} {found['value']:10} {found['unit']:3} {goal}", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments.add_argument("--minutes", type=float, default=5.0, help="of the open pages")
    arguments.add_argument(
        "--only", choices=["alone", "crowd", "fine-tuned", "starter", "open", "file"]
    )
    asyncio.run(report(arguments.parse_args()))


if __name__ == "__main__":
    run_app(main)
