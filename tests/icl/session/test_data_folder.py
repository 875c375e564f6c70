"""Where chats and votes are kept."""

import platformdirs
import pytest

from icl.session.data_folder import data_dir


@pytest.fixture
def library(monkeypatch, tmp_path):
    """As on macOS or Windows: the system's folder is another one than Linux's."""
    for name in ("TUNESHOT_DATA", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "Library/tuneshot"
    monkeypatch.setattr(platformdirs, "user_data_path", lambda name, appauthor: folder)
    return folder


def test_chats_are_kept_where_the_system_keeps_such_data(library):
    assert data_dir() == library / "chats"
    assert data_dir().stat().st_mode & 0o777 == 0o700


def test_an_earlier_versions_chats_are_still_found(library, tmp_path):
    (tmp_path / ".local/share/tuneshot/chats").mkdir(parents=True)
    assert data_dir() == tmp_path / ".local/share/tuneshot/chats"


def test_a_variable_decides_before_any_folder(library, tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_DATA", str(tmp_path / "mine"))
    assert data_dir() == tmp_path / "mine"
