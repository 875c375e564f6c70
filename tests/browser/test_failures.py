"""What goes wrong in class: the server dies, the database is locked, a model is gone."""

import asyncio
import contextlib
import os
import re
import shutil
import socket
import sqlite3
import struct
import subprocess
import sys
import time
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from clfcore.weights.checkpoint import save_checkpoint
from clfcore.weights.meta import Meta
from icl.session import environment
from icl.session.settings import Settings
from tests.support.doubles import EXAMPLES, save_tiny_lm
from tests.support.lazy import lazy
from tests.support.openai_server import OpenAIServer, Reply, chat
from tests.support.pages import free_port, start_page
from tests.support.tiny import CFG, LABELS, tiny

socketio = lazy("socketio")

chat_store = lazy("icl.chat.store.chat_store")

CODE = "correct horse"
API = "api:openai/scripted"
SOON = 60_000  # ms


@pytest.fixture
def lm():
    with contextlib.ExitStack() as stop:
        server = stop.enter_context(OpenAIServer())
        server.stop = stop.close
        yield server


@pytest.fixture
def models(tmp_path):
    """The environment of a server with models that answer in milliseconds."""
    pool = tmp_path / "pool.tsv"
    pool.write_text("".join(f"{e.label}\t{e.text}\n" for e in EXAMPLES))
    for name in ("first", "second"):
        save_checkpoint(tmp_path / name, tiny(), Meta(name, LABELS, CFG))
    return {
        "TUNESHOT_CHECKPOINT": f"{tmp_path / 'first'},{tmp_path / 'second'}",
        "TUNESHOT_LM": str(save_tiny_lm(tmp_path / "lm")),
        "TUNESHOT_POOL": str(pool),
        "TUNESHOT_CACHE": str(tmp_path / "cache"),
        "TUNESHOT_DATA": str(tmp_path / "data"),
        "TUNESHOT_CODES": f"anna:{CODE}",
    }


@dataclass
class Server:
    """A running ``tuneshot serve``."""

    url: str
    process: subprocess.Popen
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def stored(self) -> list[str]:
        """What was said, of the visitor and of us, oldest first."""
        with sqlite3.connect(self.folder / "data" / "chat.db") as kept:
            query = (
                "SELECT output FROM tuneshot_steps WHERE type LIKE '%message' ORDER BY createdAt"
            )
            return [output for (output,) in kept.execute(query)]


@contextlib.contextmanager
def serve(folder, port, environment, *options):
    """``tuneshot serve``, when its models have answered."""
    command = [Path(sys.executable).with_name("tuneshot"), "serve", "--port", str(port), *options]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env={**os.environ, **environment}
        )
    server = Server(f"http://127.0.0.1:{port}", process, folder)
    try:
        for _ in range(240):
            with contextlib.suppress(OSError):  # not there yet, or not ready
                urllib.request.urlopen(f"{server.url}/readyz")
                break
            assert process.poll() is None, server.log.read_text()
            time.sleep(0.25)
        yield server
    finally:
        process.terminate()
        process.wait(20)


class Visitor:
    """One logged-in browser's half of the socket protocol."""

    def __init__(self, url):
        self.url, self.seen, self.done = url, [], asyncio.Event()
        self.offered = asyncio.Event()
        self.client = socketio.AsyncClient(reconnection=False)
        self.client.on("*", self.hear)

    async def hear(self, event, *data):
        self.seen.append((event, data[0] if data else None))
        if event == "chat_settings":
            self.offered.set()
            self.done.clear()
        if event == "task_end":
            self.done.set()

    async def __aenter__(self):
        async with httpx.AsyncClient(base_url=self.url) as web:
            form = {"username": "anna", "password": CODE}
            (await web.post("/login", data=form)).raise_for_status()
            cookie = "; ".join(f"{name}={value}" for name, value in web.cookies.items())
        auth = {
            "clientType": "webapp",
            "sessionId": str(uuid.uuid4()),
            "threadId": "",
            "userEnv": "{}",
            "chatProfile": "Compare",
        }
        await self.client.connect(
            self.url,
            headers={"Cookie": cookie},
            auth=auth,
            socketio_path="/ws/socket.io",
            transports=["websocket"],
        )
        await self.client.emit("connection_successful")
        await asyncio.wait_for(self.offered.wait(), 20)
        await asyncio.wait_for(self.done.wait(), 20)  # the start is over
        return self

    async def __aexit__(self, *_):
        await self.client.disconnect()

    async def say(self, text):
        """Sends a message; what the page received until it was dealt with, as event -> data."""
        self.seen.clear()
        self.done.clear()
        message = {
            "id": str(uuid.uuid4()),
            "name": "anna",
            "type": "user_message",
            "output": text,
            "createdAt": chat_store.now(),
        }
        await self.client.emit("client_message", {"message": message, "fileReferences": []})
        await asyncio.wait_for(self.done.wait(), 60)
        return dict(self.seen)

    async def choose(self, **settings):
        """Confirms the settings panel."""
        self.done.clear()
        await self.client.emit("chat_settings_change", settings)
        await asyncio.wait_for(self.done.wait(), 20)


def sides(events):
    """Method -> what the card shows of it."""
    return {side["method"]: side for side in events["element"]["props"]["sides"]}


# --- the database is locked ---------------------------------------------------------------------


@contextlib.contextmanager
def locked(server):
    """Nobody else can write into the database meanwhile."""
    other = sqlite3.connect(server.folder / "data" / "chat.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    yield
    other.execute("ROLLBACK")
    other.close()


@pytest.mark.slow
def test_a_locked_database_keeps_nobody_from_an_answer(models, tmp_path):
    async def visit(server):
        async with Visitor(server.url) as anna:
            with locked(server):
                short = asyncio.create_task(anna.say("during a short lock"))
                await asyncio.sleep(2)
            assert set(sides(await short)) == {"fine_tuned", "few_shot"}
            message, answer = server.stored()
            assert message == "during a short lock"
            assert answer.startswith(("Both say", "They disagree"))

            with locked(server):
                seen = await anna.say("during a long lock")
            assert set(sides(seen)) == {"fine_tuned", "few_shot"}
            assert "not be kept" in seen["toast"]["message"]
            assert "toast" not in await anna.say("afterwards")
        assert "afterwards" in server.stored()
        log = server.log.read_text()
        assert "database is locked" in log
        assert "Traceback" not in log

    with serve(tmp_path, free_port(), models) as server:
        asyncio.run(visit(server))


# --- a model is gone ----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_removed_model_is_one_line_where_it_is_not_loaded_yet(models, tmp_path):
    async def visit(server):
        async with Visitor(server.url) as anna:
            for name in ("first", "second", "lm"):
                shutil.rmtree(tmp_path / name)
            still = sides(await anna.say("the loaded ones answer"))
            assert not any(side["problem"] for side in still.values())
            await anna.choose(checkpoint="second")
            gone = sides(await anna.say("the other one does not"))
            assert gone["fine_tuned"]["problem"].startswith("no checkpoint at")
            assert gone["few_shot"]["label"]

    with serve(tmp_path, free_port(), models) as server:
        asyncio.run(visit(server))
        assert "Traceback" not in server.log.read_text()


@pytest.fixture
def workers(models, lm, monkeypatch):
    """Those of a server, in this process, with a language model behind an API."""
    for name, value in models.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TUNESHOT_LM", API)
    monkeypatch.setenv("OPENAI_BASE_URL", lm.url)
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)  # between two tries
    workers = environment.workers.__wrapped__()
    yield workers
    workers.close()


def ask(workers, text):
    """Method -> its result."""
    reply = asyncio.run(workers.reply(text, tuple(workers.queues), Settings()))
    return {result.method: result for result in reply.results}


@pytest.mark.slow
def test_where_the_endpoint_of_the_language_model_is_down_the_other_side_answers(workers, lm):
    assert ask(workers, "while it is there")["few_shot"].prediction
    lm.stop()
    found = ask(workers, "when it is gone")
    assert found["fine_tuned"].prediction
    problem = found["few_shot"].problem
    assert "nothing listens at this address" in problem
    assert "start the server" in problem
    assert "\n" not in problem


@pytest.mark.slow
def test_a_reply_that_names_no_label_is_shown_as_no_answer(visit, models, lm, tmp_path):
    lm.script(*[chat("It is not spam")] * 20)
    models |= {"TUNESHOT_LM": API, "OPENAI_BASE_URL": lm.url, "OPENAI_API_KEY": "any"}
    del models["TUNESHOT_CODES"]
    (tmp_path / "page").mkdir()
    with start_page(tmp_path / "page", **models) as page:
        window = visit(page)
        card = window.send("see you at eight")
        expect(card.get_by_test_id("label-few_shot")).to_have_text("no answer")
        expect(card.get_by_test_id("problem-few_shot")).to_contain_text("'It is not spam'")
        expect(card.get_by_test_id("side-few_shot").get_by_text("%")).to_have_count(0)
        expect(card.get_by_test_id("problem-fine_tuned")).to_have_count(0)
        expect(card.get_by_test_id("example").first).to_be_visible()
        expect(window.tab.get_by_text("few-shot has no answer.")).to_be_visible()


def test_models_that_are_missing_at_the_start_are_one_line_each(models, workers, tmp_path):
    shutil.rmtree(tmp_path / "first")
    (tmp_path / "pool.tsv").unlink()
    for side in ask(workers, "hello").values():
        assert side.prediction is None
        assert len(side.problem.splitlines()) == 1
        assert str(tmp_path) in side.problem


# --- browsers -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_browsers_that_leave_before_their_answer_leave_nothing_in_the_log(models, tmp_path):
    port = free_port()
    with serve(tmp_path, port, models) as server:
        for path in ["/", "/project/translations?language=en-US", "/public/theme.json"] * 5:
            with socket.create_connection(("127.0.0.1", port)) as visitor:
                at_once = struct.pack("ii", 1, 0)  # closing does not wait
                visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
                visitor.sendall(f"GET {path} HTTP/1.1\r\nHost: class\r\n\r\n".encode())
        urllib.request.urlopen(f"{server.url}/healthz").close()
        (line,) = server.log.read_text().splitlines()
        assert line.startswith("Tuneshot: http://")


# --- a path of another site ---------------------------------------------------------------------


@pytest.mark.slow
def test_under_a_path_all_addresses_of_the_page_begin_with_it(models, tmp_path):
    with (
        serve(tmp_path, free_port(), models, "--root-path", "/class") as server,
        httpx.Client(base_url=server.url) as proxy,
    ):
        page = proxy.get("/").text
        assert '"og:root_path" content="/class"' in page
        for address in re.findall(r'(?:src|href)="(/[^"]+)"', page):
            assert address.startswith("/class/")
            assert proxy.get(address.removeprefix("/class")).status_code == 200


# --- the server dies ----------------------------------------------------------------------------
# Last, as Playwright keeps an event loop running until the end of the module.


@pytest.mark.slow
@pytest.mark.browser
def test_after_kill_9_in_the_middle_of_an_answer_the_page_goes_on_by_itself(
    chromium, lm, models, tmp_path
):
    port = free_port()
    environment = models | {
        "TUNESHOT_LM": API,
        "OPENAI_BASE_URL": lm.url,
        "OPENAI_API_KEY": "any",
    }
    tab = chromium.new_context().new_page()
    cards = tab.get_by_test_id("compare-card")

    def send(text):
        tab.locator("#chat-input").fill(text)
        tab.locator("#chat-submit:enabled").click()

    with serve(tmp_path, port, environment) as server:
        tab.goto(server.url)
        tab.locator("input[name=email]").fill("anna")
        tab.locator("input[name=password]").fill(CODE)
        tab.locator("button[type=submit]").click()
        tab.locator("#mode-picker-trigger-selector").wait_for(timeout=SOON)
        send("first message")
        expect(cards).to_have_count(1, timeout=SOON)
        before = len(lm.requests)
        lm.script(Reply({}, delay=60))
        send("second message")
        while len(lm.requests) == before:
            tab.wait_for_timeout(50)
        server.process.kill()
        server.process.wait()
    with serve(tmp_path, port, environment) as server:
        tab.locator("#chat-submit").wait_for(timeout=SOON)  # nothing is being answered any more
        send("third message")
        expect(cards).to_have_count(2, timeout=SOON)
        asked = tab.locator("[data-step-type=user_message]")
        expect(asked).to_have_text(["first message", "second message", "third message"])
        first, answer, *rest = server.stored()
        assert (first, *rest[:2]) == ("first message", "second message", "third message")
        assert answer.startswith(("Both say", "They disagree"))
        assert "Traceback" not in server.log.read_text()
    tab.context.close()
