"""Which logins there are, and what is refused at the start."""

import asyncio
import os
import secrets
import stat
import subprocess
import warnings

import pytest

from clfcore.errors import DataNote, TuneshotError
from icl.session import data_folder as datadir
from icl.session.login_codes import login_configured, read_codes
from tests.support.lazy import lazy

cl = lazy("chainlit")
login = lazy("icl.chat.login.install")
named = lazy("icl.chat.login.named")
cookies = lazy("icl.chat.login.cookies")

HEADER = ("TUNESHOT_AUTH_HEADER", "X-Forwarded-User")
OWN_SECRET = "my own secret, which nobody guesses"
VARIABLES = ("TUNESHOT_CODES", "TUNESHOT_CODES_FILE", "TUNESHOT_AUTH_HEADER")


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """No login set up, and none left behind."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CHAINLIT_AUTH_SECRET", "")
    monkeypatch.setenv("TUNESHOT_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(cl.config.config.code, "password_auth_callback", None)
    monkeypatch.setattr(cl.config.config.code, "header_auth_callback", None)
    monkeypatch.setattr(login.server.app, "add_middleware", lambda middleware, **options: None)
    for module in (cl.auth, login.server):
        monkeypatch.setattr(module, "decode_jwt", cl.auth.jwt.decode_jwt)
    sockets = login.server.sio.handlers
    monkeypatch.setitem(sockets, "/", dict(sockets["/"]))


# --- codes --------------------------------------------------------------------------------------


def test_codes_come_from_the_environment_or_from_a_file(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("TUNESHOT_CODES", "anna:correct horse, ben:battery:staple")
    assert read_codes() == {"anna": "correct horse", "ben": "battery:staple"}
    monkeypatch.delenv("TUNESHOT_CODES")

    path = tmp_path / "codes"
    path.write_text("anna correct horse\n\nben  battery,staple\r\n")
    path.chmod(0o600)
    monkeypatch.setenv("TUNESHOT_CODES_FILE", str(path))
    assert read_codes() == {"anna": "correct horse", "ben": "battery,staple"}
    assert caplog.text == ""
    path.chmod(0o644)
    read_codes()
    (line,) = [r.getMessage() for r in caplog.records]
    assert f"chmod 600 {path}" in line


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_codes_are_read_however_an_editor_saved_them(monkeypatch, tmp_path, encoding, line_end):
    path = tmp_path / "codes"
    lines = ["anna correct horse", "", "jörg battery,staple", ""]
    path.write_bytes(line_end.join(lines).encode(encoding))
    monkeypatch.setenv("TUNESHOT_CODES_FILE", str(path))
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", DataNote)
        assert read_codes() == {"anna": "correct horse", "jörg": "battery,staple"}
    assert all("horse" not in str(note.message) for note in notes)
    assert bool(notes) == (encoding in ("utf-16-le", "cp1252"))


@pytest.mark.parametrize(
    ("codes", "complaint"),
    [
        ("anna:hunter2", "code of 'anna' in TUNESHOT_CODES is too short: 7 of at least 8"),
        ("anna:11111111", "code of 'anna' in TUNESHOT_CODES is predictable"),
        ("anna:hunter22,anna:hunter33", "names 'anna' twice"),
        ("hunter22hunter22", "entry 1 of TUNESHOT_CODES"),
        ("anna:hunter22,", "entry 2 of TUNESHOT_CODES"),
        (":hunter22", "entry 1 of TUNESHOT_CODES"),
    ],
)
def test_codes_that_cannot_be_used_stop_the_start_without_being_shown(
    monkeypatch, codes, complaint
):
    monkeypatch.setenv("TUNESHOT_CODES", codes)
    with pytest.raises(TuneshotError) as refused:
        login.install()
    assert complaint in str(refused.value)
    assert "hunter" not in str(refused.value)
    assert "1111" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert cl.config.config.code.password_auth_callback is None


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_file_that_cannot_be_used_is_one_line(monkeypatch, tmp_path, content):
    path = tmp_path / "codes"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("TUNESHOT_CODES_FILE", str(path))
    with pytest.raises(TuneshotError, match=str(path)):
        read_codes()


# --- what Chainlit is told ----------------------------------------------------------------------


def test_without_configuration_nobody_is_asked():
    assert not login_configured()
    login.install()
    assert not cl.auth.get_configuration()["requireLogin"]
    assert os.environ["CHAINLIT_AUTH_SECRET"] == ""


@pytest.mark.parametrize("first", VARIABLES)
@pytest.mark.parametrize("second", VARIABLES)
def test_two_ways_to_log_in_are_one_too_many(monkeypatch, first, second):
    monkeypatch.setenv(first, "x")
    monkeypatch.setenv(second, "x")
    if first == second:
        assert login_configured()
    else:
        with pytest.raises(TuneshotError, match="keep one"):
            login_configured()


def test_with_codes_the_page_asks_for_name_and_code(monkeypatch):
    monkeypatch.setenv("TUNESHOT_CODES", "anna:correct horse")
    login.install()
    assert cl.auth.get_configuration()["passwordAuth"] is True
    user = asyncio.run(cl.config.config.code.password_auth_callback("anna", "correct horse"))
    assert user.identifier == "anna"


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"X-Forwarded-User": " anna "}, "anna"),
        ({"X-Forwarded-User": " "}, None),
        ({"X-Forwarded-User": "a" * 201}, None),
        ({"X-Other": "anna"}, None),
    ],
)
def test_behind_a_proxy_its_header_says_who_is_there(monkeypatch, headers, name):
    monkeypatch.setenv("TUNESHOT_AUTH_HEADER", "X-Forwarded-User")
    login.install()
    assert cl.auth.get_configuration()["passwordAuth"] is False
    came = []

    async def app(scope, receive, send):
        came.append(await cl.config.config.code.header_auth_callback(headers))

    sent = [(key.lower().encode(), value.encode()) for key, value in headers.items()]
    scope = {"type": "http", "headers": sent}
    asyncio.run(named.remember_named(app, "X-Forwarded-User")(scope, None, None))
    assert [user and user.identifier for user in came] == [name]


@pytest.mark.parametrize(("header", "still"), [("anna", True), ("ben", False), (None, False)])
def test_a_cookie_is_worth_nothing_once_the_proxy_names_somebody_else_or_nobody(
    monkeypatch, header, still
):
    monkeypatch.setenv("TUNESHOT_AUTH_HEADER", "X-Forwarded-User")
    login.install()

    async def app(scope, receive, send):
        scope["made"].append(cl.auth.create_jwt(cookies.user("anna")))
        scope["made"] += [cookies.name_in(token) for token in scope["sent"]]

    def request(name, *sent):
        headers = [(b"x-forwarded-user", name.encode())] if name else []
        scope = {"type": "http", "headers": headers, "made": [], "sent": sent}
        asyncio.run(named.remember_named(app, "X-Forwarded-User")(scope, None, None))
        return scope["made"]

    (cookie,) = request("anna")
    assert request(header, cookie)[1] == ("anna" if still else None)


def test_whom_a_proxy_has_not_named_for_a_while_is_absent(monkeypatch):
    now = 1000.0
    monkeypatch.setattr("icl.chat.login.named.time.monotonic", lambda: now)
    monkeypatch.setattr("icl.chat.login.named._seen", {"anna": now - 149, "ben": now - 151})
    assert [named.is_absent(name) for name in ("anna", "ben", "carl")] == [False, True, True]


def test_a_restart_logs_nobody_out(monkeypatch):
    monkeypatch.setenv("TUNESHOT_CODES", "anna:correct horse")
    login.install()
    user = asyncio.run(cl.config.config.code.password_auth_callback("anna", "correct horse"))
    cookie = cl.auth.create_jwt(user)
    monkeypatch.setenv("CHAINLIT_AUTH_SECRET", "")  # as a new process would find it
    login.install()
    assert cl.auth.decode_jwt(cookie).identifier == "anna"


def test_a_secret_of_ones_own_is_used(monkeypatch):
    monkeypatch.setenv("TUNESHOT_CODES", "anna:correct horse")
    monkeypatch.setenv("CHAINLIT_AUTH_SECRET", OWN_SECRET)
    login.install()
    assert os.environ["CHAINLIT_AUTH_SECRET"] == OWN_SECRET


@pytest.mark.parametrize("login_by", [("TUNESHOT_CODES", "anna:correct horse"), HEADER])
@pytest.mark.parametrize("own", [" ", "x", OWN_SECRET[:31], "x" * 99, "password" * 4])
def test_a_secret_of_ones_own_that_can_be_guessed_stops_the_start(monkeypatch, own, login_by):
    monkeypatch.setenv(*login_by)
    monkeypatch.setenv("CHAINLIT_AUTH_SECRET", own)
    with pytest.raises(TuneshotError, match="CHAINLIT_AUTH_SECRET is ") as refused:
        login.install()
    assert own.strip() not in str(refused.value) or len(own) < 2
    assert "token_hex(32)" in str(refused.value)
    assert cl.config.config.code.password_auth_callback is None
    assert cl.config.config.code.header_auth_callback is None


# --- the data directory -------------------------------------------------------------------------


def test_secrets_stay_differ_by_purpose_and_are_for_their_owner_only(tmp_path):
    assert datadir.secret("a") == datadir.secret("a") != datadir.secret("b")
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data" / "secret").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["secret"]


@pytest.mark.parametrize("content", [b"", b" \n", b"x", b"0123456789abcdef" * 4, b"x" * 64])
def test_a_kept_secret_that_can_be_guessed_stops_the_start_and_says_what_to_do(
    monkeypatch, tmp_path, content
):
    monkeypatch.setenv("TUNESHOT_CODES", "anna:correct horse")
    path = tmp_path / "data" / "secret"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(TuneshotError, match=f"{path} is ") as refused:
        login.install()
    assert "\n" not in str(refused.value)
    command = str(refused.value).rpartition(": ")[2]
    assert command == f"rm {path}"
    subprocess.run(command, shell=True, check=True)
    login.install()
    assert len(path.read_text()) == 64


def test_random_secrets_are_taken_and_the_command_in_the_message_makes_one():
    for shortest in (16, 32):
        for _ in range(200):
            datadir.refuse_guessable("it", secrets.token_hex(shortest // 2), shortest)
        with pytest.raises(TuneshotError) as refused:
            datadir.refuse_guessable("it", "", shortest)
        command = str(refused.value).rpartition(": ")[2]
        assert command.startswith("python3 -c ")
        made = subprocess.run(command, shell=True, check=True, capture_output=True, text=True)
        datadir.refuse_guessable("it", made.stdout, shortest)


def test_two_processes_that_start_at_once_share_a_secret(tmp_path):
    path = datadir.data_dir() / "secret"
    datadir._create(path, "first")
    datadir._create(path, "second")
    assert path.read_text() == "first"


def test_a_data_directory_that_cannot_be_made_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TUNESHOT_DATA", str(tmp_path / "file" / "data"))
    with pytest.raises(TuneshotError, match="TUNESHOT_DATA"):
        datadir.secret("a")
