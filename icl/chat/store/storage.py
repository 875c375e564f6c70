"""Keeps the chats of people who are logged in; without a login, nothing.

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
from typing import Any

import chainlit as cl
import chainlit.server as server
from chainlit.context import context_var
from chainlit.data.base import BaseDataLayer
from chainlit.data.utils import queue_until_user_message
from chainlit.element import Element, ElementDict
from chainlit.session import WebsocketSession
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
    exists,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.routing import Route

from clfcore.errors import TuneshotError
from icl.chat.language import say
from icl.chat.store.database import create_tables, database_url, open_engine, reason
from icl.chat.store.files import ROUTE, ElementFiles
from icl.chat.store.rows import (
    _FINAL,
    _INSERT,
    P,
    Rows,
    T,
    _content,
    _keep_row,
    _new_thread,
    _now,
    _rows,
    _threads,
    _visitor,
)
from icl.chat.store.schema import elements, feedbacks, steps, threads, users
from icl.session.data_folder import data_dir, secret
from icl.session.login_codes import login_configured

log = logging.getLogger("tuneshot")

PATIENCE = 5.0  # seconds that a write waits for a locked or a restarting database
MAX_NAME = 200  # characters of a chat's name, which is its first message
MAX_PAGE = 100


def install() -> None:
    """Tells Chainlit where to keep chats, and serves their files.

    Raises:
        TuneshotError: as ``data_layer``.
    """
    layer = data_layer()  # now: the start is where a database that cannot be used is noticed
    cl.data_layer(data_layer)
    if layer is not None:  # before Chainlit's last route, which takes every address
        route = Route(ROUTE + "/{key:path}", layer.files.serve)
        server.app.router.routes.insert(0, route)


@functools.cache
def data_layer() -> "ChatStore | None":
    """What keeps chats, or ``None`` without a login.

    Raises:
        TuneshotError: the login is set up wrongly; the data directory or the database cannot be
            used, or a newer version made it.
    """
    if not login_configured():
        return None
    folder = data_dir()
    files = ElementFiles(folder / "elements", secret("files"))
    return ChatStore(database_url(folder), files)


async def save_session() -> None:
    """Keeps what the open session knows, for ``on_chat_resume``: profile, settings, and what is
    JSON of ``cl.user_session``. Chainlit does so when a visitor leaves, not when the server dies.

    As it is the last write of a turn, the turn is stored afterwards, or the page says it is not.
    """
    layer, session = data_layer(), cl.context.session
    if layer is not None and isinstance(session, WebsocketSession):
        await layer.update_thread(session.thread_id, metadata=session.to_persistable())
        if session.thread_id in _incomplete:
            _incomplete.remove(session.thread_id)
            await cl.context.emitter.send_toast(say(NOT_KEPT), "warning")


NOT_KEPT = "Part of this chat could not be kept; it will be missing when you come back."
_incomplete: set[str] = set()  # threads whose visitor has not been told yet


def or_one_line(
    write: Callable[P, Coroutine[Any, Any, None]],
) -> Callable[P, Coroutine[Any, Any, None]]:
    """Wraps a write that nobody waits for: its failure is a line in the log."""

    @functools.wraps(write)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            await write(*args, **kwargs)
        except (SQLAlchemyError, OSError, TuneshotError) as error:
            log.warning("part of a chat is not kept (%s): %s", write.__name__, reason(error))
            if context := context_var.get(None):
                _incomplete.add(context.session.thread_id)

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
        self._insert = _INSERT[url.get_backend_name()]
        self._turn = asyncio.Lock()
        # A late write must not bring a deleted chat back.
        self._deleted: deque[str] = deque(maxlen=1_000)

    async def close(self) -> None:
        await self.engine.dispose()

    async def build_debug_url(self) -> str:
        return ""

    async def _read(self, query: Select[Any]) -> Rows:
        async with self.engine.connect() as connection:
            return _rows((await connection.execute(query)).all())

    async def _write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Runs ``work`` in a transaction, again and again while the database is busy."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + PATIENCE
        async with self._turn:
            while True:
                try:
                    async with self._writer.begin() as connection:
                        return await work(connection)
                except _FINAL:
                    raise
                except (DBAPIError, OSError):
                    if loop.time() > give_up:
                        raise
                await asyncio.sleep(0.05)

    # --- people ---------------------------------------------------------------------------------

    async def get_user(self, identifier: str) -> PersistedUser | None:
        found = await self._read(select(users).where(users.c.identifier == identifier))
        return PersistedUser(**found[0]) if found else None

    async def create_user(self, user: User) -> PersistedUser:
        query = self._insert(users).values(
            id=str(uuid.uuid4()),
            identifier=user.identifier,
            metadata=user.metadata,
            createdAt=_now(),
        )
        query = query.on_conflict_do_update(
            index_elements=["identifier"], set_={"metadata": query.excluded.metadata}
        ).returning(users)

        async def work(connection: AsyncConnection) -> PersistedUser:
            return PersistedUser(**_rows((await connection.execute(query)).all())[0])

        return await self._write(work)

    # --- threads --------------------------------------------------------------------------------

    async def _ensure_thread(
        self, connection: AsyncConnection, id: str, user_id: str | None = None
    ) -> None:
        """The thread exists afterwards if its owner is known; an owner never changes."""
        query = _new_thread(self._insert, "id" if user_id else "identifier")
        values = {"thread": id, "now": _now(), "owner": user_id or _visitor()}
        await connection.execute(query, values)

    @or_one_line
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
            await self._ensure_thread(connection, thread_id, user_id)
            changes: dict[str, Any] = {}
            if name is not None:
                changes["name"] = name[:MAX_NAME]
            if tags is not None:
                changes["tags"] = tags
            if metadata is not None:
                old = select(threads.c.metadata).where(threads.c.id == thread_id)
                merged = (await connection.scalar(old.with_for_update()) or {}) | metadata
                changes["metadata"] = {k: v for k, v in merged.items() if v is not None}
            if changes:
                await connection.execute(
                    update(threads).where(threads.c.id == thread_id).values(changes)
                )

        if thread_id not in self._deleted:
            await self._write(work)

    async def delete_thread(self, thread_id: str) -> None:
        """Deletes a thread, all that belongs to it, and its files."""

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(delete(threads).where(threads.c.id == thread_id))

        self._deleted.append(thread_id)
        await self._write(work)
        await asyncio.to_thread(self.files.delete, thread_id)

    async def get_thread_author(self, thread_id: str) -> str:
        found = await self._read(_threads().where(threads.c.id == thread_id))
        return str(found[0]["userIdentifier"]) if found else ""

    async def list_threads(
        self, pagination: Pagination, filters: ThreadFilter
    ) -> PaginatedResponse[ThreadDict]:
        """A page of a user's threads, newest first, without what was said in them."""
        query = _threads().where(threads.c.userId == filters.userId)
        if filters.search:
            said = exists().where(
                steps.c.threadId == threads.c.id,
                steps.c.type.in_(("user_message", "assistant_message")),
                steps.c.output.icontains(filters.search, autoescape=True),
            )
            query = query.where(
                or_(said, threads.c.name.icontains(filters.search, autoescape=True))
            )
        if filters.feedback is not None:
            query = query.where(
                exists().where(
                    steps.c.threadId == threads.c.id,
                    feedbacks.c.forId == steps.c.id,
                    feedbacks.c.value == int(filters.feedback),
                )
            )
        if pagination.cursor:
            last = select(threads.c.createdAt).where(threads.c.id == pagination.cursor)
            place = tuple_(last.scalar_subquery(), literal(pagination.cursor))
            query = query.where(tuple_(threads.c.createdAt, threads.c.id) < place)
        size = min(max(pagination.first, 1), MAX_PAGE)
        newest_first = (threads.c.createdAt.desc(), threads.c.id.desc())
        found = await self._read(query.order_by(*newest_first).limit(size + 1))
        page = [ThreadDict(**row, steps=[], elements=[]) for row in found[:size]]
        return PaginatedResponse(
            pageInfo=PageInfo(
                hasNextPage=len(found) > size,
                startCursor=page[0]["id"] if page else None,
                endCursor=page[-1]["id"] if page else None,
            ),
            data=page,
        )

    async def get_thread(self, thread_id: str) -> ThreadDict | None:
        """A thread with everything that was said and shown in it, oldest first."""
        found = await self._read(_threads().where(threads.c.id == thread_id))
        if not found:
            return None
        said = await self._read(
            select(steps).where(steps.c.threadId == thread_id).order_by(steps.c.createdAt)
        )
        thumbs = await self._read(
            select(feedbacks).join(steps).where(steps.c.threadId == thread_id)
        )
        shown = await self._read(
            select(elements).where(elements.c.threadId == thread_id).order_by(elements.c.createdAt)
        )
        thumb_of = {thumb["forId"]: thumb for thumb in thumbs}
        return ThreadDict(
            **found[0],
            steps=[StepDict(**step, feedback=thumb_of.get(step["id"])) for step in said],
            elements=[self._element(row) for row in shown],
        )

    # --- steps ----------------------------------------------------------------------------------

    @queue_until_user_message()
    @or_one_line
    async def create_step(self, step_dict: StepDict) -> None:
        await self._keep(steps, {c.name: step_dict[c.name] for c in steps.c if c.name in step_dict})

    update_step = create_step  # and so in one queue before the first message

    @queue_until_user_message()
    @or_one_line
    async def delete_step(self, step_id: str) -> None:
        """Deletes a step of the open thread, and what hangs on it."""
        thread_id = cl.context.session.thread_id

        async def work(connection: AsyncConnection) -> list[str]:
            gone = delete(elements).where(
                elements.c.threadId == thread_id, elements.c.forId == step_id
            )
            shown = (await connection.scalars(gone.returning(elements.c.id))).all()
            await connection.execute(
                delete(steps).where(steps.c.threadId == thread_id, steps.c.id == step_id)
            )
            return list(shown)

        for element_id in await self._write(work):
            await asyncio.to_thread(self.files.delete, thread_id, element_id)

    async def get_favorite_steps(self, user_id: str) -> list[StepDict]:
        """None: favourites are switched off."""
        return []

    async def _keep(self, table: Table, row: dict[str, Any]) -> None:
        """Inserts or replaces a step or an element, within its own thread only."""
        query = _keep_row(self._insert, table, frozenset(row))

        async def work(connection: AsyncConnection) -> None:
            await self._ensure_thread(connection, row["threadId"])
            await connection.execute(query, row)

        if row["threadId"] not in self._deleted:
            await self._write(work)

    # --- thumbs ---------------------------------------------------------------------------------

    async def upsert_feedback(self, feedback: Feedback) -> str:
        """A thumb for a step; it has at most one."""
        query = self._insert(feedbacks).values(
            id=feedback.id or str(uuid.uuid4()),
            forId=feedback.forId,
            value=int(feedback.value),
            comment=feedback.comment,
        )
        query = query.on_conflict_do_update(
            index_elements=["forId"],
            set_={"value": query.excluded.value, "comment": query.excluded.comment},
        ).returning(feedbacks.c.id)

        async def work(connection: AsyncConnection) -> str:
            return str(await connection.scalar(query))

        try:
            return await self._write(work)
        except IntegrityError as error:
            raise TuneshotError("this answer is not kept, so its thumb cannot be") from error

    async def delete_feedback(self, feedback_id: str) -> bool:
        async def work(connection: AsyncConnection) -> bool:
            query = delete(feedbacks).where(feedbacks.c.id == feedback_id)
            return bool((await connection.execute(query)).rowcount)

        return await self._write(work)

    # --- elements -------------------------------------------------------------------------------

    @queue_until_user_message()
    @or_one_line
    async def create_element(self, element: Element) -> None:
        """Keeps an element of the open thread. What only has an address is not fetched."""
        thread_id = cl.context.session.thread_id
        if not element.for_id or element.thread_id != thread_id or thread_id in self._deleted:
            return
        row = {c.name: element.to_dict().get(c.name) for c in elements.c}
        row |= {"createdAt": _now(), "objectKey": None}
        if element.type != "custom":  # whose content is its properties
            content = await asyncio.to_thread(_content, element)
            if content is not None:
                row["objectKey"] = await asyncio.to_thread(
                    self.files.write, thread_id, element.id, content
                )
        await self._keep(elements, row)

    async def get_element(self, thread_id: str, element_id: str) -> ElementDict | None:
        found = await self._read(
            select(elements).where(elements.c.threadId == thread_id, elements.c.id == element_id)
        )
        return self._element(found[0]) if found else None

    @queue_until_user_message()
    @or_one_line
    async def delete_element(self, element_id: str, thread_id: str | None = None) -> None:
        """Deletes an element of the open thread; the browser may have named another one."""
        open_thread = cl.context.session.thread_id

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(
                delete(elements).where(
                    elements.c.threadId == open_thread, elements.c.id == element_id
                )
            )

        await self._write(work)
        await asyncio.to_thread(self.files.delete, open_thread, element_id)

    def _element(self, row: dict[str, Any]) -> ElementDict:
        if row["objectKey"]:
            link = self.files.link(row["objectKey"], row["mime"])
            row |= {"url": os.environ.get("CHAINLIT_ROOT_PATH", "") + link}
        return ElementDict(**{name: row[name] for name in row if name != "createdAt"})
