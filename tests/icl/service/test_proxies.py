"""Whose word counts for where a visitor comes from."""

import pytest

from clfcore.errors import TuneshotError
from icl.cli.tuneshot import main
from icl.service.proxies import named_proxies
from tests.support.pages import free_port


@pytest.mark.parametrize(
    ("named", "believed"),
    [
        (None, []),
        ("", []),
        (" , ", []),
        ("127.0.0.1", ["127.0.0.1"]),
        ("127.0.0.1, 172.17.0.0/16,2001:db8::/32", ["127.0.0.1", "172.17.0.0/16", "2001:db8::/32"]),
    ],
)
def test_only_proxies_that_are_named_are_believed(monkeypatch, named, believed):
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    if named is not None:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", named)
    assert named_proxies() == believed


@pytest.mark.parametrize("named", ["*", "proxy.example.org", "172.17.0.1/16", "127.0.0.1:80"])
def test_everybody_and_nobody_are_no_proxies(monkeypatch, command, named):
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", named)
    with pytest.raises(TuneshotError, match="is not the address or network of a proxy"):
        named_proxies()
    monkeypatch.delenv("FORWARDED_ALLOW_IPS")
    status, out, err = command(main, "tuneshot", "serve", "--port", free_port(), "--proxy", named)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert repr(named) in err
