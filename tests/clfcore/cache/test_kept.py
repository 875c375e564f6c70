"""Files and folders that are made once, and made again when they are damaged."""

import multiprocessing
import os
import shutil
import signal
import time

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from clfcore.cache import checksums
from clfcore.cache.checksums import State, examine, note_path
from clfcore.cache.kept import keep, kept
from clfcore.cache.place import alone_with
from clfcore.errors import TuneshotError
from clfcore.paths import cache_dir


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path / "cache"))


class Making:
    """A file or a folder of the cache that says how often it was made."""

    def __init__(self, name="some/thing", files=()):
        self.path, self.files, self.times = cache_dir() / name, files, 0

    def __call__(self, read=None):
        return kept(self.path, read or self.read, self.make, "making it (a minute)…")

    def read(self, path):
        return {each: (path / each).read_text() for each in self.files or ["."]}

    def write(self, path):
        if self.files:
            path.mkdir()
        for each in self.files or ["."]:
            (path / each).write_text(f"what is in {each}")

    def make(self):
        self.times += 1
        keep(self.path, self.write)
        return {each: f"what is in {each}" for each in self.files or ["."]}


@pytest.fixture(params=[(), ("config", "weights")], ids=["file", "folder"])
def thing(request):
    return Making(files=request.param)


def lines(capfd):
    return capfd.readouterr().err.splitlines()


def test_it_is_made_once_and_whoever_waits_is_told(thing, capfd):
    assert thing() == thing() == thing.make()
    assert thing.times == 2
    assert lines(capfd) == ["making it (a minute)…"]


def test_a_usual_start_reads_no_byte_to_check_it(thing, monkeypatch):
    thing()
    monkeypatch.setattr(checksums, "_sha256", lambda path: pytest.fail(f"reads {path}"))
    thing()
    assert thing.times == 1


def test_another_time_is_looked_into_once(thing, monkeypatch, capfd):
    thing()
    for file in [thing.path, *thing.path.rglob("*")]:
        os.utime(file, (0, 0))
    thing()
    monkeypatch.setattr(checksums, "_sha256", lambda path: pytest.fail(f"reads {path}"))
    thing()
    assert thing.times == 1
    assert lines(capfd) == ["making it (a minute)…"]


def test_what_an_earlier_version_kept_is_taken_as_it_is_and_noted(thing, capfd):
    thing()
    note_path(thing.path).unlink()
    thing()
    assert thing.times == 1
    assert examine(thing.path) == (State.WHOLE, thing.path)
    assert lines(capfd) == ["making it (a minute)…"]


@pytest.mark.parametrize(
    "bad", [b"", b"{", b"[]", b"{}", b'{".": 3}', b'{".": [1, 2, "x"]}', b"\xff"]
)
def test_where_the_checksum_is_damaged_nobody_knows_so_it_is_made_again(thing, bad, capfd):
    thing()
    note_path(thing.path).write_bytes(bad)
    thing()
    assert thing.times == 2
    assert examine(thing.path) == (State.WHOLE, thing.path)
    assert "was damaged, so it is made again: making it (a minute)…" in lines(capfd)[-1]


def test_a_folder_in_the_place_of_the_checksum_is_no_checksum(thing):
    thing()
    note_path(thing.path).unlink()
    note_path(thing.path).mkdir()
    thing()
    thing()
    assert thing.times == 2


def test_a_file_too_many_or_too_few_is_damage_and_another_programs_is_not(capfd):
    thing = Making(files=("config", "weights"))
    thing()
    (thing.path / ".DS_Store").write_text("Finder's")
    thing()
    assert thing.times == 1
    (thing.path / "adapter").write_text("a library would read it")
    thing()
    assert thing.times == 2
    assert f"{thing.path / 'adapter'} was damaged" in lines(capfd)[-1]
    (thing.path / "weights").unlink()
    thing()
    assert thing.times == 3
    assert f"{thing.path / 'weights'} was damaged" in lines(capfd)[-1]


def test_what_a_library_cannot_read_is_damaged_whatever_the_checksum_says(thing):
    thing()

    def read(path):
        raise RuntimeError("a library's own kind of error")

    assert thing(read)
    assert thing.times == 2


def test_what_a_user_can_mend_and_what_the_machine_lacks_is_no_damage(thing):
    thing()
    for fault in (TuneshotError("no"), MemoryError()):

        def read(path, fault=fault):
            raise fault

        with pytest.raises(type(fault)):
            thing(read)
    assert thing.times == 1


def test_tensors_that_are_no_numbers_are_never_taken(tmp_path):
    path = cache_dir() / "some.safetensors"
    path.parent.mkdir(parents=True)
    save_file({"x": np.array([1, np.nan])}, path)  # without a checksum

    def make():
        keep(path, lambda new: save_file({"x": np.ones(2)}, new))
        return load_file(path)

    assert kept(path, load_file, make)["x"].tolist() == [1, 1]


def test_a_file_where_a_folder_should_be_is_left_alone_and_said_once(thing, capfd):
    cache_dir().mkdir()
    thing.path.parent.write_text("somebody else's")
    assert thing() == thing()
    assert thing.times == 2
    assert thing.path.parent.read_text() == "somebody else's"
    (line,) = [line for line in lines(capfd) if line.startswith("note")]
    assert "set TUNESHOT_CACHE to a folder that can be written" in line


def test_what_a_killed_program_left_is_removed_by_the_next_that_writes(thing):
    old, new = (thing.path.parent / f".other.{age}.unfinished" for age in ("old", "new"))
    for scratch in (old, new):
        scratch.mkdir(parents=True)
        (scratch / "weights").write_bytes(bytes(1000))
    os.utime(old, (time.time() - 4000,) * 2)
    thing()
    assert not old.exists()
    assert new.exists(), "somebody may still be writing it"


def test_a_program_that_was_killed_between_file_and_checksum_leaves_a_file_to_be_noted(thing):
    thing()
    note_path(thing.path).unlink()  # it is removed before the file is replaced
    thing()
    assert thing.times == 1


# --- several processes --------------------------------------------------------------------------


def _make_slowly(name, made):
    path = cache_dir() / name

    def make():
        time.sleep(0.3)
        with made.get_lock():
            made.value += 1
        keep(path, lambda new: new.write_text("what it is"))
        return "what it is"

    assert kept(path, lambda path: path.read_text(), make) == "what it is"


def test_of_processes_that_need_the_same_one_makes_it():
    fork = multiprocessing.get_context("fork")
    made = fork.Value("i", 0)
    workers = [fork.Process(target=_make_slowly, args=("slow", made)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    assert made.value == 1


def _be_killed_while_writing(thing):
    def write_half(path):
        thing.write(path)
        os.kill(os.getpid(), signal.SIGKILL)

    kept(thing.path, thing.read, lambda: keep(thing.path, write_half))


def test_who_is_killed_while_making_it_leaves_nothing_that_is_read_and_nobody_waiting(thing, capfd):
    fork = multiprocessing.get_context("fork")
    killed = fork.Process(target=_be_killed_while_writing, args=(thing,))
    killed.start()
    killed.join(30)
    assert killed.exitcode == -signal.SIGKILL
    assert not thing.path.exists()
    assert thing() == thing.read(thing.path)
    assert set(lines(capfd)) == {"making it (a minute)…"}


def _replace_often(name, start):
    for number in range(start, start + 10):
        keep(cache_dir() / name, lambda new, number=number: new.write_text(f"{number}" * 50))


def test_nobody_sees_a_file_with_the_checksum_of_another(capfd):
    path = cache_dir() / "often"
    keep(path, lambda new: new.write_text("0" * 50))
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=_replace_often, args=("often", 100 * i)) for i in (1, 2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert kept(path, lambda path: path.read_text(), lambda: pytest.fail("made again"))
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert "damaged" not in capfd.readouterr().err


def test_who_waits_is_told_for_what(monkeypatch, capfd):
    monkeypatch.setattr("clfcore.cache.place._SOON_SECONDS", 0.05)
    path = cache_dir() / "slow"
    fork = multiprocessing.get_context("fork")
    inside, leave = fork.Event(), fork.Event()

    def hold():
        with alone_with(path):
            inside.set()
            leave.wait(10)

    holder = fork.Process(target=hold)
    holder.start()
    inside.wait(10)
    monkeypatch.setattr("clfcore.cache.place._PATIENCE_SECONDS", 0.05)
    with alone_with(path):  # not for ever
        pass
    leave.set()
    holder.join(10)
    assert lines(capfd) == [f"waiting for another process, which makes {path}…"]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
def test_a_pipe_or_a_device_in_its_place_is_damage_and_not_waited_for(thing, make):
    made = thing()
    for has_sum, place in (True, thing.path), (False, thing.path), (True, note_path(thing.path)):
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink()
        make(place)
        if not has_sum:
            note_path(thing.path).unlink()
        assert thing() == made
