"""What a cookie is worth, and how it travels."""

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from tests.support.lazy import lazy

auth = lazy("chainlit.auth")
cl = lazy("chainlit")
cookies = lazy("icl.chat.login.cookies")


def test_a_cookie_is_worth_something_while_its_code_is_in_force(codes, cookie):
    annas = cookie("anna")
    assert cookies.name_in(annas) == "anna"
    codes["anna"] = "another horse"
    assert cookies.name_in(annas) is None
    codes["anna"] = "correct horse"
    assert cookies.name_in(annas) == "anna"
    del codes["anna"]
    assert cookies.name_in(annas) is None
    assert cookies.name_in(cookie("ben")) == "ben"


def test_wherever_chainlit_reads_a_cookie_it_is_checked(codes, cookie):
    annas = cookie("anna")
    readers = (auth.decode_jwt, cookies.server.decode_jwt)
    for read in readers:
        assert read(annas).identifier == "anna"
    del codes["anna"]
    for read in readers:
        with pytest.raises(cookies.pyjwt.InvalidTokenError):
            read(annas)


@pytest.mark.parametrize("metadata", [{}, {"proof": ""}, {"proof": None}, {"proof": "é" * 64}])
def test_a_cookie_without_the_proof_is_worth_nothing(codes, metadata):
    assert cookies.name_in(auth.create_jwt(cl.User(identifier="anna", metadata=metadata))) is None


def test_a_proof_is_good_for_one_person_and_one_key(codes, cookie, monkeypatch):
    codes["ben"] = codes["anna"]
    user = cookies.user("anna")
    user.identifier = "ben"
    assert cookies.name_in(auth.create_jwt(user)) is None
    annas = cookie("anna")
    monkeypatch.setenv("CHAINLIT_AUTH_SECRET", "another secret of 32 characters!")
    assert cookies.name_in(annas) is None


@pytest.mark.parametrize("sent", [None, "", "x", "a.b.c", "\x1b[2J", "é" * 99])
def test_what_is_no_cookie_is_nobodys(codes, sent):
    assert cookies.name_in(sent) is None


# --- on the way ---------------------------------------------------------------------------------


def sent_with(scheme, headers=None, proxies="", response=None):
    """The attributes of a cookie that an application sets carelessly."""

    async def careless(request):
        answer = response or PlainTextResponse("x")
        answer.set_cookie("access_token", "abc", path="/shot", max_age=60, samesite="none")
        return answer

    app = cookies.guard_cookies(Starlette(routes=[Route("/", careless)]))
    client = TestClient(
        ProxyHeadersMiddleware(app, proxies),
        base_url=f"{scheme}://testserver",
        client=("192.0.2.7", 1),
    )
    name, *attributes = client.get("/", headers=headers).headers["set-cookie"].split("; ")
    assert name == "access_token=abc"
    return set(attributes)


ALWAYS = {"Path=/shot", "Max-Age=60", "HttpOnly", "SameSite=lax"}
BY_HTTPS = {"X-Forwarded-Proto": "https"}


def test_no_script_and_no_other_site_gets_a_cookie_and_https_keeps_it():
    assert sent_with("http") == ALWAYS
    assert sent_with("https") == ALWAYS | {"Secure"}


@pytest.mark.parametrize(
    ("proxies", "more"),
    [("192.0.2.7", {"Secure"}), ("192.0.2.0/24", {"Secure"}), ("192.0.2.8", set()), ("", set())],
)
def test_a_proxy_says_whether_it_is_https_only_if_it_was_named(proxies, more):
    assert sent_with("http", BY_HTTPS, proxies) == ALWAYS | more
