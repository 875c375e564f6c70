"""The database that chats are kept in: where it is, how to connect, how it is made ready.

On SQLite ``synchronous`` is NORMAL: in write-ahead mode a turn that was written survives
``kill -9``; after a power cut the last seconds may be missing, and the file is sound. FULL would
wait for the disk at every step of a turn.
"""

import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from clfcore.errors import TuneshotError
from clfcore.types import without_lone_surrogates
from icl.chat.store.schema import prepare

CONNECT_TIMEOUT_SECONDS = 5.0
# In what SQLite says.
DAMAGED = ("malformed", "not a database")
NO_ROOM = ("disk is full", "readonly database", "read-only", "disk I/O error", "unable to open")


class CannotStoreError(TuneshotError):
    """The database's disk is full or may not be written: a start without it makes sense."""


def database_url(folder: Path) -> URL:
    """``$TUNESHOT_DATABASE_URL``, or the file chat.db in ``folder``.

    Raises:
        TuneshotError: it is no address of a PostgreSQL database.
    """
    if not (address := os.environ.get("TUNESHOT_DATABASE_URL")):
        return URL.create("sqlite+aiosqlite", database=str(folder / "chat.db"))
    try:
        url = make_url(address)
    except ArgumentError:
        url = None
    if url is None or url.drivername != "postgresql":  # the value may hold a password
        raise TuneshotError(
            "TUNESHOT_DATABASE_URL is not the address of a PostgreSQL database; write "
            "postgresql://user:password@host/database, or unset it to keep chats in a file"
        )
    return url.set(drivername="postgresql+asyncpg")


def open_engine(url: URL) -> AsyncEngine:
    """Connections to ``url``; nothing is opened yet."""
    if url.get_backend_name() == "postgresql":
        return create_async_engine(
            url,
            pool_pre_ping=True,
            connect_args={"timeout": CONNECT_TIMEOUT_SECONDS},
            json_deserializer=read_json,
        )
    engine = create_async_engine(url, json_deserializer=read_json)

    @event.listens_for(engine.sync_engine, "connect")
    def set_up(connection: Any, _: object) -> None:  # noqa: ANN401  the driver's, untyped
        connection.isolation_level = None  # we say when a transaction begins, see below
        connection.create_function("lower", 1, _lower)  # its own knows ASCII only
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "busy_timeout=50",
            "foreign_keys=ON",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads and then wants to write would fail at once if another wrote.
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def read_json(text: str) -> Any:  # noqa: ANN401  any JSON
    """A value of a JSON column, without halves of surrogate pairs: no answer could carry them.

    JSON writes them as escapes, so they come into the database, and chats of earlier versions have
    some.
    """
    value = json.loads(text)
    return _with_whole_characters(value) if "\\ud" in text.lower() else value


def _with_whole_characters(value: Any) -> Any:  # noqa: ANN401  any JSON
    match value:
        case str():
            return without_lone_surrogates(value)
        case list():
            return [_with_whole_characters(each) for each in value]
        case dict():
            return {
                without_lone_surrogates(key): _with_whole_characters(each)
                for key, each in value.items()
            }
    return value


def create_tables(url: URL) -> None:
    """Makes the database ready, whether or not an event loop is running.

    Raises:
        CannotStoreError: its disk is full, or may not be written.
        TuneshotError: it is damaged, cannot be used, or a newer version made it.
    """

    async def run() -> None:
        engine = open_engine(url)
        try:
            async with engine.execution_options(writes=True).begin() as connection:
                if url.get_backend_name() == "sqlite":
                    found = await connection.exec_driver_sql("PRAGMA quick_check(1)")
                    if (problem := str(found.scalar())) != "ok":
                        raise _damaged(url, problem)
                await connection.run_sync(prepare)
        finally:
            await engine.dispose()

    try:
        if url.get_backend_name() == "sqlite":
            Path(url.database or "").touch(mode=0o600)
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, run()).result()
    except TuneshotError:
        raise
    except Exception as error:  # drivers raise their own kinds while connecting
        if any(words in str(error) for words in DAMAGED):
            raise _damaged(url, reason(error)) from error
        no_room = isinstance(error, OSError) or any(words in str(error) for words in NO_ROOM)
        own_file = url.get_backend_name() == "sqlite"
        raise (CannotStoreError if own_file and no_room else TuneshotError)(
            f"cannot use the database {url.render_as_string()} ({reason(error)}); "
            "check TUNESHOT_DATA and TUNESHOT_DATABASE_URL"
        ) from error


def _damaged(url: URL, problem: str) -> TuneshotError:
    name = Path(url.database or "").name
    return TuneshotError(
        f"the database {url.database} is damaged ({' '.join(problem.split())}) and was left as it "
        f"is; move it and the files beside it ({name}-wal, {name}-shm) to another folder, then put "
        "a backup in its place or start with an empty one"
    )


def reason(error: Exception) -> str:
    """What the database said, in one line."""
    text = str(getattr(error, "orig", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__
