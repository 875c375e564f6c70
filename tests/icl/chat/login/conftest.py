"""Codes in force, and the cookies of people who have signed in with them."""

import pytest

from tests.support.lazy import lazy

auth = lazy("chainlit.auth")
cookies = lazy("icl.chat.login.cookies")


@pytest.fixture
def codes(monkeypatch):
    """The codes in force."""
    monkeypatch.setenv("CHAINLIT_AUTH_SECRET", "a secret of at least 32 characters")
    for module in (cookies.auth, cookies.server):
        monkeypatch.setattr(module, "decode_jwt", cookies.decode_jwt)
    codes = {"anna": "correct horse", "ben": "battery staple"}
    monkeypatch.setattr("icl.chat.login.cookies._code_of", None, raising=False)
    cookies.install(codes.get)
    return codes


@pytest.fixture
def cookie():
    """The cookie of a name that has just signed in."""
    return lambda name: auth.create_jwt(cookies.user(name))
