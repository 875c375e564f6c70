"""Starts the page so that nothing on the machine interferes: ``python -m icl.chat``.

``chainlit run chat_app.py`` works too. This way adds three things: variables of other programs do
not reach Chainlit, the project folder stays as it is, and two chats do not disturb each other.
"""

import logging
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from clfcore.errors import TuneshotError
from clfcore.scratch import no_room, process_folder, remove_process_folders
from icl.service.hosts import ALLOWED_HOSTS
from icl.service.proxies import named_proxies

if TYPE_CHECKING:
    from fastapi import FastAPI

HOST = "127.0.0.1"  # this machine only: there is no login

SHUTDOWN_SECONDS = 5  # open pages are let go after this long when the server stops
MAX_MESSAGE_BYTES = 1_000_000  # of one message of a socket: as many as engine.io takes

# The page's files: beside us in a wheel, at the root of a clone.
_IN_A_WHEEL = Path(__file__).with_name("app")
PROJECT = _IN_A_WHEEL if _IN_A_WHEEL.exists() else Path(__file__).parents[2]
APP = PROJECT / "chat_app.py"

# Chainlit 2.12.0 reads these names without a prefix, at import or at start-up, so that
# another program's value stops it, opens a database, or starts a bot.
FOREIGN = (
    *("DATABASE_URL", "LITERAL_API_KEY", "LITERAL_API_URL", "LITERAL_SERVER"),
    *("DISCORD_BOT_TOKEN", "SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_WEBSOCKET_TOKEN"),
    *("TEAMS_APP_ID", "TEAMS_APP_PASSWORD"),
    *("CODE", "FEATURES", "PROJECT", "ROOT", "RUN", "UI"),  # fields of its settings class
)


def serve(port: int, headless: bool) -> None:
    """Serves the page until interrupted, to this machine alone.

    Args:
        port: on this machine.
        headless: do not open a browser.

    Raises:
        TuneshotError: the port is taken, chat_app.py is not there, or the temporary folder is full.
    """
    os.environ.pop(ALLOWED_HOSTS, None)
    with listen(HOST, port) as listening:
        _prepare()

        import chainlit as cl  # only now: it reads the environment when imported
        from chainlit.config import config, load_module

        cl.on_app_shutdown(remove_process_folders)

        import chainlit.server

        logging.getLogger().setLevel(logging.WARNING)
        logging.getLogger("chainlit").setLevel(logging.ERROR)
        config.run.host, config.run.port, config.run.headless = HOST, port, headless
        config.run.module_name = str(APP)
        load_module(config.run.module_name)
        sys.stderr.write(f"Tuneshot: http://{HOST}:{port} (Ctrl+C stops it)\n")
        run(chainlit.server.app, listening)


def run(application: "FastAPI", listening: socket.socket, root_path: str = "") -> bool:
    """Serves an application until interrupted; returns whether it could start.

    Args:
        application: ``application()``, or the page alone.
        listening: from ``listen``.
        root_path: under which a proxy shows it.

    Raises:
        TuneshotError: as ``named_proxies``.
    """
    import uvicorn

    config = uvicorn.Config(
        application,
        root_path=root_path,
        lifespan="on",
        log_level="warning",
        forwarded_allow_ips=named_proxies(),
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # a kilobyte could become a megabyte
    )
    server = uvicorn.Server(config)
    server.run([listening])
    return server.started


def application(root_path: str = "") -> "FastAPI":
    """Page, API, health checks and figures as one application, for ``tuneshot serve``.

    Args:
        root_path: under which a proxy shows it.

    Raises:
        TuneshotError: chat_app.py is not there, or the temporary folder is full.
    """
    _prepare()
    os.environ["CHAINLIT_ROOT_PATH"] = root_path  # what the page's addresses begin with

    import chainlit.server
    from chainlit.config import config, load_module

    from icl.service.app import create_app
    from icl.session.environment import workers

    logging.getLogger("chainlit").setLevel(logging.ERROR)
    app = create_app(workers(), remove_process_folders)
    # As ``mount_chainlit``, but without its middleware: it has nothing to do at "/", and fails with
    # a trace in the log when a browser leaves before its answer.
    config.run.module_name = str(APP)
    load_module(config.run.module_name)
    app.mount("/", chainlit.server.app)
    return app


def scratch_root() -> Path:
    """A folder for what Chainlit writes: translations and one small file for each card."""
    root = process_folder("chat")
    try:
        for folder in ("public", ".chainlit"):
            shutil.copytree(PROJECT / folder, root / folder)
        for guide in PROJECT.glob("chainlit*.md"):
            shutil.copy(guide, root)
    except (OSError, shutil.Error) as error:
        raise no_room(error) from error
    return root


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at this address.

    Raises:
        TuneshotError: the address is another machine's, or the port is taken or not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]  # it repeats the address
        raise TuneshotError(
            f"cannot listen at {host}, port {port} ({reason}); is another server running? "
            f"choose another port: --port {port % 65535 + 1}"
        ) from error
    # Small packets at once; asyncio sets it only on sockets that it opened itself.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _prepare() -> None:
    """Everything that Chainlit reads when it is imported, and the folder that it may write to."""
    if not APP.exists():
        raise TuneshotError(f"{APP} is missing; install tuneshot again, or run it from a clone")
    # Environment names are case-insensitive to the settings class.
    for name in [name for name in os.environ if name.upper() in FOREIGN]:
        del os.environ[name]
    os.environ["CHAINLIT_ENV_FILE"] = os.devnull  # no .env of the folder we happen to be in
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    if not os.path.isabs(os.path.expanduser("~")):
        os.environ["HOME"] = os.sep  # as containers have it: a library cannot do without any
    os.environ["CHAINLIT_APP_ROOT"] = str(scratch_root())
