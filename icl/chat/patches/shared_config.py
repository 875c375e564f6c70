"""Connecting must not re-enter the event loop.

With chat profiles, 25 people who join in the same second run into a RecursionError.
"""

from chainlit.config import config
from chainlit.session import WebsocketSession


def install() -> None:
    """Gives everybody one configuration; right as long as no profile overrides it."""
    WebsocketSession.get_config = lambda session: config
