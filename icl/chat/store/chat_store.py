"""Chats in a database, as Chainlit reads and writes them.

A data layer of our own: Chainlit 2.12.0's for SQL loses lists, dictionaries and newer columns on
SQLite, reads all chats to list them, and lets an id that the browser chose overwrite another
person's rows.

Chainlit does not wait for its writes, so a failed one is a line in the log, and the visitor gets
the answer all the same; at the end of the turn the page says that something is missing. Writes take
turns, in the order in which they were asked for.
"""

import asyncio
import functools
import logging
import os
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import chainlit as cl
from chainlit.context import context_var
from chainlit.data.base import BaseDataLayer
from chainlit.data.utils import queue_until_user_message
from chainlit.element import Element, ElementDict
from chainlit.step import StepDict
from chainlit.types import (
    Feedback,
    PageInfo,
    PaginatedResponse,
    Pagination,
    ThreadDict,
    ThreadFilter,
)
from chainlit.user import PersistedUser, User
from sqlalchemy import (
    URL,
    Select,
    Table,
    delete,
    select,
    update,
)
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from clfcore.errors import TuneshotError
from icl.chat.store.database import create_tables, open_engine, reason
from icl.chat.store.files import ElementFiles
from icl.chat.store.schema import elements, feedbacks, steps, threads, users
from icl.chat.store.statements import (
    INSERTS,
    new_thread,
    own_steps,
    threads_page,
    threads_with_owner,
    upsert_row,
    upsert_thumb,
)

log = logging.getLogger("tuneshot")

WRITE_RETRY_SECONDS = 5.0  # that a write waits for a locked or a restarting database
MAX_NAME_CHARACTERS = 200  # of a chat's name, which is its first message
MAX_THREADS_PER_PAGE = 100

P = ParamSpec("P")
T = TypeVar("T")

# Waiting does not help against these; a locked, full or restarting database may recover.
PERMANENT_ERRORS = (IntegrityError, DataError, ProgrammingError)


incomplete_threads: set[str] = set()  # whose visitors have not been told yet


def log_failure(
    write: Callable[P, Coroutine[Any, Any, None]],
) -> Callable[P, Coroutine[Any, Any, None]]:
    """Wraps a write that Chainlit does not wait for: its failure is a line in the log."""

    @functools.wraps(write)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            await write(*args, **kwargs)
        except (SQLAlchemyError, OSError, TuneshotError) as error:
            log.warning("part of a chat is not kept (%s): %s", write.__name__, reason(error))
            if context := context_var.get(None):
                incomplete_threads.add(context.session.thread_id)

    return guarded


# --- the data layer -----------------------------------------------------------------------------


class ChatStore(BaseDataLayer):  # type: ignore[misc]  # Chainlit is not typed
    """Chats in SQLite or PostgreSQL. Creates its tables.

    Args:
        url: of an asynchronous driver.
        files: where the elements' files go.

    Raises:
        TuneshotError: as ``create_tables``.
    """

    def __init__(self, url: URL, files: ElementFiles) -> None:
        create_tables(url)
        self.files = files
        self.engine = open_engine(url)
        self._writer = self.engine.execution_options(writes=True)
        self._insert = INSERTS[url.get_backend_name()]
        self._turn = asyncio.Lock()
        # A late write must not bring a deleted chat back.
        self._deleted: deque[str] = deque(maxlen=1_000)

    async def close(self) -> None:
        await self.engine.dispose()

    async def build_debug_url(self) -> str:
        return ""

    async def _read(self, query: Select[Any]) -> list[dict[str, Any]]:
        async with self.engine.connect() as connection:
            return [row._asdict() for row in await connection.execute(query)]

    async def _write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Runs ``work`` in a transaction, again and again while the database is busy."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + WRITE_RETRY_SECONDS
        async with self._turn:
            while True:
                try:
                    async with self._writer.begin() as connection:
                        return await work(connection)
                except PERMANENT_ERRORS:
                    raise
                except (DBAPIError, OSError):
                    if loop.time() > give_up:
                        raise
                await asyncio.sleep(0.05)

    # --- people ---------------------------------------------------------------------------------

    async def get_user(self, identifier: str) -> PersistedUser | None:
        rows = await self._read(select(users).where(users.c.identifier == identifier))
        return PersistedUser(**rows[0]) if rows else None

    async def create_user(self, user: User) -> PersistedUser:
        query = self._insert(users).values(
            id=str(uuid.uuid4()),
            identifier=user.identifier,
            metadata=user.metadata,
            createdAt=now(),
        )
        query = query.on_conflict_do_update(
            index_elements=["identifier"], set_={"metadata": query.excluded.metadata}
        ).returning(users)

        async def work(connection: AsyncConnection) -> PersistedUser:
            return PersistedUser(**(await connection.execute(query)).one()._asdict())

        return await self._write(work)

    # --- threads --------------------------------------------------------------------------------

    async def _own_thread(
        self, connection: AsyncConnection, id: str, user_id: str | None = None
    ) -> None:
        """The thread exists afterwards if its owner is known; an owner never changes.

        Raises:
            TuneshotError: it is another person's.
        """
        column, visitor = ("id", user_id) if user_id else ("identifier", _visitor())
        owner = select(users.c[column]).join(threads).where(threads.c.id == id)
        found = await connection.scalar(owner)
        if found is None:
            query = new_thread(self._insert, column)
            await connection.execute(query, {"thread": id, "now": now(), "owner": visitor})
            found = await connection.scalar(owner)
        if visitor and found not in (None, visitor):
            raise TuneshotError("this chat is another person's")

    @log_failure
    async def update_thread(
        self,
        thread_id: str,
        name: str | None = None,
        user_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        tags: list[str] | None = None,
    ) -> None:
        """Changes what is given. A key of ``metadata`` that is ``None`` is removed."""

        async def work(connection: AsyncConnection) -> None:
            await self._own_thread(connection, thread_id, user_id)
            changes: dict[str, Any] = {"name": name and name[:MAX_NAME_CHARACTERS], "tags": tags}
            if metadata is not None:
                old = select(threads.c.metadata).where(threads.c.id == thread_id)
                merged = (await connection.scalar(old.with_for_update()) or {}) | metadata
                changes["metadata"] = {k: v for k, v in merged.items() if v is not None}
            changes = {column: value for column, value in changes.items() if value is not None}
            if changes:
                await connection.execute(
                    update(threads).where(threads.c.id == thread_id).values(changes)
                )

        if thread_id not in self._deleted:
            await self._write(work)

    async def delete_thread(self, thread_id: str) -> None:
        """Deletes a thread, all that belongs to it, and its files."""
        self._deleted.append(thread_id)
        query = delete(threads).where(threads.c.id == thread_id)
        await self._write(lambda connection: connection.execute(query))
        await asyncio.to_thread(self.files.delete, thread_id)

    async def get_thread_author(self, thread_id: str) -> str:
        rows = await self._read(threads_with_owner().where(threads.c.id == thread_id))
        return str(rows[0]["userIdentifier"]) if rows else ""

    async def list_threads(
        self, pagination: Pagination, filters: ThreadFilter
    ) -> PaginatedResponse[ThreadDict]:
        """A page of a user's threads, newest first, without what was said in them."""
        size = min(max(pagination.first, 1), MAX_THREADS_PER_PAGE)
        rows = await self._read(threads_page(pagination, filters, size + 1))
        page = [ThreadDict(**row, steps=[], elements=[]) for row in rows[:size]]
        return PaginatedResponse(
            pageInfo=PageInfo(
                hasNextPage=len(rows) > size,
                startCursor=page[0]["id"] if page else None,
                endCursor=page[-1]["id"] if page else None,
            ),
            data=page,
        )

    async def get_thread(self, thread_id: str) -> ThreadDict | None:
        """A thread with everything that was said and shown in it, oldest first."""
        rows = await self._read(threads_with_owner().where(threads.c.id == thread_id))
        if not rows:
            return None
        messages = await self._read(
            select(steps).where(steps.c.threadId == thread_id).order_by(steps.c.createdAt)
        )
        thumbs = select(feedbacks).join(steps).where(steps.c.threadId == thread_id)
        thumb_of = {thumb["forId"]: thumb for thumb in await self._read(thumbs)}
        shown = await self._read(
            select(elements).where(elements.c.threadId == thread_id).order_by(elements.c.createdAt)
        )
        return ThreadDict(
            **rows[0],
            steps=[StepDict(**step, feedback=thumb_of.get(step["id"])) for step in messages],
            elements=[self._element(row, rows[0]["userIdentifier"]) for row in shown],
        )

    # --- steps ----------------------------------------------------------------------------------

    @queue_until_user_message()
    @log_failure
    async def create_step(self, step_dict: StepDict) -> None:
        await self._keep(steps, {c.name: step_dict[c.name] for c in steps.c if c.name in step_dict})

    update_step = create_step  # and so in one queue before the first message

    @queue_until_user_message()
    @log_failure
    async def delete_step(self, step_id: str) -> None:
        """Deletes a step of the open thread, and what hangs on it."""
        thread_id = cl.context.session.thread_id

        async def work(connection: AsyncConnection) -> list[str]:
            gone = delete(elements).where(
                elements.c.threadId == thread_id, elements.c.forId == step_id
            )
            await connection.execute(
                delete(steps).where(steps.c.threadId == thread_id, steps.c.id == step_id)
            )
            return list(await connection.scalars(gone.returning(elements.c.id)))

        for element_id in await self._write(work):
            await asyncio.to_thread(self.files.delete, thread_id, element_id)

    async def get_favorite_steps(self, user_id: str) -> list[StepDict]:
        """None: favourites are switched off."""
        return []

    async def _keep(self, table: Table, row: dict[str, Any]) -> None:
        """Inserts or replaces a step or an element, within its own thread only."""

        async def work(connection: AsyncConnection) -> None:
            await self._own_thread(connection, row["threadId"])
            await connection.execute(upsert_row(self._insert, table, frozenset(row)), row)

        if row["threadId"] not in self._deleted:
            await self._write(work)

    # --- thumbs ---------------------------------------------------------------------------------

    async def upsert_feedback(self, feedback: Feedback) -> str:
        """A thumb for a step in a thread of the visitor's; it has at most one.

        Raises:
            TuneshotError: there is no such step, or it is another person's.
        """
        values = {
            "thumb": str(uuid.uuid4()),
            "step": feedback.forId,
            "visitor": _visitor(),
            "value": int(feedback.value),
            "comment": feedback.comment,
        }
        query = upsert_thumb(self._insert)
        id = await self._write(lambda connection: connection.scalar(query, values))
        if id is None:
            raise TuneshotError("this answer is not kept among your chats, so its thumb cannot be")
        return str(id)

    async def delete_feedback(self, feedback_id: str) -> bool:
        """Takes a thumb in a thread of the visitor's back; whether there was one."""
        query = delete(feedbacks).where(
            feedbacks.c.id == feedback_id,
            feedbacks.c.forId.in_(own_steps(_visitor(), steps.c.id)),
        )
        return bool((await self._write(lambda connection: connection.execute(query))).rowcount)

    # --- elements -------------------------------------------------------------------------------

    @queue_until_user_message()
    @log_failure
    async def create_element(self, element: Element) -> None:
        """Keeps an element of the open thread. What only has an address is not fetched."""
        thread_id = cl.context.session.thread_id
        if not element.for_id or element.thread_id != thread_id or thread_id in self._deleted:
            return
        row = {c.name: element.to_dict().get(c.name) for c in elements.c}
        row |= {"createdAt": now(), "objectKey": None}
        is_file = element.type != "custom"  # else its content is its properties
        content = await asyncio.to_thread(_content, element) if is_file else None
        if content is not None:
            row["objectKey"] = await asyncio.to_thread(
                self.files.write, thread_id, element.id, content
            )
        await self._keep(elements, row)

    async def get_element(self, thread_id: str, element_id: str) -> ElementDict | None:
        rows = await self._read(
            select(elements).where(elements.c.threadId == thread_id, elements.c.id == element_id)
        )
        return self._element(rows[0], await self.get_thread_author(thread_id)) if rows else None

    @queue_until_user_message()
    @log_failure
    async def delete_element(self, element_id: str, thread_id: str | None = None) -> None:
        """Deletes an element of the open thread; the browser may have named another one."""
        open_thread = cl.context.session.thread_id
        query = delete(elements).where(
            elements.c.threadId == open_thread, elements.c.id == element_id
        )
        await self._write(lambda connection: connection.execute(query))
        await asyncio.to_thread(self.files.delete, open_thread, element_id)

    def _element(self, row: dict[str, Any], owner: str) -> ElementDict:
        if row["objectKey"]:
            link = self.files.link(row["objectKey"], row["mime"], owner)
            row |= {"url": os.environ.get("CHAINLIT_ROOT_PATH", "") + link}
        return ElementDict(**{name: row[name] for name in row if name != "createdAt"})


def _content(element: Element) -> bytes | None:
    if element.path:
        return Path(element.path).read_bytes()
    return element.content.encode() if isinstance(element.content, str) else element.content


def _visitor() -> str | None:
    """The name of the open session's user."""
    context = context_var.get(None)
    return getattr(context and context.session.user, "identifier", None)


def now() -> str:
    """As Chainlit writes time, but always of one length, so that text sorts by it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
