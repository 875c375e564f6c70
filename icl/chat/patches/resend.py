"""What a page may have missed while it was not connected is sent again when it is back.

Chainlit 2.12.0 sends to whatever socket a page had last. Where a network blinks, what is said
meanwhile never arrives; neither does what follows, as an answer without the line it belongs to is
not drawn. It happens at the start, too: a page whose settings come slowly connects twice, and the
first message may be sent between the two.
"""

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from chainlit.context import init_ws_context
from chainlit.server import sio
from chainlit.session import WebsocketSession

MAX_EVENTS = 1000  # kept for one page; the oldest are dropped

# Event -> for how many seconds after it was sent it is sent again. A page that disappears without
# closing its connection is noticed after 45. Each of these can be repeated without harm, but
# controls go back to their defaults, so they are repeated only before a visitor can have used them.
REPEAT_SECONDS = {
    **dict.fromkeys(("new_message", "update_message", "delete_message"), 60.0),
    **dict.fromkeys(("element", "remove_element", "action", "remove_action"), 60.0),
    **dict.fromkeys(("task_start", "task_end", "first_interaction"), 60.0),
    **dict.fromkeys(("set_modes", "set_commands", "chat_settings"), 5.0),
}


@dataclass(eq=False)
class Page:
    """What was sent to a page recently: until when it is kept, the event, its data.

    What is sent while the page is not connected is kept until it is.
    """

    events: deque[tuple[float, str, Any]] = field(default_factory=lambda: deque(maxlen=MAX_EVENTS))
    sending: asyncio.Lock = field(default_factory=asyncio.Lock)  # so that the order stays

    def keep(self, event: str, data: object, connected: bool) -> None:
        """Remembers an event, and forgets what is old."""
        now = time.monotonic()
        while self.events and self.events[0][0] < now:
            self.events.popleft()
        seconds = REPEAT_SECONDS.get(event, 0.0) if connected else math.inf
        if seconds:
            self.events.append((now + seconds, event, data))

    def take(self) -> list[tuple[str, Any]]:
        """Takes the events that are sent again to a page that is back."""
        now = time.monotonic()
        events = [(event, data) for until, event, data in self.events if until >= now]
        self.events.clear()
        return events


_pages: WeakKeyDictionary[WebsocketSession, Page] = WeakKeyDictionary()


def install() -> None:
    """Puts the memory before Chainlit's sending, and its use before Chainlit's welcome."""
    send, welcome = sio.emit, sio.handlers["/"]["connection_successful"]

    async def emit(event: str, data: object = None, to: str | None = None, **options: Any) -> None:  # noqa: ANN401
        if (session := WebsocketSession.get(to)) is None:
            await send(event, data, to, **options)
            return
        page = _pages.setdefault(session, Page())
        async with page.sending:
            sid = session.socket_id  # may be another one by now
            page.keep(event, data, sio.manager.is_connected(sid, "/"))
            await send(event, data, sid, **options)

    async def connected(sid: str) -> None:
        session = WebsocketSession.require(sid)
        page = _pages.setdefault(session, Page())
        async with page.sending:
            for event, data in page.take():
                page.keep(event, data, sio.manager.is_connected(sid, "/"))
                if event == "action":  # a button that is there would be doubled
                    await send("remove_action", data, sid)
                await send(event, data, sid)
        await welcome(sid)
        task = session.current_task
        if session.restored and task and not task.done():
            await init_ws_context(session).emitter.task_start()  # the stop button comes back

    sio.emit = emit
    sio.on("connection_successful", connected)
