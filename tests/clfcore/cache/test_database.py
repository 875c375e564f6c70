"""Objects by key in an SQLite file: shared, bounded, and mended."""

import multiprocessing
import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clfcore.cache.database import DiskCache


def test_a_damaged_answer_is_none(tmp_path):
    cache = DiskCache(tmp_path / "answers.sqlite")
    cache.put("key", {"text": "spam"})
    assert cache.get("key") == {"text": "spam"}
    with sqlite3.connect(tmp_path / "answers.sqlite") as connection:
        connection.execute("UPDATE answers SET answer = '{'")
    assert cache.get("key") is None


def test_what_an_earlier_version_stored_is_taken_as_it_is(tmp_path, capfd):
    with sqlite3.connect(tmp_path / "answers.sqlite") as connection:
        connection.execute("CREATE TABLE answers (key PRIMARY KEY, answer)")
        connection.execute("INSERT INTO answers VALUES ('key', '{\"text\": \"spam\"}')")
    assert DiskCache(tmp_path / "answers.sqlite").get("key") == {"text": "spam"}
    assert capfd.readouterr().err == ""


@settings(max_examples=20)
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_any_byte_may_be_another_one(where, mask):
    """What is read is what was stored, or nothing; then it can be stored and read again."""
    with tempfile.TemporaryDirectory() as folder:
        cache, path = DiskCache(Path(folder, "some.sqlite")), Path(folder, "some.sqlite")
        stored = {str(i): {"log_prior": {"ham": -i / 7, "spam": -0.5}} for i in range(3)}
        for key, value in stored.items():
            cache.put(key, value)
        damaged = bytearray(path.read_bytes())
        damaged[int(where * len(damaged))] ^= mask
        path.write_bytes(damaged)
        for key, value in stored.items():
            assert cache.get(key) in (value, None)
        cache.put("new", {"log_prior": {}})
        assert cache.get("new") == {"log_prior": {}}


def test_a_bounded_cache_keeps_the_newest(tmp_path):
    cache = DiskCache(tmp_path / "some.sqlite", most=3)
    for number in (1, 2, 3, 1, 4):  # what is stored again is new
        cache.put(str(number), {"number": number})
    assert [cache.get(str(number)) for number in (1, 2, 3, 4)] == [
        {"number": 1}, None, {"number": 3}, {"number": 4},
    ]  # fmt: skip


def _put_many(path, writer):
    for i in range(20):
        DiskCache(path).put(f"{writer}-{i}", {"text": str(i)})


@pytest.mark.parametrize("damaged", [False, True])
def test_processes_share_the_cache_and_lose_nothing(tmp_path, damaged):
    path = tmp_path / "answers.sqlite"
    if damaged:
        path.write_bytes(b"not a database " * 1000)
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=_put_many, args=(path, writer)) for writer in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
        assert writer.exitcode == 0
    with sqlite3.connect(path) as connection:
        keys = {key for (key,) in connection.execute("SELECT key FROM answers")}
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert keys == {f"{writer}-{i}" for writer in range(3) for i in range(20)}
    assert all(DiskCache(path).get(key)["text"] == key.partition("-")[2] for key in keys)
