"""What was paid for once, in money or in time, and is asked for by a key."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from clfcore.cache.checksums import remove
from clfcore.cache.place import alone_with, say_damaged, say_not_kept

Json = dict[str, Any]
Rows = list[tuple[Any, ...]]

# The files of the cache that are databases.
ANSWERS, PRIORS = "answers.sqlite", "priors.sqlite"
DATABASES = (ANSWERS, PRIORS)

# Faults of the place, or another program's; any other says that the file is not what was written.
_NO_DAMAGE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


class DiskCache:
    """JSON objects by key, in one SQLite file that threads and processes may share.

    They do not expire: delete the file to ask again. Each has a checksum; a damaged one is removed,
    and a damaged file is emptied: what was in it is asked for again, and a line on stderr says so.
    Of a file that cannot be used nothing is remembered, and a line says that.

    Args:
        path: the file.
        most: how many objects are kept, the newest; 0: all.
    """

    def __init__(self, path: Path, most: int = 0) -> None:
        self._path, self._most = path, most

    def get(self, key: str) -> Json | None:
        """The object stored under ``key``, or ``None``."""
        rows = self._run("SELECT answer FROM answers WHERE key = ?", key)
        if not rows:
            return None
        try:
            return _opened(key, rows[0][0])
        except ValueError:
            say_damaged(self._path)
            self._run("DELETE FROM answers WHERE key = ?", key)
            return None

    def put(self, key: str, value: Json) -> None:
        """Stores ``value``."""
        self._run("INSERT OR REPLACE INTO answers VALUES (?, ?)", key, _sealed(key, value))
        if self._most:
            self._run(
                "DELETE FROM answers WHERE rowid <= (SELECT max(rowid) FROM answers) - ?",
                str(self._most),
            )

    def check(self) -> tuple[int, int, bool]:
        """Reads every page and every object, and removes what is damaged.

        Returns:
            How many objects there are, how many of them are damaged, and whether these could be
            removed; of a file that is no database, 0 and 1.

        Raises:
            OSError, sqlite3.Error: it cannot be read.
        """
        can_write = os.access(self._path, os.W_OK) and os.access(self._path.parent, os.W_OK)
        read = self._execute if can_write else self._look
        with alone_with(self._path):
            try:
                if not self._is_there() or read("PRAGMA quick_check(1)") != [(b"ok",)]:
                    raise _DamagedError
                rows = read("SELECT rowid, key, answer FROM answers")
            except _DamagedError:
                self._remove()
                return 0, 1, not os.path.lexists(self._path)
            damaged = [str(rowid) for rowid, *row in rows if not _is_whole(*row)]
            for rowid in damaged if can_write else []:
                self._execute("DELETE FROM answers WHERE rowid = ?", rowid)
            return len(rows), len(damaged), can_write

    def _run(self, statement: str, *values: str) -> Rows:
        try:
            if self._is_there():
                with suppress(_DamagedError):
                    return self._execute(statement, *values)
            with alone_with(self._path):  # only one process makes it
                if self._is_there():  # another one has made or mended it meanwhile
                    with suppress(_DamagedError):
                        return self._execute(statement, *values)
                if os.path.lexists(self._path):
                    say_damaged(self._path)
                    self._remove()
                return self._execute(statement, *values)
        except (OSError, sqlite3.Error) as error:
            say_not_kept(error)
            with suppress(OSError, sqlite3.Error):
                return self._look(statement, *values)
            return []

    def _is_there(self) -> bool:
        return self._path.is_file() and self._path.stat().st_size > 0

    def _remove(self) -> None:
        for ending in ("-wal", "-shm", "-journal", ""):
            remove(Path(f"{self._path}{ending}"))

    def _execute(self, statement: str, *values: str) -> Rows:
        with (
            _damage_told(self._path),
            closing(sqlite3.connect(self._path, timeout=30)) as connection,
        ):
            connection.text_factory = bytes
            with connection:
                with suppress(sqlite3.OperationalError):  # another process is switching it
                    connection.execute("PRAGMA journal_mode=WAL")  # readers wait for no writer
                connection.execute("CREATE TABLE IF NOT EXISTS answers (key PRIMARY KEY, answer)")
                return connection.execute(statement, values).fetchall()

    def _look(self, statement: str, *values: str) -> Rows:
        """What is read where nothing can be written, not even beside the file."""
        place = f"{self._path.absolute().as_uri()}?mode=ro&immutable=1"
        with (
            _damage_told(self._path),
            closing(sqlite3.connect(place, uri=True)) as connection,
        ):
            connection.text_factory = bytes
            return connection.execute(statement, values).fetchall()


class _DamagedError(sqlite3.Error):
    """The file is not what was written."""


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """Tells damage from the faults of the place."""
    try:
        yield
    except UnicodeError as error:  # in the message of an error
        raise _DamagedError(str(error)) from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
        if code in _NO_DAMAGE and not (code == sqlite3.SQLITE_READONLY and writable):
            raise
        raise _DamagedError(*error.args) from error


# --- a checksum for each object -------------------------------------------------------------------


def _sealed(key: str, value: Json) -> str:
    text = json.dumps(value)
    return f"{_sum(key.encode(), text.encode())} {text}"


def _opened(key: str, stored: bytes) -> Json:
    """What was stored; earlier versions stored no checksum.

    Raises:
        ValueError: it is damaged.
    """
    if not isinstance(stored, bytes):
        raise ValueError("not a text")
    text = stored
    if not stored.startswith(b"{"):
        noted, _, text = stored.partition(b" ")
        if noted.decode("ascii", "replace") != _sum(key.encode(), text):
            raise ValueError("not what was stored")
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _is_whole(key: bytes, stored: bytes) -> bool:
    try:
        _opened(key.decode(), stored)
    except (ValueError, AttributeError):
        return False
    return True


def _sum(key: bytes, text: bytes) -> str:
    return hashlib.sha256(key + b"\0" + text).hexdigest()
