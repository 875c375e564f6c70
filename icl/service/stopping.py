"""A request that is cut off because the server stops is told so: 503, come again."""

import asyncio

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STOPPING = "the server is stopping; try again in 10 seconds"


class NotedSend:
    """``send``, and whether an answer has begun.

    Args:
        send: what sends it.
    """

    def __init__(self, send: Send) -> None:
        self.send, self.started = send, False

    async def __call__(self, message: Message) -> None:
        """Sends ``message``."""
        self.started = True
        await self.send(message)


class AnswerBeforeStopping:
    """Answers for ``app`` when uvicorn cancels a request that it has waited for in vain.

    Without it that would be a 500 and a trace.

    Args:
        app: what is served.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets ``app`` answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sending = NotedSend(send)
        try:
            await self.app(scope, receive, sending)
        except asyncio.CancelledError:
            if sending.started:
                raise
            body, headers = {"error": STOPPING}, {"Retry-After": "10", "Connection": "close"}
            await JSONResponse(body, 503, headers)(scope, receive, send)
