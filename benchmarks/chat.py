"""What the page costs: start, an answer, a visitor beside a busy one, memory.

    python benchmarks/chat.py           a table
    python benchmarks/chat.py --json    one JSON object a line: name, value, unit, goal, ok, peer
    python benchmarks/chat.py --screenshots docs    only the pictures of docs/chat.md

Needs Chromium at /usr/bin/chromium. Start the chat once before, so that the caches are warm.
"""

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import socketio
from playwright.sync_api import Browser, Page, sync_playwright

from clfcore.cli.terminal import run_app
from clfcore.evaluation.provenance import machine_name
from clfcore.json_text import to_json

MESSAGES = (
    "You are a winner you have been specially selected to receive $1000 cash or a $2000 award.",
    "Hey, just wanted to check if we're still on for dinner tonight? Let me know!",
    "Your parcel could not be delivered. Pay the fee at once to avoid its return.",
    "running ten minutes late, order me the soup please",
    "Reminder: your appointment with Dr. Chen is tomorrow at 9:15. Reply C to confirm.",
)
TURNS = 20  # for medians
MEMORY_MESSAGES = 100

# The one-word page that this one is compared with: the same checkpoint, asked where the handler
# stands, as in the chapter-6 interface of LLMs-from-scratch.
PEER_APP = """
import os, time
from pathlib import Path

import chainlit as cl
from clfcore.fine_tuned import FineTuned

chosen = os.environ.get("TUNESHOT_CHECKPOINT")
MODEL = FineTuned.load(Path(chosen) if chosen else None)

@cl.on_message
async def main(message: cl.Message):
    until = time.perf_counter() + (0.6 if message.content == "busy" else 0)
    while (answer := MODEL.predict([message.content])[0]) and time.perf_counter() < until:
        pass
    await cl.Message(content=answer.label).send()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def server(command: list[str], port: int, cwd: Path) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ)
    )
    try:
        for _ in range(600):
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                break
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(20)


# --- in the browser -----------------------------------------------------------------------------


@contextmanager
def chat_and_browser() -> Iterator[tuple[str, subprocess.Popen, Browser]]:
    """Address and process of a fresh chat, and a browser."""
    port = free_port()
    command = [sys.executable, "-m", "icl.chat", "--headless", "--port", str(port)]
    with server(command, port, Path(tempfile.mkdtemp())) as process, sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        yield f"http://127.0.0.1:{port}", process, browser
        browser.close()


def ask(tab: Page, text: str) -> float:
    """Milliseconds from Enter to the visible card."""
    before = tab.get_by_test_id("compare-card").count()
    tab.locator("#chat-input").fill(text)
    tab.locator("#chat-submit:enabled").wait_for()
    start = time.perf_counter()
    tab.keyboard.press("Enter")
    tab.get_by_test_id("compare-card").nth(before).wait_for(timeout=120_000)
    took = 1000 * (time.perf_counter() - start)
    tab.locator("#chat-submit").wait_for()
    return took


def model_ms(tab: Page) -> float:
    """What the models of the last card took, as it says itself: the sides run side by side."""
    shown = tab.get_by_test_id("compare-card").last.locator(".ts-facts b").all_inner_texts()
    values = [t.replace(",", "").split() for t in shown]
    return max(float(number) * (1000 if unit == "s" else 1) for number, unit in values)


def browser_figures() -> Iterator[dict]:
    start = time.perf_counter()
    with chat_and_browser() as (url, process, browser):
        tab = browser.new_page(viewport={"width": 1280, "height": 720})
        tab.goto(url)
        tab.locator("#chat-input").wait_for()
        yield figure("start to a page one can type in", time.perf_counter() - start, "s", 20)
        ask(tab, MESSAGES[0])
        yield figure("start to the first answer of both", time.perf_counter() - start, "s", 20)

        turns, overheads = [], []
        for i in range(TURNS):
            turns.append(ask(tab, MESSAGES[i % len(MESSAGES)]))
            overheads.append(turns[-1] - model_ms(tab))
        yield figure("Compare, k=4, Enter to card, p50", statistics.median(turns), "ms", 1200)
        yield figure("of this, all but the models, p50", statistics.median(overheads), "ms")

        for i in range(MEMORY_MESSAGES - TURNS - 1):
            ask(tab, MESSAGES[i % len(MESSAGES)])
        memory = psutil.Process(process.pid).memory_info().rss / 1e6
        yield figure(f"server memory after {MEMORY_MESSAGES} messages", memory, "MB", 2000)


def screenshots(folder: Path) -> None:
    """The pictures of docs/chat.md, at the sizes of a laptop and of a phone."""
    with chat_and_browser() as (url, _, browser):
        warm = browser.new_page()
        warm.goto(url)
        ask(warm, MESSAGES[0])  # the first answer after the start is slower than a usual one
        warm.close()
        for name, width, height, theme in (
            ("compare", 1280, 900, "light"),
            ("compare-dark", 1280, 900, "dark"),
            ("phone", 390, 844, "light"),
        ):
            window = browser.new_context(viewport={"width": width, "height": height})
            window.add_init_script(f"localStorage.setItem('vite-ui-theme', '{theme}')")
            tab = window.new_page()
            tab.goto(url)
            tab.locator("#starters").wait_for()
            ask(tab, MESSAGES[0])
            tab.mouse.move(0, 0)
            tab.wait_for_timeout(1000)  # animations
            tab.screenshot(path=folder / f"{name}.png")
            window.close()


# --- one visitor beside a busy one ---------------------------------------------------------------


class Visitor:
    """One browser's half of Chainlit's socket protocol."""

    def __init__(self, port: int, profile: str) -> None:
        self.port, self.profile = port, profile
        self.socket = socketio.AsyncClient(reconnection=False)
        self.done = asyncio.Event()
        self.socket.on("task_end", lambda data=None: self.done.set())

    async def join(self) -> "Visitor":
        await self.socket.connect(
            f"http://127.0.0.1:{self.port}",
            socketio_path="/ws/socket.io",
            transports=["websocket"],
            auth={
                "clientType": "webapp",
                "sessionId": str(uuid.uuid4()),
                "threadId": "",
                "userEnv": "{}",
                "chatProfile": self.profile,
            },
        )
        await self.socket.emit("connection_successful")
        await asyncio.sleep(1)
        return self

    async def say(self, text: str) -> float:
        """Milliseconds until the server has dealt with ``text``."""
        self.done.clear()
        message = {
            "id": str(uuid.uuid4()),
            "threadId": "",
            "name": "User",
            "type": "user_message",
            "output": text,
            "createdAt": "2026-01-01T00:00:00Z",
        }
        start = time.perf_counter()
        await self.socket.emit("client_message", {"message": message, "fileReferences": []})
        await asyncio.wait_for(self.done.wait(), 120)
        return 1000 * (time.perf_counter() - start)


async def beside_a_busy_one(port: int, busy_profile: str, busy_text: str, profile: str) -> float:
    """Median wait (ms) of a fine-tuned answer while somebody else's answers take long."""
    busy, other = await Visitor(port, busy_profile).join(), await Visitor(port, profile).join()
    await busy.say(MESSAGES[0])  # models are loaded
    await other.say(MESSAGES[1])
    waits = []
    for i in range(TURNS):
        long = asyncio.create_task(busy.say(busy_text))
        await asyncio.sleep(0.05)
        waits.append(await other.say(MESSAGES[i % len(MESSAGES)]))
        await long
    await busy.socket.disconnect()
    await other.socket.disconnect()
    return statistics.median(waits)


def busy_figures() -> Iterator[dict]:
    folder = Path(tempfile.mkdtemp())
    port = free_port()
    command = [sys.executable, "-m", "icl.chat", "--headless", "--port", str(port)]
    with server(command, port, folder):
        ours = asyncio.run(beside_a_busy_one(port, "Few-shot", MESSAGES[2], "Fine-tuned"))
    # The peer has one model: its busy visitor keeps it for 0.6 s, as a few-shot answer would.
    port = free_port()
    (folder / "peer.py").write_text(PEER_APP)
    command = [sys.executable, "-m", "chainlit", "run", "peer.py", "-h", "--port", str(port)]
    with server(command, port, folder):
        peer = asyncio.run(beside_a_busy_one(port, "", "busy", ""))
    yield figure("fine-tuned answer beside a busy visitor, p50", ours, "ms", peer=peer)


# --- report -------------------------------------------------------------------------------------


def figure(
    name: str, value: float, unit: str, goal: float | None = None, peer: float | None = None
) -> dict:
    return {
        "name": name,
        "value": round(value, 2),
        "unit": unit,
        "goal": goal,
        "ok": None if goal is None else value <= goal,
        "peer": None if peer is None else round(peer, 2),
        "machine": machine_name(),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments.add_argument("--screenshots", type=Path, metavar="FOLDER", help="only the pictures")
    chosen = arguments.parse_args()
    if chosen.screenshots:
        screenshots(chosen.screenshots)
        return
    for figures in (browser_figures, busy_figures):
        for found in figures():
            if chosen.json:
                print(to_json(found), flush=True)
            else:
                goal = f"goal {found['goal']}" if found["goal"] is not None else ""
                peer = f"peer {found['peer']}" if found["peer"] is not None else ""
                print(f"{found['name']:50} {found['value']:10} {found['unit']:3} {goal}{peer}")


if __name__ == "__main__":
    run_app(main)
