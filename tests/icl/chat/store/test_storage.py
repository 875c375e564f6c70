"""What is kept of a chat: the same on SQLite and on a real PostgreSQL."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from clfcore.errors import TuneshotError
from tests.support.lazy import lazy
from tests.support.pages import PROJECT, free_port
from tests.support.signed_in import Visitor, page_that_dies
from tests.support.stored_chats import enter, said, sqlite_url, use

socketio = lazy("socketio")

asyncpg = lazy("asyncpg")
cl = lazy("chainlit")
contexts = lazy("chainlit.context")
database = lazy("icl.chat.store.database")
files = lazy("icl.chat.store.files")
schema = lazy("icl.chat.store.schema")
chat_store = lazy("icl.chat.store.chat_store")
storage = lazy("icl.chat.store.storage")
sqlalchemy = lazy("sqlalchemy")

BIN = Path("/usr/lib/postgresql/15/bin")


# --- two databases ------------------------------------------------------------------------------


class Postgres:
    """A PostgreSQL server of our own, in a folder of its own, reached by a socket in it."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="tuneshot-postgres-"))
        self.user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
        if self.user:
            shutil.chown(self.folder, self.user)
        self.run("initdb", "--auth=trust", "--username=tuneshot", "--no-sync", "-D", self.data)
        self.start()

    @property
    def data(self):
        return self.folder / "data"

    def run(self, program, *arguments):
        subprocess.run(
            [BIN / program, *arguments],
            user=self.user,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=60,
        )

    def start(self):
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off"
        log = self.folder / "log"
        self.run("pg_ctl", "-D", self.data, "-w", "-l", log, "-o", options, "start")

    def stop(self):
        self.run("pg_ctl", "-D", self.data, "-m", "immediate", "stop")

    def new_database(self):
        name = f"chats_{uuid.uuid4().hex}"

        async def create():
            connection = await asyncpg.connect(
                host=str(self.folder), user="tuneshot", database="postgres"
            )
            await connection.execute(f"CREATE DATABASE {name}")
            await connection.close()

        asyncio.run(create())
        return sqlalchemy.URL.create(
            "postgresql+asyncpg",
            username="tuneshot",
            database=name,
            query={"host": str(self.folder)},
        )


@pytest.fixture(scope="module")
def postgres():
    if not (BIN / "initdb").exists():
        pytest.skip("needs PostgreSQL: apt-get install postgresql-15")
    server = Postgres()
    yield server
    with contextlib.suppress(subprocess.CalledProcessError):
        server.stop()
    shutil.rmtree(server.folder)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request, tmp_path):
    if request.param == "postgresql":
        return request.getfixturevalue("postgres").new_database()
    return sqlite_url(tmp_path)


@pytest.fixture
def elements(tmp_path):
    return files.ElementFiles(tmp_path / "elements", "key")


async def count(store, table):
    (row,) = await store._read(
        sqlalchemy.select(sqlalchemy.func.count().label("n")).select_from(table)
    )
    return row["n"]


# --- one chat -----------------------------------------------------------------------------------


def test_a_chat_comes_back_with_everything_that_was_in_it(url, elements):
    async def work(store):
        thread = await enter(store)
        await store.update_thread(thread, "first", tags=["Compare"], metadata={"k": {"a": [1]}})
        question = said(thread, modes={"selector": "topk"}, command="why", waitForAnswer=False)
        step = said(
            thread,
            "done",
            type="run",
            parentId=question["id"],
            input="in",
            showInput="json",
            streaming=False,
            isError=True,
            metadata={"icon": "x"},
            tags=["a", "b"],
            generation={"model": "gpt2", "settings": {"t": 0.5}},
            start="2026-01-01T00:00:00Z",
            end="2026-01-01T00:00:01Z",
            defaultOpen=True,
            autoCollapse=False,
            language="text",
        )
        for one in (question, step):
            await store.create_step(one)
        card = cl.CustomElement(name="CompareCard", props={"sides": [{"p": 0.25}]}, display="side")
        chart = cl.Text(name="chart", content='{"data": []}', language="json", mime="text/plain")
        video = cl.Video(
            name="v", content=b"\0\1", player_config={"file": {"a": 1}}, mime="video/x"
        )
        for element in (card, chart, video):
            element.for_id = step["id"]
            await store.create_element(element)
        thumb = cl.types.Feedback(forId=step["id"], value=1, comment="good", threadId=thread)
        thumb_id = await store.upsert_feedback(thumb)
        return (
            await store.get_thread(thread),
            await store.get_element(thread, card.id),
            (thread, question, step, card, chart, video, thumb_id),
        )

    found, found_card, (thread, question, step, card, chart, video, thumb_id) = use(
        url, elements, work
    )
    assert found["id"] == thread
    assert found["name"] == "first"
    assert found["userIdentifier"] == "anna"
    assert found["tags"] == ["Compare"]
    assert found["metadata"] == {"k": {"a": [1]}}
    assert [s["id"] for s in found["steps"]] == [question["id"], step["id"]]
    for kept, given in zip(found["steps"], (question, step), strict=True):
        assert {name: kept[name] for name in given} == given
    thumb = {"id": thumb_id, "forId": step["id"], "value": 1, "comment": "good"}
    assert [s["feedback"] for s in found["steps"]] == [None, thumb]
    assert found["elements"][0] == found_card
    for kept, given in zip(found["elements"], (card, chart, video), strict=True):
        same = given.to_dict().keys() - {"url", "objectKey", "chainlitKey"}
        assert {n: kept[n] for n in same & kept.keys()} == {
            n: given.to_dict()[n] for n in same & kept.keys()
        }
    assert [e["url"] is None for e in found["elements"]] == [True, False, False]
    assert get(elements, found["elements"][1]["url"]).text == chart.content
    assert get(elements, found["elements"][2]["url"]).content == video.content


def test_what_chainlit_writes_of_a_turn_can_be_read_back(url, elements):
    async def work(store):
        thread = await enter(store)
        async with cl.Step(name="on_message", type="run") as run:
            message = cl.Message(content="Both say spam.")
            message.created_at = chat_store.now()
            await store.create_step(run.to_dict())
            await store.create_step(message.to_dict())
            message.content = "They disagree."
            await store.update_step(message.to_dict())
        return (await store.get_thread(thread))["steps"], run.id

    steps, run = use(url, elements, work)
    assert [(s["type"], s["output"], s["parentId"]) for s in steps if s["parentId"]] == [
        ("assistant_message", "They disagree.", run)
    ]


def test_what_no_database_takes_is_kept_with_a_replacement(url, elements):
    async def work(store):
        thread = await enter(store)
        await store.update_thread(thread, name="a\0b", metadata={"x": "\0\ud800"})
        await store.create_step(said(thread, "a\0b\ud800c"))
        return await store.get_thread(thread)

    found = use(url, elements, work)
    assert found["name"] == "a\ufffdb"
    assert found["steps"][0]["output"] == "a\ufffdb?c"


def test_metadata_is_merged_and_none_removes(url, elements):
    async def work(store):
        thread = await enter(store)
        await store.update_thread(thread, metadata={"a": 1, "b": [2]})
        await store.update_thread(thread, metadata={"a": None, "c": 3})
        await store.update_thread(thread, name="n" * 500)
        return await store.get_thread(thread)

    found = use(url, elements, work)
    assert found["metadata"] == {"b": [2], "c": 3}
    assert len(found["name"]) == chat_store.MAX_NAME_CHARACTERS


def test_a_person_is_one_user_however_often_they_log_in(url, elements):
    async def work(store):
        assert await store.get_user("anna") is None
        first = await store.create_user(cl.User(identifier="anna", metadata={"a": 1}))
        second = await store.create_user(cl.User(identifier="anna", metadata={"a": [2]}))
        return first, second, await store.get_user("anna")

    first, second, found = use(url, elements, work)
    assert first.id == second.id == found.id
    assert found.metadata == {"a": [2]}
    assert found == second


def test_a_thumb_can_be_given_changed_and_taken_back(url, elements):
    async def work(store):
        thread = await enter(store)
        step = said(thread)
        await store.create_step(step)
        first = await store.upsert_feedback(cl.types.Feedback(forId=step["id"], value=1))
        again = await store.upsert_feedback(
            cl.types.Feedback(forId=step["id"], value=0, comment="no")
        )
        assert again == first
        (kept,) = (await store.get_thread(thread))["steps"]
        assert (kept["feedback"]["value"], kept["feedback"]["comment"]) == (0, "no")
        assert await store.delete_feedback(first)
        (kept,) = (await store.get_thread(thread))["steps"]
        assert kept["feedback"] is None
        with pytest.raises(TuneshotError, match="not kept"):
            await store.upsert_feedback(cl.types.Feedback(forId="nothing", value=1))

    use(url, elements, work)


@pytest.mark.parametrize("who", ["ben", None])
def test_nobody_gives_changes_or_takes_back_the_thumb_of_another(url, elements, who):
    async def work(store):
        thread = await enter(store)
        bare, liked = said(thread), said(thread)
        for step in (bare, liked):
            await store.create_step(step)
        thumb = await store.upsert_feedback(cl.types.Feedback(forId=liked["id"], value=1))
        before = await store.get_thread(thread)

        await enter(store, "ben")
        if who is None:
            contexts.context_var.set(None)
        for step in (bare, liked):
            for id in (None, thumb):
                with pytest.raises(TuneshotError, match="not kept among your chats"):
                    await store.upsert_feedback(
                        cl.types.Feedback(forId=step["id"], id=id, value=0, comment="ben's")
                    )
        assert not await store.delete_feedback(thumb)
        assert await store.get_thread(thread) == before

    use(url, elements, work)


# --- many chats ---------------------------------------------------------------------------------


def test_chats_are_listed_newest_first_page_by_page(url, elements):
    async def work(store):
        mine = [await enter(store) for _ in range(25)]
        for thread in mine:
            await store.update_thread(thread, name="mine")
        other = await enter(store, "ben")
        await store.update_thread(other, name="other")
        user = await store.get_user("anna")
        pages, cursor = [], None
        while True:
            page = await store.list_threads(
                cl.types.Pagination(first=10, cursor=cursor), cl.types.ThreadFilter(userId=user.id)
            )
            pages.append([thread["id"] for thread in page.data])
            cursor = page.pageInfo.endCursor
            if not page.pageInfo.hasNextPage:
                return mine, pages

    mine, pages = use(url, elements, work)
    assert [len(page) for page in pages] == [10, 10, 5]
    assert [id for page in pages for id in page] == mine[::-1]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("über", {"one"}),
        ("CASH", {"two"}),
        ("100%", {"two"}),
        ("1_0", set()),
        ("first", {"one"}),
        ("secret step", set()),
    ],
)
def test_search_looks_at_names_and_messages_and_takes_signs_as_they_are(
    url, elements, search, found
):
    async def work(store):
        for name, text in (("one first", "ÜBER allem"), ("two", "100% cash")):
            thread = await enter(store)
            await store.update_thread(thread, name=name)
            await store.create_step(said(thread, text))
            await store.create_step(said(thread, "secret step", type="run"))
        user = await store.get_user("anna")
        return await store.list_threads(
            cl.types.Pagination(first=10), cl.types.ThreadFilter(userId=user.id, search=search)
        )

    assert {t["name"].split()[0] for t in use(url, elements, work).data} == found


def test_chats_can_be_filtered_by_thumb(url, elements):
    async def work(store):
        threads = []
        for value in (0, 1):
            threads.append(await enter(store))
            step = said(threads[-1])
            await store.create_step(step)
            await store.upsert_feedback(cl.types.Feedback(forId=step["id"], value=value))
        user = await store.get_user("anna")
        for value in (0, 1):
            page = await store.list_threads(
                cl.types.Pagination(first=10), cl.types.ThreadFilter(userId=user.id, feedback=value)
            )
            assert [t["id"] for t in page.data] == [threads[value]]

    use(url, elements, work)


def test_deleting_a_chat_deletes_everything_and_no_late_write_brings_it_back(url, elements):
    async def work(store):
        thread = await enter(store)
        step = said(thread)
        await store.create_step(step)
        await store.upsert_feedback(cl.types.Feedback(forId=step["id"], value=1))
        chart = cl.Text(name="chart", content="{}")
        chart.for_id = step["id"]
        await store.create_element(chart)
        assert len(files_of(elements)) == 1
        await store.delete_thread(thread)
        await store.create_step(said(thread))
        await store.create_element(chart)
        await store.update_thread(thread, metadata={"late": True})
        assert await store.get_thread(thread) is None
        assert await store.get_thread_author(thread) == ""
        return [
            await count(store, table)
            for table in (schema.threads, schema.steps, schema.elements, schema.feedbacks)
        ]

    assert use(url, elements, work) == [0, 0, 0, 0]
    assert files_of(elements) == []


def test_deleting_a_message_or_an_element_deletes_its_file(url, elements):
    async def work(store):
        thread = await enter(store)
        step = said(thread)
        await store.create_step(step)
        charts = [cl.Text(name="chart", content="{}") for _ in range(2)]
        for chart in charts:
            chart.for_id = step["id"]
            await store.create_element(chart)
        await store.delete_element(charts[0].id, thread)
        assert len(files_of(elements)) == 1
        await store.delete_step(step["id"])
        found = await store.get_thread(thread)
        return found["steps"], found["elements"]

    assert use(url, elements, work) == ([], [])
    assert files_of(elements) == []


def test_nobody_writes_into_the_chat_of_another(url, elements):
    async def work(store):
        thread = await enter(store)
        step = said(thread, "mine")
        await store.create_step(step)
        card = cl.CustomElement(name="CompareCard", props={"mine": True})
        card.for_id = step["id"]
        await store.create_element(card)

        bens = await enter(store, "ben")
        await store.create_step(said(bens, "not mine", id=step["id"]))
        await store.create_step(said(thread, "not mine"))  # a page that was open before hers
        await store.update_thread(thread, name="not mine", metadata={"not": "mine"})
        for target in (thread, bens):  # the browser chooses all three ids
            forged = cl.CustomElement(
                id=card.id, for_id=step["id"], thread_id=target, name="CompareCard", props={}
            )
            await store.create_element(forged)
        await store.delete_element(card.id, thread)
        await store.delete_step(step["id"])
        ben = await store.get_user("ben")
        await store.update_thread(thread, user_id=ben.id)

        found = await store.get_thread(thread)
        assert found["userIdentifier"] == "anna"
        assert (found["name"], found["metadata"]) == (None, None)
        assert [s["output"] for s in found["steps"]] == ["mine"]
        return [e["props"] for e in found["elements"]]

    assert use(url, elements, work) == [{"mine": True}]


def test_a_chat_without_an_owner_is_not_kept(url, elements, caplog):
    async def work(store):
        contexts.init_http_context(thread_id="t")
        await store.create_step(said("t"))
        return await count(store, schema.threads), await count(store, schema.steps)

    assert use(url, elements, work) == (0, 0)
    assert "part of a chat is not kept" in caplog.text


# --- when things go wrong -----------------------------------------------------------------------


def test_two_servers_share_one_database(url, elements):
    async def work(store):
        other = chat_store.ChatStore(url, elements)
        thread = await enter(store)
        await asyncio.gather(
            *(layer.create_step(said(thread)) for _ in range(40) for layer in (store, other))
        )
        found = len((await other.get_thread(thread))["steps"])
        await other.close()
        return found

    assert use(url, elements, work) == 80


def test_tables_of_a_newer_version_are_refused_in_one_line(url, elements):
    async def work(store):
        async with store._writer.begin() as connection:
            await connection.execute(
                sqlalchemy.insert(schema.version).values(version=schema.VERSION + 1)
            )

    use(url, elements, work)
    with pytest.raises(TuneshotError, match="newer version") as refused:
        chat_store.ChatStore(url, elements)
    assert "\n" not in str(refused.value)


def test_a_lock_that_is_released_costs_nothing_but_time(tmp_path, elements):
    async def work(store):
        thread = await enter(store)
        with lock(tmp_path):
            writing = [asyncio.create_task(store.create_step(said(thread, f"{n}"))) for n in "123"]
            reading = await store.get_user("anna")
            await asyncio.sleep(0.3)
        await asyncio.gather(*writing)
        assert reading.identifier == "anna"
        return [step["output"] for step in (await store.get_thread(thread))["steps"]]

    assert use(sqlite_url(tmp_path), elements, work) == ["1", "2", "3"]


def test_a_lock_that_stays_is_one_line_for_each_write_and_soon_over(
    tmp_path, elements, monkeypatch, caplog
):
    monkeypatch.setattr("icl.chat.store.chat_store.WRITE_RETRY_SECONDS", 0.3)

    async def work(store):
        thread = await enter(store)
        with lock(tmp_path):
            start = time.monotonic()
            await asyncio.gather(*(store.create_step(said(thread)) for _ in range(5)))
            took = time.monotonic() - start
        await store.create_step(said(thread, "afterwards"))
        return took, (await store.get_thread(thread))["steps"]

    took, (step,) = use(sqlite_url(tmp_path), elements, work)
    assert step["output"] == "afterwards"
    assert took < 2
    lines = [r.getMessage() for r in caplog.records if r.name == "tuneshot"]
    assert lines == ["part of a chat is not kept (create_step): database is locked"] * 5


@pytest.mark.slow
def test_a_restarted_postgresql_is_found_again(postgres, elements, monkeypatch, caplog):
    monkeypatch.setattr("icl.chat.store.chat_store.WRITE_RETRY_SECONDS", 0.5)

    async def work(store):
        thread = await enter(store)
        await store.create_step(said(thread, "before"))
        postgres.stop()
        await store.create_step(said(thread, "lost"))
        assert caplog.text.count("part of a chat is not kept") == 1
        monkeypatch.setattr("icl.chat.store.chat_store.WRITE_RETRY_SECONDS", 20)
        late = asyncio.create_task(store.create_step(said(thread, "late")))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(postgres.start)
        await late
        return [step["output"] for step in (await store.get_thread(thread))["steps"]]

    assert use(postgres.new_database(), elements, work) == ["before", "late"]


WRITER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from icl.chat.store.files import ElementFiles
from tests.support.stored_chats import enter, said, sqlite_url, use

async def work(store):
    thread = await enter(store, thread="t")
    while True:
        step = said(thread)
        await store.create_step(step)
        print(step["id"], flush=True)

use(sqlite_url(Path({folder!r})), ElementFiles(Path({folder!r}), "key"), work)
"""


@pytest.mark.slow
def test_what_was_written_before_kill_9_is_there_afterwards(tmp_path, elements):
    code = WRITER.format(tests=str(PROJECT), folder=str(tmp_path))
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    written = [writer.stdout.readline().strip() for _ in range(200)]
    writer.send_signal(signal.SIGKILL)
    written += [line.strip() for line in writer.stdout if line.endswith("\n")]
    writer.wait(20)

    found = use(sqlite_url(tmp_path), elements, lambda store: store.get_thread("t"))
    assert set(written) <= {step["id"] for step in found["steps"]}
    with contextlib.closing(sqlite3.connect(tmp_path / "chat.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@contextlib.contextmanager
def lock(folder):
    with contextlib.closing(sqlite3.connect(folder / "chat.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


# --- where --------------------------------------------------------------------------------------


def test_only_the_owner_may_look_into_the_database(tmp_path, elements):
    async def work(store):
        await enter(store)

    use(sqlite_url(tmp_path), elements, work)
    for path in (elements.folder, *tmp_path.glob("chat.db*")):
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("given", ["mysql://a:hunter22@b/c", "hunter22", "postgres://a:hunter22@b"])
def test_an_address_of_something_else_is_refused_without_its_password(monkeypatch, tmp_path, given):
    monkeypatch.setenv("TUNESHOT_DATABASE_URL", given)
    with pytest.raises(TuneshotError, match="postgresql://") as refused:
        database.database_url(tmp_path)
    assert "hunter22" not in str(refused.value)


def test_a_database_that_is_not_there_is_one_line_without_its_password(tmp_path):
    url = sqlalchemy.URL.create(
        "postgresql+asyncpg", "a", "hunter22", database="b", query={"host": str(tmp_path)}
    )
    with pytest.raises(TuneshotError, match="cannot use the database") as refused:
        database.create_tables(url)
    assert "hunter22" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_database_is_one_line(tmp_path):
    (tmp_path / "chat.db").write_text("no database " * 100)
    with pytest.raises(TuneshotError, match="not a database"):
        database.create_tables(sqlite_url(tmp_path))


def test_without_a_login_nothing_is_stored(monkeypatch, tmp_path):
    for name in ("TUNESHOT_CODES", "TUNESHOT_CODES_FILE", "TUNESHOT_AUTH_HEADER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TUNESHOT_DATA", str(tmp_path / "data"))
    storage.data_layer.cache_clear()
    assert storage.data_layer() is None
    assert not (tmp_path / "data").exists()
    storage.data_layer.cache_clear()


# --- files --------------------------------------------------------------------------------------


def get(elements, address, visitor="anna"):
    async def serve(request):
        return await elements.serve(request, visitor)

    app = Starlette(routes=[Route(files.ROUTE + "/{key:path}", serve)])
    return TestClient(app).get(address)


def files_of(elements):
    return [path for path in elements.folder.rglob("*") if path.is_file()]


def test_a_link_gives_its_file_and_lets_nothing_in_it_run(elements):
    key = elements.write("thread", "element", b"<script>alert(1)</script>")
    answer = get(elements, elements.link(key, "text/html", "anna"))
    assert answer.content == b"<script>alert(1)</script>"
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["mime", "until", "signature"])
def test_a_changed_link_gives_nothing(elements, name):
    link = elements.link(elements.write("thread", "element", b"x"), "text/plain", "anna")
    path, query = link.split("?")
    changed = dict(urllib.parse.parse_qsl(query)) | {name: "99999999999"}
    assert get(elements, f"{path}?{urllib.parse.urlencode(changed)}").status_code == 404
    del changed[name]
    assert get(elements, f"{path}?{urllib.parse.urlencode(changed)}").status_code == 404


def test_a_link_is_good_for_one_file_one_key_and_one_person(elements, tmp_path):
    link = elements.link(elements.write("thread", "one", b"x"), "text/plain", "anna")
    other = elements.write("thread", "two", b"y")
    assert get(elements, f"{files.ROUTE}/{other}?{link.split('?')[1]}").status_code == 404
    elsewhere = files.ElementFiles(elements.folder, "another key")
    assert get(elsewhere, link).status_code == 404
    assert get(elements, link, visitor="ben").status_code == 404
    assert get(elements, link).status_code == 200


def test_an_old_link_says_so(elements, monkeypatch):
    monkeypatch.setattr("icl.chat.store.files.LINK_LIFETIME_SECONDS", -1)
    answer = get(
        elements, elements.link(elements.write("thread", "one", b"x"), "text/plain", "anna")
    )
    assert answer.status_code == 403
    assert "reload" in answer.text


@pytest.mark.parametrize("id", ["../../secret", "/etc/passwd", "a/b", "..", "", "\0", "\ud800"])
def test_no_id_leads_out_of_the_folder(elements, id):
    key = elements.write(id, id, b"x")
    (path,) = files_of(elements)
    assert path.resolve().is_relative_to(elements.folder.resolve())
    assert get(elements, elements.link(key, None, "anna")).content == b"x"


def test_even_a_signed_way_out_of_the_folder_is_closed(elements, tmp_path):
    (tmp_path / "secret").write_text("x")
    elements.write("thread", "one", b"x")
    for key in ("../secret", "..%2Fsecret", str(tmp_path / "secret")):
        assert get(elements, elements.link(key, "text/plain", "anna")).status_code == 404


# --- the whole way, through a server ------------------------------------------------------------


@pytest.mark.slow
def test_a_chat_survives_the_death_of_the_server(url, tmp_path):
    place = {}
    if url.drivername != "sqlite+aiosqlite":
        place["TUNESHOT_DATABASE_URL"] = url.set(drivername="postgresql").render_as_string()
    port = free_port()
    anna, ben = (Visitor(f"http://127.0.0.1:{port}") for _ in range(2))

    with page_that_dies(tmp_path, port, **place):
        login = {"username": "anna", "password": "wrong horse"}
        assert anna.ask("/login", "POST", login)[0] == 401
        assert anna.ask("/login", "POST", login | {"password": "correct horse"})[0] == 200
        assert (
            ben.ask("/login", "POST", {"username": "ben", "password": "battery staple"})[0] == 200
        )
        seen = asyncio.run(anna.chat("win cash"))
        thread = dict(seen)["first_interaction"]["thread_id"]
        time.sleep(0.3)  # written, though nobody waits for it
        status, listed = anna.ask("/project/threads", "POST", pagination={"first": 5}, filter={})
        assert status == 200
        assert [t["name"] for t in json.loads(listed)["data"]] == ["win cash"]
        _, kept = anna.ask(f"/project/thread/{thread}")
        (run,) = [s["id"] for s in json.loads(kept)["steps"] if s["type"] == "run"]
        thumb = {"forId": run, "threadId": thread, "value": 1, "comment": "yes"}
        assert anna.ask("/feedback", "PUT", feedback=thumb, sessionId="none")[0] == 200
        assert ben.ask(f"/project/thread/{thread}")[0] == 401
        assert anna.ask(f"/project/thread/{uuid.uuid4()}")[0] == 404
        asyncio.run(anna.chat("die", thread))
    with page_that_dies(tmp_path, port, **place):
        events = dict(asyncio.run(anna.chat(thread=thread)))  # with the same cookie
        assert events["toast"]["message"] == "8"
        resumed = events["resume_thread"]
        texts = [s["output"] for s in resumed["steps"] if "message" in s["type"]]
        assert texts == ["win cash", "Both say spam.", "die"]
        thumbs = [s["feedback"]["comment"] for s in resumed["steps"] if s["feedback"]]
        assert thumbs == ["yes"]
        card, chart = sorted(resumed["elements"], key=lambda e: e["type"])
        assert card["props"] == {"said": "win cash"}
        assert anna.ask(chart["url"]) == (200, "chart of win cash")
        assert ben.ask("/project/thread", "DELETE", threadId=thread)[0] == 401
        assert anna.ask("/project/thread", "DELETE", threadId=thread)[0] == 200
        assert anna.ask(chart["url"])[0] == 404
    assert "Traceback" not in (tmp_path / "log").read_text()
