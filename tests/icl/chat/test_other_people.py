"""What belongs to one person is nobody else's: every way to it, tried by somebody else."""

import asyncio
import json
import uuid

import pytest

from tests.support.lazy import lazy
from tests.support.pages import free_port
from tests.support.signed_in import OpenPage, Visitor, page_of_a_class, user_message

socketio = lazy("socketio")

pytestmark = pytest.mark.slow

PRIVATE = "the purple heron wins cash"


class Place:
    """A page with two people; what anna has there, and ben's open page."""

    def __init__(self, url, folder):
        self.url, self.folder = url, folder
        self.anna, self.ben = Visitor(url), Visitor(url)
        assert (self.anna.sign_in("anna"), self.ben.sign_in("ben")) == (200, 200)
        asyncio.run(self.chat())
        self.liked = json.loads(self.thumb(self.anna, "liked by anna")[1])["feedbackId"]
        self.user = json.loads(self.anna.ask("/user")[1])["id"]
        self.before = self.annas()

    async def chat(self):
        page = await OpenPage(self.anna).open()
        await page.say(PRIVATE)
        self.session = page.session
        self.thread = (await page.until("first_interaction"))["thread_id"]
        self.step = page.said
        self.votes = [a for a in page.all("action") if a["name"] == "vote"]
        self.why = next(a for a in page.all("action") if a["name"] == "why")
        self.turn = self.why["payload"]["turn"]
        self.element = (await page.until("element"))["id"]
        table = f"text\n{PRIVATE}\n"
        status, uploaded = await asyncio.to_thread(self.anna.upload, self.session, table)
        assert status == 200, uploaded
        self.file = json.loads(uploaded)["id"]
        await page.client.disconnect()  # her session is kept for ten minutes
        bens = await OpenPage(self.ben).open()
        self.bens_session = bens.session
        await bens.client.disconnect()

    def annas(self):
        """All that anna has."""
        status, thread = self.anna.ask(f"/project/thread/{self.thread}")
        assert status == 200
        file = self.anna.ask(f"/project/file/{self.file}?session_id={self.session}")
        assert (file[0], PRIVATE in file[1]) == (200, True)
        votes = self.folder / "data" / "votes.jsonl"
        return thread, file, votes.read_text() if votes.exists() else ""

    def thumb(self, who, comment, **more):
        feedback = {"forId": self.turn, "threadId": self.thread, "value": 1, "comment": comment}
        return who.ask("/feedback", "PUT", feedback=feedback | more, sessionId=self.session)

    def act(self, who, action, session):
        return who.ask("/project/action", "POST", action=action, sessionId=session)

    def socket(self, **where):
        """Ben's socket, with something of anna's in what the browser says."""

        async def run():
            client = socketio.AsyncClient(reconnection=False)
            try:
                await self.ben.connect(client, **where)
            except socketio.exceptions.ConnectionError:
                return 401, ""
            await client.disconnect()
            return 200, ""

        return asyncio.run(run())

    def write_into(self):
        """Ben says something in his own chat, by the names of anna's."""

        async def run():
            page = await OpenPage(self.ben).open()
            message = user_message("see you")
            message["message"] |= {"id": self.step, "threadId": self.thread, "parentId": self.turn}
            await page.client.emit("client_message", message)
            await page.until("element")
            element = {"id": self.element, "type": "custom", "name": "CompareCard", "props": {}}
            element |= {"display": "inline", "threadId": self.thread, "forId": self.turn}
            for method in ("PUT", "DELETE"):
                await asyncio.to_thread(
                    self.ben.ask, "/project/element", method,
                    element=element, sessionId=page.session,
                )  # fmt: skip
            await page.client.disconnect()

        asyncio.run(run())

    @property
    def annas_element(self):
        element = {"id": self.element, "type": "custom", "name": "CompareCard", "props": {}}
        element |= {"display": "inline", "threadId": self.thread, "forId": self.turn}
        return {"element": element, "sessionId": self.session}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("two"), free_port()
    with page_of_a_class(folder, port):
        yield Place(f"http://127.0.0.1:{port}", folder)
    log = (folder / "log").read_text()
    assert "Traceback" not in log


# What ben does -> how; each is answered with an error, or with nothing of anna's.
TRESPASSES = {
    "reads a chat": lambda p: p.ben.ask(f"/project/thread/{p.thread}"),
    "reads an element": lambda p: p.ben.ask(f"/project/thread/{p.thread}/element/{p.element}"),
    "reads a shared chat": lambda p: p.ben.ask(f"/project/share/{p.thread}"),
    "renames a chat": lambda p: p.ben.ask(
        "/project/thread", "PUT", threadId=p.thread, name="ben's"
    ),
    "shares a chat": lambda p: p.ben.ask(
        "/project/thread/share", "PUT", threadId=p.thread, isShared=True
    ),
    "removes a chat": lambda p: p.ben.ask("/project/thread", "DELETE", threadId=p.thread),
    "changes an element": lambda p: p.ben.ask("/project/element", "PUT", **p.annas_element),
    "removes an element": lambda p: p.ben.ask("/project/element", "DELETE", **p.annas_element),
    "presses a button": lambda p: p.act(p.ben, p.why, p.session),
    "votes in her session": lambda p: p.act(p.ben, p.votes[0], p.session),
    "uploads into her session": lambda p: p.ben.upload(p.session, "text\nben's\n"),
    "reads a file": lambda p: p.ben.ask(f"/project/file/{p.file}?session_id={p.session}"),
    "gives a thumb": lambda p: p.thumb(p.ben, "ben's", forId=p.step),
    "changes a thumb": lambda p: p.thumb(p.ben, "ben's", value=0, id=p.liked),
    "takes a thumb back": lambda p: p.ben.ask("/feedback", "DELETE", feedbackId=p.liked),
    "resumes her chat": lambda p: p.socket(thread=p.thread),
    "takes over her session": lambda p: p.socket(session=p.session),
}


@pytest.mark.parametrize("trespass", TRESPASSES)
def test_nobody_gets_at_what_is_another_persons(place, trespass):
    status, answer = TRESPASSES[trespass](place)
    assert status in (401, 404, 405) or '<div id="root">' in answer  # a closed route is the page
    assert PRIVATE not in answer
    assert "heron" not in answer
    assert place.annas() == place.before


@pytest.mark.parametrize("trespass", TRESPASSES)
def test_nobody_does_without_signing_in(place, trespass, monkeypatch):
    monkeypatch.setattr(place, "ben", Visitor(place.url))
    status, answer = TRESPASSES[trespass](place)
    assert status in (401, 404, 405) or '<div id="root">' in answer
    assert "heron" not in answer
    assert place.annas() == place.before


def test_the_list_of_chats_is_ones_own_whatever_the_browser_asks_for(place):
    status, answer = place.ben.ask(
        "/project/threads", "POST", pagination={"first": 50}, filter={"userId": place.user}
    )
    assert status == 200
    assert place.thread not in answer


def test_nobody_votes_on_another_persons_answer_in_a_session_of_their_own(place):
    for action in (*place.votes, place.why):
        place.act(place.ben, action, place.bens_session)
    assert place.annas() == place.before


def test_nobody_writes_into_anothers_chat_by_taking_the_names_of_what_is_there(place):
    place.write_into()
    assert place.annas() == place.before


def test_a_thumb_is_by_who_is_signed_in_whatever_session_the_browser_names(place):
    async def bens_turn():
        page = await OpenPage(place.ben).open()
        await page.say("win cash")
        turn = next(a for a in page.all("action") if a["name"] == "why")["payload"]["turn"]
        await page.client.disconnect()
        return turn

    turn = asyncio.run(bens_turn())
    votes = place.folder / "data" / "votes.jsonl"
    annas = json.loads(votes.read_text().splitlines()[0])
    for session in (place.session, place.bens_session, str(uuid.uuid4()), "x"):
        feedback = {"forId": turn, "value": 0, "comment": "ben's"}
        assert place.ben.ask("/feedback", "PUT", feedback=feedback, sessionId=session)[0] == 200
    lines = [json.loads(line) for line in votes.read_text().splitlines()]
    (ben,) = {line["who"] for line in lines if line["comment"] == "ben's"}
    assert annas["comment"] == "liked by anna"
    assert ben != annas["who"]
    place.before = place.annas()


@pytest.mark.parametrize(
    "body", [{}, {"feedback": 1}, {"feedback": {"forId": "x", "value": 7}}, {"feedbackId": [1]}]
)
def test_what_is_no_thumb_is_one_line(place, body):
    for method in ("PUT", "DELETE"):
        status, answer = place.anna.ask("/feedback", method, **body)
        assert (status, json.loads(answer)) == (422, {"detail": "this is no thumb"})
