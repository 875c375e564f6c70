"""The codes in force, while their file changes."""

import os

import pytest

from clfcore.errors import TuneshotError
from icl.session.login_codes import LoginCodes


@pytest.fixture
def file(monkeypatch, tmp_path):
    path = tmp_path / "codes"
    path.touch(mode=0o600)
    path.write_text("anna correct horse\nben battery staple\n")
    monkeypatch.delenv("TUNESHOT_CODES", raising=False)
    monkeypatch.setenv("TUNESHOT_CODES_FILE", str(path))
    return path


def test_a_changed_file_is_in_force_at_once(file):
    codes = LoginCodes()
    assert codes.current() == {"anna": "correct horse", "ben": "battery staple"}
    file.write_text("ben battery staple\n")
    assert codes.current() == {"ben": "battery staple"}
    file.write_text("ben another staple\n")
    assert codes.current() == {"ben": "another staple"}


def test_a_file_that_is_put_in_its_place_is_in_force_at_once(file, tmp_path):
    codes = LoginCodes()
    new = tmp_path / "new"
    new.touch(mode=0o600)
    new.write_text("eve battery staple\n")
    old = file.stat()
    os.utime(new, ns=(old.st_atime_ns, old.st_mtime_ns))
    new.rename(file)
    assert codes.current() == {"eve": "battery staple"}


def test_nothing_is_read_while_nothing_changes(file, monkeypatch):
    codes = LoginCodes()
    before = codes.current()
    monkeypatch.setattr("icl.session.login_codes.read_codes", lambda: pytest.fail("it was read"))
    assert all(codes.current() is before for _ in range(1_000))


@pytest.mark.parametrize("damage", ["", "anna", "anna short\n", None])
def test_a_file_that_cannot_be_used_leaves_those_of_before_and_one_line(file, caplog, damage):
    codes = LoginCodes()
    if damage is None:
        file.unlink()
    else:
        file.write_text(damage)
    for _ in range(10):
        assert codes.current() == {"anna": "correct horse", "ben": "battery staple"}
    (line,) = [record.getMessage() for record in caplog.records]
    assert "those of before stay in force" in line
    assert str(file) in line
    assert "horse" not in line
    assert "\n" not in line
    file.write_text("ben battery staple\n")
    assert codes.current() == {"ben": "battery staple"}


def test_codes_of_the_environment_stay(monkeypatch):
    monkeypatch.delenv("TUNESHOT_CODES_FILE", raising=False)
    monkeypatch.setenv("TUNESHOT_CODES", "anna:correct horse")
    codes = LoginCodes()
    assert codes.current() is codes.current()


def test_at_the_start_a_file_that_cannot_be_used_is_an_error(file):
    file.write_text("")
    with pytest.raises(TuneshotError):
        LoginCodes()
