"""The tables that chats are kept in: one definition for SQLite and PostgreSQL.

Columns are named as Chainlit names the fields of its dictionaries, so a row is one. Deleting a
user deletes the threads, a thread its steps and elements, a step its feedback.
"""

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    func,
    insert,
    select,
    text,
)

from clfcore.errors import TuneshotError
from clfcore.types import without_lone_surrogates

VERSION = 1


class SafeText(TypeDecorator[str]):
    """Text as people send it: what no database takes becomes U+FFFD instead of an error."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return without_lone_surrogates(value.replace("\0", "\ufffd"))


# JSON escapes both kinds of such characters; None is no value at all.
_json = JSON(none_as_null=True)
_tables = MetaData()

# The prefix lets a PostgreSQL database be shared with other programs.
version = Table("tuneshot_version", _tables, Column("version", Integer, nullable=False))

users = Table(
    "tuneshot_users",
    _tables,
    Column("id", Text, primary_key=True),
    Column("identifier", SafeText, nullable=False, unique=True),
    Column("metadata", _json, nullable=False),
    Column("createdAt", Text, nullable=False),
)

threads = Table(
    "tuneshot_threads",
    _tables,
    Column("id", SafeText, primary_key=True),
    Column("userId", ForeignKey(users.c.id, ondelete="CASCADE"), nullable=False),
    Column("createdAt", Text, nullable=False),
    Column("name", SafeText),
    Column("tags", _json),
    Column("metadata", _json),
    Index("tuneshot_threads_of_user", "userId", "createdAt"),
)

steps = Table(
    "tuneshot_steps",
    _tables,
    Column("id", SafeText, primary_key=True),
    Column("threadId", ForeignKey(threads.c.id, ondelete="CASCADE"), nullable=False),
    Column("parentId", SafeText),
    Column("name", SafeText),
    Column("type", SafeText),
    Column("command", SafeText),
    Column("modes", _json),
    Column("streaming", Boolean),
    Column("waitForAnswer", Boolean),
    Column("isError", Boolean),
    Column("metadata", _json),
    Column("tags", _json),
    Column("input", SafeText),
    Column("output", SafeText),
    Column("createdAt", Text),
    Column("start", Text),
    Column("end", Text),
    Column("generation", _json),
    Column("showInput", _json),  # a language or a truth value
    Column("defaultOpen", Boolean),
    Column("autoCollapse", Boolean),
    Column("language", SafeText),
    Index("tuneshot_steps_of_thread", "threadId", "createdAt"),
)

# The browser may choose an element's id, so it is only unique within a thread.
elements = Table(
    "tuneshot_elements",
    _tables,
    Column("threadId", ForeignKey(threads.c.id, ondelete="CASCADE"), primary_key=True),
    Column("id", SafeText, primary_key=True),
    Column("createdAt", Text, nullable=False),
    Column("forId", SafeText),
    Column("type", SafeText),
    Column("name", SafeText),
    Column("display", SafeText),
    Column("url", SafeText),
    Column("objectKey", Text),
    Column("mime", SafeText),
    Column("size", SafeText),
    Column("page", Integer),
    Column("language", SafeText),
    Column("props", _json),
    Column("autoPlay", Boolean),
    Column("playerConfig", _json),
)

feedbacks = Table(
    "tuneshot_feedbacks",
    _tables,
    Column("id", SafeText, primary_key=True),
    Column("forId", ForeignKey(steps.c.id, ondelete="CASCADE"), nullable=False, unique=True),
    Column("value", Integer, nullable=False),
    Column("comment", SafeText),
)


def prepare(connection: Connection) -> None:
    """Creates what is missing. Run it within a transaction during which nothing else writes.

    Raises:
        TuneshotError: a newer version of this program has made the tables.
    """
    if connection.dialect.name == "postgresql":  # two servers may start at once
        connection.execute(text("SELECT pg_advisory_xact_lock(815001)"))
    _tables.create_all(connection, tables=[version])
    stored = connection.scalar(select(func.max(version.c.version)))
    if stored is not None and stored > VERSION:
        raise TuneshotError(
            "the chats were stored by a newer version "
            f"(tables {stored}, this one knows {VERSION}); "
            "update Tuneshot, or set TUNESHOT_DATA or TUNESHOT_DATABASE_URL to another place"
        )
    _tables.create_all(connection)
    if stored is None:
        connection.execute(insert(version).values(version=VERSION))
