"""The store of chats, used as one process would, also in a process of its own."""

import asyncio
import uuid

from tests.support.lazy import lazy

cl = lazy("chainlit")
contexts = lazy("chainlit.context")
chat_store = lazy("icl.chat.store.chat_store")
sqlalchemy = lazy("sqlalchemy")


def sqlite_url(folder):
    return sqlalchemy.URL.create("sqlite+aiosqlite", database=str(folder / "chat.db"))


def use(url, elements, work):
    """Runs ``work(store)`` as one process would, and closes the store."""

    async def run():
        store = chat_store.ChatStore(url, elements)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


async def enter(store, name="anna", thread=None):
    """``name`` opens a chat; returns its thread id."""
    user = await store.create_user(cl.User(identifier=name, metadata={"group": [1, 2]}))
    thread = thread or str(uuid.uuid4())
    contexts.init_http_context(thread_id=thread, user=user)
    return thread


def said(thread, text="win cash", **fields):
    return {
        "id": str(uuid.uuid4()),
        "threadId": thread,
        "type": "user_message",
        "name": "anna",
        "output": text,
        "createdAt": chat_store.now(),
        **fields,
    }
