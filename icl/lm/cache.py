"""What was paid for once, in money or in time, kept on disk where that is possible."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from clfcore.paths import say_not_kept

Json = dict[str, Any]


class DiskCache:
    """JSON objects by key, in one SQLite file that threads and processes may share.

    They do not expire: delete the file to ask again. A damaged file is emptied. Of a file that
    cannot be used nothing is remembered, and a line on stderr says so.

    Args:
        path: the file.
        most: how many objects are kept, the newest; 0: all.
    """

    def __init__(self, path: Path, most: int = 0) -> None:
        self._path, self._most = path, most

    def get(self, key: str) -> Json | None:
        """The object stored under ``key``, or ``None``."""
        row = self._run("SELECT answer FROM answers WHERE key = ?", key)
        try:
            return json.loads(row[0]) if row else None
        except ValueError:
            return None

    def put(self, key: str, value: Json) -> None:
        """Stores ``value``."""
        self._run("INSERT OR REPLACE INTO answers VALUES (?, ?)", key, json.dumps(value))
        if self._most:
            self._run(
                "DELETE FROM answers WHERE rowid <= (SELECT max(rowid) FROM answers) - ?",
                str(self._most),
            )

    def _run(self, statement: str, *values: str) -> tuple[str] | None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                return self._execute(statement, values)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:  # the file is damaged
                with FileLock(f"{self._path}.lock"):  # only one process empties it
                    return self._execute_after_emptying(statement, values)
        except (OSError, sqlite3.Error) as error:
            say_not_kept(error)
            return None

    def _execute_after_emptying(self, statement: str, values: Sequence[str]) -> tuple[str] | None:
        with suppress(sqlite3.DatabaseError):  # another process may have emptied it meanwhile
            return self._execute(statement, values)
        for ending in ("-wal", "-shm", ""):
            Path(f"{self._path}{ending}").unlink(missing_ok=True)
        return self._execute(statement, values)

    def _execute(self, statement: str, values: Sequence[str]) -> tuple[str] | None:
        with closing(sqlite3.connect(self._path, timeout=30)) as connection, connection:
            with suppress(sqlite3.OperationalError):  # another process is switching it
                connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for writers
            connection.execute("CREATE TABLE IF NOT EXISTS answers (key PRIMARY KEY, answer)")
            return connection.execute(statement, values).fetchone()
