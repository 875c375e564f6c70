"""The handlers behind the page, and the page's server as a program speaks to it."""

import asyncio
import os
import subprocess
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
import uuid

import psutil
import pytest

from icl.session.session import Model
from icl.session.settings import PROFILES, Settings
from tests.support.chat import WordSpotter, handle, make_workers
from tests.support.lazy import lazy
from tests.support.pages import HOSTILE, PROJECT

socketio = lazy("socketio")

cl = lazy("chainlit")
chat_app = lazy("chat_app")
upload = lazy("icl.chat.actions.upload")
conversation = lazy("icl.chat.conversation")
handlers = lazy("icl.chat.handlers")
session_ids = lazy("icl.chat.patches.session_ids")
state = lazy("icl.chat.state")

# --- handlers, without a server -----------------------------------------------------------------


def test_a_message_is_answered_with_a_verdict_and_a_card():
    sent = handle(
        conversation.answer, make_workers(), state.Chat(), "win cash", PROFILES["Compare"], None
    )
    assert sent.messages == ["Both say spam."]
    (card,) = sent.cards
    assert card["name"] == "CompareCard"
    assert [side["word"] for side in card["props"]["sides"]] == ["spam", "spam"]


def test_choices_of_the_pickers_reach_the_few_shot_side():
    seen = []

    def few_shot(settings):
        seen.append(settings)
        return Model("reader", WordSpotter())

    handle(
        conversation.answer,
        make_workers(few_shot=few_shot),
        state.Chat(),
        "hi",
        PROFILES["Few-shot"],
        {"selector": "knn", "k": "8"},
    )
    assert seen == [Settings(selector="knn", k=8)]


def test_a_message_sent_while_models_load_is_told_so_and_then_answered():
    def slow(settings):
        time.sleep(0.3)
        return Model("tiny", WordSpotter())

    loading = make_workers(fine_tuned=slow)
    compare = (loading, state.Chat(), "win cash", PROFILES["Compare"], None)

    async def at_the_start():
        warming_up = asyncio.create_task(loading.warm_up.run())
        await asyncio.sleep(0)
        await conversation.answer(*compare)
        await warming_up

    sent = handle(at_the_start)
    assert sent.messages == [conversation.LOADING, "Both say spam."]
    assert sent.removed == [conversation.LOADING]
    assert handle(conversation.answer, *compare).messages == ["Both say spam."]


def test_the_event_loop_stays_free_while_a_model_computes():
    computing, free = threading.Event(), threading.Event()

    def slow(settings):
        computing.set()
        assert free.wait(60), "nothing else was done meanwhile"
        return Model("tiny", WordSpotter())

    async def run():
        asking = asyncio.create_task(
            make_workers(slow, slow).reply("hi", PROFILES["Compare"], Settings())
        )
        while not computing.is_set():
            await asyncio.sleep(0.01)
        free.set()
        return await asking

    assert [result.problem for result in asyncio.run(run()).results] == ["", ""]


def test_waiting_for_one_method_does_not_delay_the_other():
    computing, answered = threading.Event(), threading.Event()

    def slow(settings):
        computing.set()
        assert answered.wait(60), "the other did not answer meanwhile"
        return Model("reader", WordSpotter())

    async def run():
        both = make_workers(few_shot=slow)
        slow_reply = asyncio.create_task(both.reply("hi", PROFILES["Few-shot"], Settings()))
        while not computing.is_set():
            await asyncio.sleep(0.01)
        await both.reply("hi", PROFILES["Fine-tuned"], Settings())
        answered.set()
        return await slow_reply

    assert [result.problem for result in asyncio.run(run()).results] == [""]


def test_a_bad_choice_is_answered_with_one_line_that_is_not_interpreted():
    asked = handlers.one_line_errors(conversation.answer)
    sent = handle(
        asked, make_workers(), state.Chat(), "hi", PROFILES["Compare"], {"selector": "<b>*x*</b>"}
    )
    assert sent.messages == []
    assert sent.errors == [sent.errors[0]]
    assert r"\<b\>\*x\*\<\/b\>" in sent.errors[0]
    assert "topk" in sent.errors[0]


def test_an_unexpected_error_shows_a_reference_and_no_path(caplog):
    @handlers.one_line_errors
    async def broken():
        raise RuntimeError("cannot open /home/me/secret.bin")

    sent = handle(broken)
    (line,) = sent.errors
    assert "secret" not in line
    assert line.strip(".").replace("\\", "").split()[-1].rstrip(".") in caplog.text


def test_stopping_a_message_is_not_an_error():
    @handlers.one_line_errors
    async def stopped():
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        handle(stopped)


def test_every_profile_of_the_page_is_a_profile_of_the_session():
    shown = asyncio.run(chat_app.profiles(None, None))
    assert [profile.name for profile in shown] == [*PROFILES, "Free prompt"]
    assert [profile.name for profile in shown if profile.default] == ["Compare"]
    for profile in shown:
        own = chat_app.STARTERS if profile.name in PROFILES else chat_app.FREE_STARTERS
        assert [starter.message for starter in profile.starters] == [s[1] for s in own]


def test_every_icon_of_the_page_exists():
    for profile in asyncio.run(chat_app.profiles(None, None)):
        for url in [profile.icon, *(starter.icon for starter in profile.starters)]:
            assert (PROJECT / url.lstrip("/")).is_file(), url


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("features", "unsafe_allow_html", False),
        ("features", "user_message_markdown", False),
        ("features", "edit_message", False),
        ("project", "transports", ["websocket"]),
        ("project", "allow_origins", []),
        ("UI", "custom_css", "/public/tuneshot.css"),
    ],
)
def test_the_configuration_that_matters_is_in_force(table, key, value):
    written = tomllib.loads((PROJECT / ".chainlit/config.toml").read_text())
    assert written[table][key] == value
    assert getattr(getattr(cl.config.config, table.lower()), key) == value


def test_audio_and_tool_servers_are_off_and_uploads_are_small_tables():
    features = cl.config.config.features
    assert features.spontaneous_file_upload.accept == upload.ACCEPT
    assert features.spontaneous_file_upload.max_size_mb == 2
    assert not features.audio.enabled
    assert not features.mcp.enabled


@pytest.mark.parametrize(
    "given",
    [
        None,
        7,
        "",
        "../../etc",
        "0" * 36,
        "c30d1944-ec1f-11f1-bc69-02fc00000001",
        "534de495cee54ce1a769aac7c328f19c",
        "{7a413dab-3ade-4605-b1e0-68cf07a97046}",
    ],
)
def test_only_well_formed_session_ids_are_accepted(given):
    assert not session_ids.is_session_id(given)
    assert session_ids.is_session_id(str(uuid.uuid4()))


# --- the server, spoken to as a browser does ----------------------------------------------------


class Visitor:
    """A browser's half of the protocol."""

    def __init__(self, url, profile="Compare"):
        self.url, self.profile = url, profile
        self.socket = socketio.AsyncClient(reconnection=False)
        self.said, self.cards, self.pickers = [], [], []
        self.joined, self.answered, self.idle = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.socket.on("new_message", self.hear)
        self.socket.on("set_modes", self.offer)
        self.socket.on("element", self.cards.append)
        self.running = 0  # the greeting may still run when the first message is answered
        self.socket.on("task_start", self.begin)
        self.socket.on("task_end", self.end)

    def begin(self, data=None):
        self.running += 1

    def end(self, data=None):
        self.running = max(0, self.running - 1)
        if not self.running:
            self.idle.set()

    def hear(self, message):
        if message["type"] == "assistant_message" and message["output"] != conversation.LOADING:
            self.said.append(message["output"])
            self.idle.clear()  # what follows is the card, then the end of this answer
            self.answered.set()

    def offer(self, pickers):
        self.pickers = pickers
        self.joined.set()

    async def join(self, session_id=None):
        await self.socket.connect(
            self.url,
            socketio_path="/ws/socket.io",
            transports=["websocket"],
            auth={
                "clientType": "webapp",
                "sessionId": session_id or str(uuid.uuid4()),
                "threadId": "",
                "userEnv": "{}",
                "chatProfile": self.profile.replace(" ", "%20"),
            },
            wait_timeout=30,
        )
        await self.socket.emit("connection_successful")
        return self

    async def say(self, text, modes=None):
        """Sends a message; returns what the server says to it."""
        self.said.clear()
        self.cards.clear()
        self.answered.clear()
        await self.send(text, modes)
        await asyncio.wait_for(self.answered.wait(), 120)
        await asyncio.wait_for(self.idle.wait(), 10)
        return list(self.said)

    async def send(self, text, modes=None):
        """Sends a message and waits for nothing."""
        message = {
            "id": str(uuid.uuid4()),
            "threadId": "",
            "name": "User",
            "type": "user_message",
            "output": text,
            "createdAt": "2026-01-01T00:00:00Z",
            "modes": modes,
        }
        await self.socket.emit("client_message", {"message": message, "fileReferences": []})


def tell(page, text, modes=None, profile="Compare"):
    """One message of a new visitor: the lines and the cards that come back."""

    async def run():
        visitor = await Visitor(page.url, profile).join()
        said = await visitor.say(text, modes)
        await visitor.socket.disconnect()
        return said, visitor.cards

    return asyncio.run(run())


def test_the_page_starts_whatever_other_programs_left_in_the_environment(page):
    assert HOSTILE["DEBUG"]
    with urllib.request.urlopen(f"{page.url}/project/settings") as answered:
        assert b'"dataPersistence":false' in answered.read()


def test_the_port_is_open_on_this_machine_only(page):
    port = int(page.url.rsplit(":", 1)[1])
    listening = [
        c.laddr.ip
        for c in psutil.Process(page.process.pid).net_connections()
        if c.status == psutil.CONN_LISTEN and c.laddr.port == port
    ]
    assert listening == ["127.0.0.1"]


def test_the_page_names_no_other_machine_in_what_it_loads(page):
    with urllib.request.urlopen(page.url) as answered:
        html = answered.read().decode()
    assert not [
        tag for tag in html.split("<") if tag.startswith(("link", "script")) and "://" in tag
    ]


@pytest.mark.parametrize("session_id", ["x", "../../x", "0" * 36])
def test_a_connection_with_an_odd_session_id_is_refused(page, session_id):
    with pytest.raises(socketio.exceptions.ConnectionError):
        asyncio.run(Visitor(page.url).join(session_id))


def test_forty_people_who_join_in_the_same_second_all_get_in(page):
    async def join():
        visitor = await Visitor(page.url).join()
        await asyncio.wait_for(visitor.joined.wait(), 30)
        return visitor

    async def run():
        visitors = await asyncio.gather(*(join() for _ in range(40)))
        assert all(len(visitor.pickers) == 3 for visitor in visitors)
        await asyncio.gather(*(visitor.socket.disconnect() for visitor in visitors))

    asyncio.run(run())
    assert "RecursionError" not in page.log.read_text()


@pytest.mark.parametrize(("profile", "pickers"), [("Few-shot", 3), ("Fine-tuned", 0)])
def test_pickers_are_offered_where_there_is_something_to_pick(page, profile, pickers):
    async def run():
        visitor = await Visitor(page.url, profile).join()
        await asyncio.wait_for(visitor.joined.wait(), 30)
        await visitor.socket.disconnect()
        return visitor.pickers

    assert len(asyncio.run(run())) == pickers


def test_a_message_in_the_same_breath_as_joining_is_answered(page):
    said, cards = tell(page, "see you at eight")
    assert said
    assert len(cards) == 1


def test_what_is_answered_while_a_page_is_not_connected_is_there_when_it_is_back(page):
    async def run():
        session_id = str(uuid.uuid4())
        away = await Visitor(page.url, "Fine-tuned").join(session_id)
        await asyncio.wait_for(away.say("see you at eight"), 120)  # the model is there
        await away.send("and at nine?")
        await away.socket.disconnect()
        await asyncio.sleep(2)
        back = await Visitor(page.url, "Fine-tuned").join(session_id)
        await asyncio.wait_for(back.answered.wait(), 5)
        await asyncio.wait_for(back.idle.wait(), 5)
        await back.socket.disconnect()
        return back

    back = asyncio.run(run())
    assert back.said == ["Fine-tuned says not spam."]
    assert len(back.cards) == 1


@pytest.mark.parametrize(
    ("text", "modes", "complaint"),
    [
        ("", None, "empty"),
        ("x" * 100_001, None, "100,001 characters"),
        ("hello", {"k": "99"}, "from 0 to 32"),
        ("hello", {"selector": "<i>best</i>"}, "unknown selector"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_one_line(page, text, modes, complaint):
    (line,), _ = tell(page, text, modes)
    assert complaint in line.replace("\\", "")
    assert "\n" not in line


def test_a_hundred_thousand_characters_are_answered_with_a_small_card(page):
    said, (card,) = tell(page, "win cash " * 11_111)
    assert said
    assert len(str(card)) < 30_000


def test_a_running_page_writes_nothing_into_the_project(page):
    tell(page, "see you at eight")
    written = [
        *PROJECT.glob(".files"),
        *PROJECT.glob(".chainlit/**/*"),
        *PROJECT.glob("public/**/*"),
    ]
    assert [path for path in written if path.stat().st_mtime > page.started] == []


def test_a_taken_port_is_one_line_and_does_not_hurt_the_chat_that_has_it(page):
    port = page.url.rsplit(":", 1)[1]
    second = subprocess.run(
        [sys.executable, "-m", "icl.chat", "--headless", "--port", port],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        timeout=120,
    )
    assert second.returncode == 1
    assert second.stderr.startswith(f"error: cannot listen at 127.0.0.1, port {port}")
    assert len(second.stderr.splitlines()) == 1

    said, _ = tell(page, "see you at eight", profile="Fine-tuned")
    assert said == ["Fine-tuned says not spam."]


def test_the_first_two_starters_are_the_lectures_messages():
    assert [message for _, message, _ in chat_app.STARTERS[:2]] == [
        "You are a winner you have been specially selected to receive $1000 cash or a $2000 award.",
        "Hey, just wanted to check if we're still on for dinner tonight? Let me know!",
    ]


def test_the_starter_that_promises_a_disagreement_still_keeps_it(page):
    (line,), _ = tell(page, chat_app.STARTERS[2][1])
    assert line.startswith("They disagree:")


def test_the_server_asks_no_other_machine_for_anything(page):
    assert page.addresses_outside() == []
