"""A page whose data folder lies on a disk that is full, or read-only, at the start: a real one."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from clfcore.errors import TuneshotError
from icl.session.login_codes import cookie_key
from tests.support.disks import fill, make_read_only, small_disk
from tests.support.pages import free_port
from tests.support.signed_in import OpenPage, Visitor, page_of_a_class

NO_LOGIN = {"TUNESHOT_CODES": ""}


def lines(folder):
    said = (folder / "log").read_text().splitlines()
    return [line for line in said if not line.startswith("Tuneshot: http")]


def put_log_into_database(path):
    """What was written ahead leaves room for some turns more, even on a full disk."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def answers_of(url):
    """What a visitor is answered who signs in, and says two things."""
    anna = Visitor(url)
    assert anna.sign_in("anna") == 200

    async def run():
        page = await OpenPage(anna).open()
        return [*await page.say("win cash"), *await page.say("see you")]

    return asyncio.run(run())


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [fill, make_read_only], ids=["full", "read-only"])
def test_where_chats_cannot_be_kept_any_more_the_page_starts_says_so_and_answers(tmp_path, spoil):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with small_disk(tmp_path / "data"):
        with page_of_a_class(tmp_path, port):
            assert answers_of(url) == ["Both say spam.", "Both say not spam."]
        put_log_into_database(tmp_path / "data" / "chat.db")
        spoil(tmp_path / "data")
        (tmp_path / "log").unlink()
        with page_of_a_class(tmp_path, port):
            assert answers_of(url) == ["Both say spam.", "Both say not spam."]
        (line,) = lines(tmp_path)
        assert "no chats are kept until the next start: cannot use the database" in line


@pytest.mark.parametrize("spoil", [fill, make_read_only], ids=["full", "read-only"])
def test_where_not_even_a_secret_can_be_kept_one_line_refuses_the_start(
    tmp_path, spoil, monkeypatch
):
    monkeypatch.delenv("CHAINLIT_AUTH_SECRET", raising=False)
    monkeypatch.setenv("TUNESHOT_DATA", str(tmp_path / "data"))
    with small_disk(tmp_path / "data"):
        spoil(tmp_path / "data")
        with pytest.raises(
            TuneshotError, match="set TUNESHOT_DATA to a folder that can be written"
        ):
            cookie_key()
        assert not (tmp_path / "data" / "secret").exists()


@pytest.mark.slow
def test_without_a_login_nothing_is_to_be_kept_and_nothing_is_said(tmp_path):
    with small_disk(tmp_path / "data"):
        fill(tmp_path / "data")
        with page_of_a_class(tmp_path, free_port(), **NO_LOGIN):
            assert lines(tmp_path) == []
