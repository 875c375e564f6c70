"""SQL statements of the store, for SQLite and PostgreSQL.

Those of every write are built once: to build one takes longer than to run it.
"""

import functools
from collections.abc import Callable
from typing import Any

from chainlit.types import Pagination, ThreadFilter
from sqlalchemy import (
    BindParameter,
    Integer,
    Select,
    Table,
    Text,
    bindparam,
    exists,
    literal,
    or_,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite

from icl.chat.store.schema import SafeText, feedbacks, steps, threads, users

# Inserts that know ON CONFLICT; each dialect has its own, with no type in common.
Insert = Callable[[Table], Any]
INSERTS: dict[str, Insert] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@functools.cache
def new_thread(insert: Insert, owner_column: str) -> Any:  # noqa: ANN401
    """Inserts a thread whose owner is known, if it is new.

    Parameters: ``thread``, ``now``, and ``owner``, which is in this column of users.
    """
    is_owner = users.c[owner_column] == _text("owner")
    row = select(_text("thread"), users.c.id, _text("now")).where(is_owner)
    query = insert(threads).from_select(["id", "userId", "createdAt"], row)
    return query.on_conflict_do_nothing()


@functools.cache
def upsert_row(insert: Insert, table: Table, names: frozenset[str]) -> Any:  # noqa: ANN401
    """Inserts or replaces a row of a thread. Parameters: ``names``, of columns."""
    query = insert(table)
    return query.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: query.excluded[name] for name in names - {"threadId", "createdAt"}},
        where=table.c.threadId == query.excluded.threadId,
    )


@functools.cache
def upsert_thumb(insert: Insert) -> Any:  # noqa: ANN401
    """Inserts or replaces the thumb of a step in a visitor's own thread; returns its id, if any.

    Parameters: ``thumb``, its id if it is new; ``step``, ``visitor``, ``value``, ``comment``.
    """
    value, comment = bindparam("value", type_=Integer), bindparam("comment", type_=SafeText)
    row = own_steps(_text("visitor"), _text("thumb"), steps.c.id, value, comment)
    query = insert(feedbacks).from_select(
        ["id", "forId", "value", "comment"], row.where(steps.c.id == _text("step"))
    )
    return query.on_conflict_do_update(
        index_elements=["forId"],
        set_={"value": query.excluded.value, "comment": query.excluded.comment},
    ).returning(feedbacks.c.id)


def own_steps(visitor: object, *columns: Any) -> Select[Any]:  # noqa: ANN401
    """The steps of all threads of a visitor."""
    joined = steps.join(threads).join(users)
    return select(*columns).select_from(joined).where(users.c.identifier == visitor)


def _text(name: str) -> BindParameter[str]:
    return bindparam(name, type_=Text)


def threads_with_owner() -> Select[Any]:
    """All threads, each with the name of its owner."""
    return select(threads, users.c.identifier.label("userIdentifier")).join(users)


def threads_page(pagination: Pagination, filters: ThreadFilter, limit: int) -> Select[Any]:
    """A user's threads that pass the filters, after the cursor, newest first."""
    query = threads_with_owner().where(threads.c.userId == filters.userId)
    if filters.search:
        in_a_message = exists().where(
            steps.c.threadId == threads.c.id,
            steps.c.type.in_(("user_message", "assistant_message")),
            steps.c.output.icontains(filters.search, autoescape=True),
        )
        in_the_name = threads.c.name.icontains(filters.search, autoescape=True)
        query = query.where(or_(in_a_message, in_the_name))
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
    return query.order_by(threads.c.createdAt.desc(), threads.c.id.desc()).limit(limit)
