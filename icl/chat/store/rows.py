"""Rows of the store: what is written, and how it reads back."""

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from chainlit.context import context_var
from chainlit.element import Element
from sqlalchemy import (
    BindParameter,
    Select,
    Table,
    Text,
    bindparam,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError

from icl.chat.store.schema import threads, users

P = ParamSpec("P")
T = TypeVar("T")
Rows = list[dict[str, Any]]

# Waiting does not help against these; a locked, full or restarting database may recover.
_FINAL = (IntegrityError, DataError, ProgrammingError)
# Inserts that know ON CONFLICT; each dialect has its own, with no type in common.
InsertOf = Callable[[Table], Any]
_INSERT: dict[str, InsertOf] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


# --- statements ---------------------------------------------------------------------------------
# Made once: to build one takes longer than to run it.


@functools.cache
def _new_thread(insert: InsertOf, owner: str) -> Any:  # noqa: ANN401
    """Parameters: ``thread``, ``now``, and ``owner``, which is in this column of users."""
    row = select(_text("thread"), users.c.id, _text("now")).where(users.c[owner] == _text("owner"))
    query = insert(threads).from_select(["id", "userId", "createdAt"], row)
    return query.on_conflict_do_nothing()


@functools.cache
def _keep_row(insert: InsertOf, table: Table, names: frozenset[str]) -> Any:  # noqa: ANN401
    """Parameters: ``names``, of columns."""
    query = insert(table)
    return query.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: query.excluded[name] for name in names - {"threadId", "createdAt"}},
        where=table.c.threadId == query.excluded.threadId,
    )


def _text(name: str) -> BindParameter[str]:
    return bindparam(name, type_=Text)


def _threads() -> Select[Any]:
    return select(threads, users.c.identifier.label("userIdentifier")).join(users)


def _rows(found: Any) -> Rows:  # noqa: ANN401
    return [dict(row._mapping) for row in found]


def _content(element: Element) -> bytes | None:
    if element.path:
        return Path(element.path).read_bytes()
    content = element.content
    return content.encode() if isinstance(content, str) else content


def _visitor() -> str | None:
    """Who the open session belongs to."""
    context = context_var.get(None)
    return getattr(context and context.session.user, "identifier", None)


def _now() -> str:
    """As Chainlit writes time, but always of one length, so that text sorts by it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
