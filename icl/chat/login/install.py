"""Who may use the page, set up by environment variables alone; with none of them, everybody.

``icl/session/login_codes.py`` reads them.
"""

import os
from collections.abc import Mapping

import chainlit as cl
import chainlit.server as server

from icl.chat.login import cookies, sockets
from icl.chat.login.attempts import CodeAuthenticator, address, remember_address
from icl.chat.login.named import is_absent, named, remember_named
from icl.service.proxies import PROXIES
from icl.session.login_codes import AUTH_SECRET, HEADER, LoginCodes, cookie_key, login_configured


def install() -> None:
    """Makes Chainlit ask who is there, if a login is configured.

    Raises:
        TuneshotError: two logins at once, or codes or a key of cookies that cannot be used.
    """
    os.environ.setdefault(
        PROXIES, ""
    )  # ``chainlit run`` would believe every program on this machine
    if not login_configured():
        return
    server.app.add_middleware(cookies.guard_cookies)
    os.environ[AUTH_SECRET] = cookie_key()  # where Chainlit looks for it
    if header := os.environ.get(HEADER):
        server.app.add_middleware(remember_named, header=header)
        cookies.install(lambda name: header if name == named.get() else None)
        sockets.install(lambda session: is_absent(session.user.identifier))

        @cl.header_auth_callback
        async def from_header(headers: Mapping[str, str]) -> cl.User | None:
            return cookies.user(name) if (name := named.get()) else None

        return
    codes = LoginCodes()
    cookies.install(lambda name: codes.current().get(name))
    sockets.install(lambda session: cookies.name_in(session.token) is None)
    authenticator = CodeAuthenticator(codes.current)
    server.app.add_middleware(remember_address)

    @cl.password_auth_callback
    async def from_code(username: str, password: str) -> cl.User | None:
        name = await authenticator.authenticate(username, password, address.get())
        return cookies.user(name) if name else None
