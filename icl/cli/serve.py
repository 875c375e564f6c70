"""``tuneshot serve``: page and service for a class. What is heavy is imported at the end."""

import os
from typing import Annotated

import typer

from clfcore.cli.terminal import with_examples
from clfcore.errors import TuneshotError
from clfcore.wording import say
from icl.chat import serve as page
from icl.lm.loopback import is_loopback
from icl.service.hosts import ALLOWED_HOSTS, named_hosts
from icl.service.proxies import PROXIES, named_proxies
from icl.session.login_codes import api_token, login_configured

ADDRESS = "Address"  # a heading of --help


@with_examples(
    "",
    "--port 8010",
    "--allowed-host class.example.org --proxy 127.0.0.1",
    "--host 0.0.0.0 --allowed-host class.example.org --root-path /tuneshot",
)
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen at.", rich_help_panel=ADDRESS)
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="At this address.", min=1, max=65535, rich_help_panel=ADDRESS)
    ] = 8000,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Name under which visitors see the server, beside 127.0.0.1, localhost and [::1]. "
            f"May be given several times; else {ALLOWED_HOSTS}.",
            rich_help_panel=ADDRESS,
        ),
    ] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(
            help="Address or network of a proxy whose X-Forwarded-For and X-Forwarded-Proto are "
            f"believed. May be given several times; else {PROXIES}.",
            rich_help_panel=ADDRESS,
        ),
    ] = None,
    root_path: Annotated[
        str,
        typer.Option(
            help="Path under which a proxy shows the server, e.g. /tuneshot.",
            rich_help_panel=ADDRESS,
        ),
    ] = "",
) -> None:
    """Serve page, API, health checks and figures until Ctrl+C."""
    if allowed_host:
        os.environ[ALLOWED_HOSTS] = ",".join(allowed_host)
    if proxy:
        os.environ[PROXIES] = ",".join(proxy)
    named_proxies()  # says now what is wrong with them
    hosts = named_hosts()
    if is_loopback(host):
        os.environ[ALLOWED_HOSTS] = ",".join([*hosts, host])
    else:
        _require_login_and_token(host)
        if not hosts:
            raise TuneshotError(
                f"{host} can be reached from other machines, under names that are not known here; "
                "give the name in their address bar: --allowed-host class.example.org, or set "
                f"{ALLOWED_HOSTS}"
            )
    with page.listen(host, port) as listening:
        application = page.application(root_path)  # cleans the environment before it is read
        say(f"Tuneshot: http://{host}:{port}{root_path} (Ctrl+C stops it)")
        started = page.run(application, listening, root_path)
    if not started:
        raise TuneshotError("the server could not start; the lines above say why")


def _require_login_and_token(host: str) -> None:
    """What a server needs that other machines can reach.

    Raises:
        TuneshotError: it has no login, or no token.
    """
    if not login_configured():
        raise TuneshotError(
            f"{host} can be reached from other machines, and nobody has to log in; set "
            "TUNESHOT_CODES_FILE to a file with a name and a code on each line, or serve at "
            "127.0.0.1 behind a proxy"
        )
    if api_token() is None:
        raise TuneshotError(
            f"{host} can be reached from other machines, and /api/classify answers everybody; "
            "set TUNESHOT_API_TOKEN to what this prints: "
            "python3 -c 'import secrets; print(secrets.token_hex(16))'"
        )
