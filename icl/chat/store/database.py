"""The database that chats are kept in: where it is, how to connect, how it is made ready.

On SQLite ``synchronous`` is NORMAL: in write-ahead mode a turn that was written survives
``kill -9``; after a power cut the last seconds may be missing, and the file is sound. FULL would
wait for the disk at every step of a turn.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from clfcore.errors import TuneshotError
from icl.chat.store.schema import prepare

CONNECT_TIMEOUT_SECONDS = 5.0


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
            url, pool_pre_ping=True, connect_args={"timeout": CONNECT_TIMEOUT_SECONDS}
        )
    engine = create_async_engine(url)

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


def create_tables(url: URL) -> None:
    """Makes the database ready, whether or not an event loop is running.

    Raises:
        TuneshotError: it cannot be used, or a newer version made it.
    """

    async def run() -> None:
        engine = open_engine(url)
        try:
            async with engine.execution_options(writes=True).begin() as connection:
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
        raise TuneshotError(
            f"cannot use the database {url.render_as_string()} ({reason(error)}); "
            "check TUNESHOT_DATA and TUNESHOT_DATABASE_URL"
        ) from error


def reason(error: Exception) -> str:
    """What the database said, in one line."""
    text = str(getattr(error, "orig", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__
