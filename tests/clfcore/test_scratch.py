"""Temporary folders: gone at the end, and after a kill gone at the next start."""

import os
import subprocess
import sys
import tempfile

import pytest

from clfcore.errors import TuneshotError
from clfcore.scratch import scratch_folder


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def another_process(temporary):
    """One that holds a folder until it is killed."""
    program = (
        "from clfcore.scratch import scratch_folder\n"
        "with scratch_folder('chat') as folder:\n"
        "    (folder / 'file').touch(); print(folder, flush=True); input()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, "TMPDIR": str(temporary)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    process.stdout.readline()
    return process


def test_a_folder_is_gone_at_the_end_whatever_ends_it(temporary):
    with scratch_folder("chat") as folder:
        (folder / "file").touch()
        assert folder.name.startswith("tuneshot-chat-")
        assert folder.stat().st_mode & 0o077 == 0
    with pytest.raises(KeyboardInterrupt), scratch_folder("chat"):
        raise KeyboardInterrupt
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_left_is_gone_with_the_next_start_and_what_is_in_use_stays(temporary):
    alive, killed = another_process(temporary), another_process(temporary)
    try:
        killed.kill()
        killed.wait()
        assert len(list(temporary.iterdir())) == 2
        with scratch_folder("chat") as folder:
            (other,) = (path for path in temporary.iterdir() if path != folder)
            assert (other / "file").exists(), "that one is in use"
    finally:
        alive.communicate("\n")
    assert list(temporary.iterdir()) == []


def test_only_what_is_surely_ours_is_taken_away(temporary):
    (temporary / "tuneshot-chat-older").mkdir()  # without a lock: an earlier version's, perhaps
    (temporary / "others").mkdir()
    (temporary / "others/.in-use").touch()
    (temporary / "tuneshot-link").symlink_to(temporary / "others")
    before = set(temporary.iterdir())
    with scratch_folder("chat"):
        pass
    assert set(temporary.iterdir()) == before


def test_no_room_is_one_line_that_names_the_variable(monkeypatch):
    def full(**_):
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with (
        pytest.raises(TuneshotError, match=r"no room for temporary files .*TMPDIR"),
        scratch_folder("chat"),
    ):
        pass
