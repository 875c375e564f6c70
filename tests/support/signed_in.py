"""A page with a login, without models, and people who are signed in there, as programs."""

import asyncio
import contextlib
import http.cookiejar
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

from tests.support.lazy import lazy
from tests.support.pages import PROJECT

socketio = lazy("socketio")
chat_store = lazy("icl.chat.store.chat_store")

PAGE = """
import os
import signal

import chainlit as cl
import icl.chat.patches.install
from icl.chat.login import install as login; from icl.chat.store import storage

login.install()
storage.install()

@cl.on_chat_resume
async def resume(thread):
    await cl.context.emitter.send_toast(str(cl.user_session.get("shots")))

@cl.on_message
async def on_message(message):
    if message.content == "die":
        cl.user_session.set("shots", 8)
        await storage.save_session()
        os.kill(os.getpid(), signal.SIGKILL)
    card = cl.CustomElement(name="CompareCard", props={"said": message.content})
    chart = cl.Text(name="chart", content="chart of " + message.content)
    await cl.Message(content="Both say spam.", elements=[card, chart]).send()
"""


# The page of chat_app.py, with models that look for a word.
CLASS = """
import sys
from pathlib import Path
import icl.chat.serve as serve
serve.APP = Path("app.py").resolve()
serve.serve(int(sys.argv[1]), headless=True)
"""
APP = """
import icl.session.environment as environment
from tests.support.chat import make_workers
workers = make_workers()
environment.workers = lambda: workers
import chat_app
"""
CODES = {"anna": "correct horse", "ben": "battery staple"}


class Visitor:
    """A logged-in person, as a program."""

    def __init__(self, url):
        self.url, self.jar = url, http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))

    def ask(self, path, method="GET", form=None, **body):
        if form:
            return self.send(path, method, urllib.parse.urlencode(form).encode(), {})
        data = None if method == "GET" else json.dumps(body).encode()
        return self.send(path, method, data, {"Content-Type": "application/json"})

    def upload(self, session, text):
        """Uploads a table into a session."""
        head = 'Content-Disposition: form-data; name="file"; filename="table.csv"\r\n'
        body = f"--x\r\n{head}Content-Type: text/csv\r\n\r\n{text}\r\n--x--\r\n".encode()
        form = {"Content-Type": "multipart/form-data; boundary=x"}
        return self.send(f"/project/file?session_id={session}", "POST", body, form)

    def send(self, path, method, data, headers):
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with self.opener.open(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def sign_in(self, name, code=None):
        """Signs in; the status of the answer."""
        form = {"username": name, "password": code or CODES[name]}
        return self.ask("/login", "POST", form)[0]

    async def connect(self, client, thread="", session=None, **headers):
        """Connects a socket, as the page does."""
        cookies = "; ".join(f"{c.name}={c.value}" for c in self.jar)
        await client.connect(
            self.url,
            headers={"Cookie": cookies, **headers},
            auth={
                "clientType": "webapp",
                "sessionId": session or str(uuid.uuid4()),
                "threadId": thread,
                "userEnv": "{}",
                "chatProfile": "",
            },
            socketio_path="/ws/socket.io",
            transports=["websocket"],
        )

    async def chat(self, text=None, thread=""):
        """Resumes a chat or begins one, and says ``text``; returns what the page received."""
        seen, done = [], asyncio.Event()
        client = socketio.AsyncClient()

        @client.on("*")
        async def hear(event, *data):
            seen.append((event, data[0] if data else None))
            names = [event for event, _ in seen]
            turn = names[names.index("task_start") :] if "task_start" in names else []
            if event == "resume_thread" or {"task_end", "first_interaction"} <= set(turn):
                done.set()

        @client.event
        async def disconnect(reason):
            done.set()

        await self.connect(client, thread)
        await client.emit("connection_successful")
        if text:
            await asyncio.sleep(0.5)
            done.clear()
            await client.emit("client_message", user_message(text))
        await asyncio.wait_for(done.wait(), 20)
        await client.disconnect()
        return seen


class OpenPage:
    """A page that stays open: what it received, and whether it was disconnected."""

    def __init__(self, visitor):
        self.visitor, self.session, self.seen = visitor, str(uuid.uuid4()), []
        self.client = socketio.AsyncClient(reconnection=False)
        self.closed = asyncio.Event()
        self.client.on("*", self.hear)
        self.client.on("disconnect", self.close)

    async def hear(self, event, *data):
        self.seen.append((event, data[0] if data else None))

    async def close(self, reason):
        self.closed.set()

    async def open(self, thread="", **headers):
        await self.visitor.connect(self.client, thread, self.session, **headers)
        await self.client.emit("connection_successful")
        await self.until("chat_settings")
        return self

    async def say(self, text):
        """Says something; returns what was answered, after the end of the turn."""
        del self.seen[:]
        said = user_message(text)
        self.said = said["message"]["id"]
        await self.client.emit("client_message", said)
        await self.until("element")
        await self.until("task_end")
        return [
            step["output"]
            for event, step in self.seen
            if event == "new_message" and step["type"] == "assistant_message"
        ]

    async def until(self, event):
        for _ in range(400):
            if event in dict(self.seen):
                return dict(self.seen)[event]
            await asyncio.sleep(0.05)
        raise AssertionError(f"no {event} in {self.seen}")

    def all(self, event):
        return [data for name, data in self.seen if name == event]


def user_message(text):
    message = {
        "id": str(uuid.uuid4()),
        "name": "anna",
        "type": "user_message",
        "output": text,
        "createdAt": chat_store.now(),
    }
    return {"message": message, "fileReferences": []}


def page_that_dies(folder, port, **environment):
    """A page with cards and charts; the message "die" kills its server."""
    (folder / "app.py").write_text(PAGE)
    run = ["-m", "chainlit", "run", "app.py", "--headless", "--port", str(port)]
    return _running(folder, port, run, CHAINLIT_APP_ROOT=str(folder), **environment)


def page_of_a_class(folder, port, first="", **environment):
    """The page of chat_app.py without models, started as a person starts it."""
    (folder / "app.py").write_text(first + APP)
    return _running(folder, port, ["-c", CLASS, str(port)], **environment)


@contextlib.contextmanager
def _running(folder, port, run, **environment):
    process = subprocess.Popen(
        [sys.executable, *run],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "TUNESHOT_DATA": str(folder / "data"),
            "TUNESHOT_CODES": ",".join(f"{name}:{code}" for name, code in CODES.items()),
            **environment,
        },
        stderr=subprocess.STDOUT,
        stdout=(folder / "log").open("ab"),
    )
    try:
        for _ in range(900):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health")
                break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        else:
            raise AssertionError((folder / "log").read_text())
        yield process
    finally:
        process.kill()
        process.wait(20)
