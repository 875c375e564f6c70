"""A database that is damaged, and what is in it that no answer could carry."""

import json
import random
import sqlite3

import pytest

from clfcore.errors import TuneshotError
from icl.chat.store.database import create_tables, read_json
from tests.support.lazy import lazy

sqlalchemy = lazy("sqlalchemy")
PAGE = 4096  # bytes of the file that SQLite checks by itself


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The bytes of a database with 300 chats."""
    path = tmp_path_factory.mktemp("sound") / "chat.db"
    create_tables(url_of(path))
    with sqlite3.connect(path) as database:
        database.execute("insert into tuneshot_users values ('u', 'anna', '{}', 'now')")
        database.executemany(
            "insert into tuneshot_threads (id, userId, createdAt, name) values (?, 'u', 'now', ?)",
            [(f"chat {number}", "a name " * 30) for number in range(300)],
        )
    database.execute("pragma wal_checkpoint(truncate)")
    database.close()
    return path.read_bytes()


def url_of(path):
    return sqlalchemy.URL.create("sqlite+aiosqlite", database=str(path))


def damaged(raw, kind):
    rng = random.Random(kind)
    match kind:
        case "text":
            return b"this is a letter" * 400
        case "cut":
            return raw[: len(raw) // 2]
        case "zeros":
            return bytes(len(raw))
    start = PAGE * rng.randrange(1, len(raw) // PAGE)
    return raw[:start] + rng.randbytes(PAGE) + raw[start + PAGE :]


@pytest.mark.parametrize("kind", ["text", "cut", "zeros", *range(8)])
def test_a_damaged_database_is_refused_in_one_line_and_stays_as_it_is(kind, sound, tmp_path):
    path = tmp_path / "chat.db"
    path.write_bytes(damaged(sound, kind))
    with pytest.raises(TuneshotError) as refused:
        create_tables(url_of(path))
    line = str(refused.value)
    assert "\n" not in line
    assert f"the database {path} is damaged" in line
    assert "move it and the files beside it (chat.db-wal, chat.db-shm)" in line
    assert path.read_bytes() == damaged(sound, kind)


def test_a_sound_one_and_an_empty_one_are_opened(sound, tmp_path):
    for raw in (sound, b""):
        (tmp_path / "chat.db").write_bytes(raw)
        create_tables(url_of(tmp_path / "chat.db"))


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ({"said": "half \ud83d a pair"}, {"said": "half ? a pair"}),
        ({"\udc00": ["\ud83d\ude00", 1, None]}, {"?": ["\U0001f600", 1, None]}),
        ({"path": "C:\\ud800"}, {"path": "C:\\ud800"}),
    ],
)
def test_half_a_surrogate_pair_that_was_stored_does_not_break_reading_it(stored, read):
    value = read_json(json.dumps(stored))
    assert value == read
    assert json.dumps(value, ensure_ascii=False).encode()
