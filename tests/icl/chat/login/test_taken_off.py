"""Who is taken off the codes is out at once: every way in, on a real server."""

import asyncio
import json
import time
from types import SimpleNamespace
from urllib.request import HTTPCookieProcessor, build_opener

import pytest

from tests.support.lazy import lazy
from tests.support.pages import free_port
from tests.support.signed_in import CODES, OpenPage, Visitor, page_of_a_class, user_message

socketio = lazy("socketio")
sockets = lazy("icl.chat.login.sockets")
cookies = lazy("icl.chat.login.cookies")

AT_ONCE = 5.0  # seconds; a second, on a machine that has nothing else to do


def write(file, codes):
    file.write_text("".join(f"{name} {code}\n" for name, code in codes.items()))


def test_what_a_page_asks_for_while_its_owner_is_out_is_not_done(codes, cookie, monkeypatch):
    done, shown_out = [], []

    async def handle(sid, *data):
        done.append(data)

    async def run():
        answering = asyncio.create_task(asyncio.sleep(60))
        session = SimpleNamespace(token=cookie("anna"), current_task=answering, socket_id="1")
        monkeypatch.setattr(sockets.WebsocketSession, "get", lambda sid: session)
        ask = sockets._only_while_signed_in(
            handle, lambda session: cookies.name_in(session.token) is None
        )
        await ask("1", "win cash")
        del codes["anna"]
        await ask("1", "win cash again")
        await asyncio.sleep(0)
        assert answering.cancelled()
        assert session.to_clear

    async def emit(event, data, socket):
        shown_out.append((event, socket))

    async def disconnect(socket):
        shown_out.append(("disconnect", socket))

    server = SimpleNamespace(emit=emit, disconnect=disconnect)
    monkeypatch.setattr("icl.chat.login.sockets.sio", server)
    asyncio.run(run())
    assert done == [("win cash",)]
    assert shown_out == [("reload", "1"), ("disconnect", "1")]


@pytest.mark.slow
@pytest.mark.parametrize("change", [{}, {"anna": "another horse"}], ids=["taken off", "new code"])
def test_who_is_taken_off_or_gets_another_code_is_out_at_once_and_nobody_else(tmp_path, change):
    file = tmp_path / "codes"
    file.touch(mode=0o600)
    write(file, CODES)
    port = free_port()
    anna, ben = (Visitor(f"http://127.0.0.1:{port}") for _ in range(2))

    async def run():
        open_pages = [await OpenPage(anna).open(), await OpenPage(anna).open()]
        bens = await OpenPage(ben).open()
        assert await open_pages[0].say("win cash") == ["Both say spam."]
        thread = (await open_pages[0].until("first_interaction"))["thread_id"]

        write(file, {"ben": CODES["ben"]} | change)
        began = time.monotonic()
        # One of her pages does nothing, the other asks something in the same moment.
        await open_pages[1].client.emit("client_message", user_message("win cash"))
        for page in open_pages:
            await asyncio.wait_for(page.closed.wait(), AT_ONCE)
            assert page.all("reload") == [{}]  # which shows her the login
        assert time.monotonic() - began < AT_ONCE

        for path in ("/user", f"/project/thread/{thread}"):
            assert (await asyncio.to_thread(anna.ask, path))[0] == 401
        for session in (None, open_pages[0].session):  # a new page, and one that reconnects
            with pytest.raises(socketio.exceptions.ConnectionError):
                await anna.connect(socketio.AsyncClient(reconnection=False), session=session)
        action = {"name": "why", "payload": {}}
        for session in (open_pages[0].session, bens.session):
            answer = await asyncio.to_thread(
                anna.ask, "/project/action", "POST", action=action, sessionId=session
            )
            assert answer[0] == 401
        assert await bens.say("see you") == ["Both say not spam."]
        await bens.client.disconnect()

    environment = {"TUNESHOT_CODES": "", "TUNESHOT_CODES_FILE": str(file)}
    with page_of_a_class(tmp_path, port, **environment):
        assert (anna.sign_in("anna"), ben.sign_in("ben")) == (200, 200)
        asyncio.run(run())
        assert anna.sign_in("anna", CODES["anna"]) == 401
        if change:
            assert anna.sign_in("anna", change["anna"]) == 200
        else:
            write(file, CODES)  # and back again
            assert anna.ask("/user")[0] == 200
        assert json.loads(anna.ask("/user")[1])["identifier"] == "anna"
    log = (tmp_path / "log").read_text().splitlines()
    assert "Traceback" not in "".join(log)
    assert len(log) == 1, log


NOT_FOR_LONG = "import icl.chat.login.named as named; named.ABSENT_SECONDS = 8.0\n"


@pytest.mark.slow
def test_whom_a_proxy_does_not_name_any_more_is_out_at_once_and_their_open_page_soon(tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    anna, ben, removed = (Visitor(url) for _ in range(3))

    def name(visitor, *names):
        visitor.opener.addheaders = [("X-Forwarded-User", name) for name in names]

    async def run():
        headers = {"X-Forwarded-User": "anna"}
        page = await OpenPage(anna).open(**headers)
        bens = await OpenPage(ben).open(**{"X-Forwarded-User": "ben"})
        assert await page.say("win cash") == ["Both say spam."]
        removed.jar = anna.jar
        for visitor, names in ((removed, ()), (ben, ("anna",)), (anna, ("ben",))):
            visitor.opener = build_opener(HTTPCookieProcessor(visitor.jar))
            name(visitor, *names)
            assert (await asyncio.to_thread(visitor.ask, "/user"))[0] == 401
        for other in ({}, {"X-Forwarded-User": "ben"}):
            with pytest.raises(socketio.exceptions.ConnectionError):
                await anna.connect(socketio.AsyncClient(reconnection=False), **other)
        name(ben, "ben")
        for _ in range(12):  # her page, which asks by its socket alone, is closed; his is not
            assert (await asyncio.to_thread(ben.ask, "/user"))[0] == 200
            await asyncio.sleep(1)
        assert page.closed.is_set()
        assert page.all("reload") == [{}]
        assert await bens.say("see you") == ["Both say not spam."]
        await bens.client.disconnect()

    login = {"TUNESHOT_CODES": "", "TUNESHOT_AUTH_HEADER": "X-Forwarded-User"}
    with page_of_a_class(tmp_path, port, first=NOT_FOR_LONG, **login):
        for visitor, who in ((anna, "anna"), (ben, "ben")):
            name(visitor, who)
            assert visitor.ask("/auth/header", "POST")[0] == 200
            assert visitor.ask("/user")[0] == 200
        asyncio.run(run())
    assert "Traceback" not in (tmp_path / "log").read_text()
