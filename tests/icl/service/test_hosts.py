"""Which names a server answers to, and which pages are its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clfcore.errors import TuneshotError
from icl.service.hosts import (
    LOOPBACK_NAMES,
    allowed_hosts,
    is_allowed,
    is_own_origin,
    split_address,
)


@pytest.mark.parametrize(
    ("address", "name", "port"),
    [
        ("localhost", "localhost", None),
        ("LocalHost:8000", "localhost", 8000),
        ("localhost.:8000", "localhost", 8000),
        ("127.0.0.1:80", "127.0.0.1", 80),
        ("[::1]:8000", "[::1]", 8000),
        ("[0:0:0:0:0:0:0:1]", "[::1]", None),
        ("[2001:DB8::1]", "[2001:db8::1]", None),
        ("my_host.example", "my_host.example", None),
    ],
)
def test_a_name_is_read_however_it_is_written(address, name, port):
    assert split_address(address) == (name, port)


@pytest.mark.parametrize(
    "address",
    ["", ".", "a..", "localhost:", "localhost:x", "localhost:123456", "a b", "a,b", "a@localhost",
     "localhost/", "localhost\n", "::1", "[::1", "[:::1]", "[::1%lo]", "ⓛocalhost", "lo:８0"],
)  # fmt: skip
def test_what_is_no_name_is_none(address):
    assert split_address(address) is None


@given(st.text(max_size=30))
def test_whatever_is_sent_has_a_name_that_reads_as_itself_or_none(address):
    if parts := split_address(address):
        assert split_address(parts[0]) == (parts[0], None)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:9", "[::1]", "LOCALHOST.:8000"])
def test_this_machine_is_answered_at_any_port(host):
    assert is_allowed(host, LOOPBACK_NAMES)


@pytest.mark.parametrize(
    "host",
    ["evil.test", "localhost.evil.test", "evil.test:8000", "127.0.0.1.evil.test", "127.0.0.2",
     "127.1", "2130706433", "0x7f.1", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]", ""],
)  # fmt: skip
def test_no_other_name_is_this_machine(host):
    assert not is_allowed(host, LOOPBACK_NAMES)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:8000", "localhost:8000"),
        ("http://localhost:8000", "LOCALHOST.:8000"),
        ("http://localhost", "localhost"),
        ("http://localhost", "localhost:80"),
        ("http://[::1]:8000", "[0::1]:8000"),
        ("https://class.example.org", "class.example.org"),  # a proxy with TLS
        ("https://class.example.org", "class.example.org:443"),
        ("https://class.example.org:8443", "class.example.org:8443"),
    ],
)
def test_a_page_of_the_same_name_and_port_is_the_servers_own(origin, host):
    assert is_own_origin(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.test", "localhost:8000"),
        ("http://evil.test:8000", "localhost:8000"),
        ("http://localhost", "localhost:8000"),
        ("http://localhost:8001", "localhost:8000"),
        ("http://127.0.0.1:8000", "localhost:8000"),
        ("https://class.example.org:8443", "class.example.org"),
        ("https://other.example.org", "class.example.org"),
        ("https://example.org", "class.example.org"),
        ("https://class.example.org.evil.test", "class.example.org"),
        ("https://class.example.org@evil.test", "class.example.org"),
        ("https://evil.test/class.example.org", "class.example.org"),
        ("null", "null"),
        ("", "localhost"),
        ("file://", "localhost"),
        ("chrome-extension://localhost", "localhost"),
        ("ws://localhost", "localhost"),
        ("http://localhost http://localhost", "localhost"),
    ],
)
def test_any_other_page_is_another_sites(origin, host):
    assert not is_own_origin(origin, host)


def test_names_are_added_by_the_environment(monkeypatch):
    monkeypatch.setenv(
        "TUNESHOT_ALLOWED_HOSTS", " Class.Example.org., 192.0.2.7,2001:db8::1 ,[::2],"
    )
    added = {"class.example.org", "192.0.2.7", "[2001:db8::1]", "[::2]"}
    assert allowed_hosts() == LOOPBACK_NAMES | added


@pytest.mark.parametrize(
    "name", ["*", ".example.org", "http://a", "a:80", "a/b", "a b", "größe.at"]
)
def test_what_is_no_name_is_refused_in_one_line(monkeypatch, name):
    monkeypatch.setenv("TUNESHOT_ALLOWED_HOSTS", f"a.example,{name}")
    with pytest.raises(TuneshotError, match="is not the name of a host") as refused:
        allowed_hosts()
    assert "\n" not in str(refused.value)
