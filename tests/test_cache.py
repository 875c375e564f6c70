"""Whatever is kept in the cache may be damaged: the answer is the same, and one line says so.

Each kind of file is made by the code that keeps it, with small stand-ins for the models.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clfcore.cache.checksums import note_path
from clfcore.cache.database import ANSWERS, DATABASES, DiskCache
from clfcore.cli import clf
from clfcore.config import DEFAULT_LM
from clfcore.data import corpus
from clfcore.data.messages import load_messages
from clfcore.errors import TuneshotError
from clfcore.paths import cache_dir
from clfcore.weights.language_model import bundled_lm
from icl.lm.local import LocalLM
from icl.pool.embed import embed_cached
from icl.priors.batch import BatchPrior
from tests.support.disks import full_disk
from tests.support.doubles import HashedWords, save_tiny_lm
from tests.support.tiny_gguf import save_gguf

TEXTS = [f"message {i}" for i in range(40)]


CORPUS = "".join(f"{'spam' if i % 3 else 'ham'}\tmessage {i}\n" for i in range(40))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "corpus").write_text(CORPUS)
    monkeypatch.setattr(corpus, "CORPUS_SOURCES", [str(tmp_path / "corpus")])
    monkeypatch.setattr(corpus, "CORPUS_SHA256", hashlib.sha256(CORPUS.encode()).hexdigest())
    corpus.fetch_corpus()


# --- what is kept -------------------------------------------------------------------------------


def embeddings():
    return embed_cached(HashedWords(), TEXTS).tolist()


def tensors():
    import torch

    from clfcore.weights.kept import kept_tensors

    return kept_tensors("squares", lambda: {"x": torch.arange(200.0) ** 2})["x"].tolist()


def prior():
    def read(text):
        return np.log([0.2, 0.8]) if "1" in text else np.log([0.6, 0.4])

    one = BatchPrior({"model": "any"}, ["ham", "spam"], TEXTS, read)
    one.read_all()
    return one.value.log_mean.tolist()


def answer():
    cache = DiskCache(cache_dir() / ANSWERS)
    if cache.get("question") is None:
        cache.put("question", {"text": "spam", "log_probabilities": [-0.25, -1.5]})
    return cache.get("question") or {"text": "spam", "log_probabilities": [-0.25, -1.5]}


def messages():
    return load_messages().name, [example.text for example in load_messages().examples]


# What is kept, and what is asked for that is made of it.
KINDS: dict[str, Callable[[], object]] = {
    "embeddings/hashed-words.safetensors": embeddings,
    "models/squares.safetensors": tensors,
    "priors.sqlite": prior,
    "answers.sqlite": answer,
    "sms_spam/SMSSpamCollection": messages,
}


# --- how it is damaged --------------------------------------------------------------------------


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def flip(file: Path) -> None:
    """One bit of the newest row of a table, or of the last tensor."""
    whole = bytearray(file.read_bytes())
    whole[whole.rfind(b"-") + 1 if file.suffix == ".sqlite" else -1] ^= 1
    file.write_bytes(whole)


def fill_with_nan(file: Path) -> None:
    """Tensors keep their names and shapes."""
    whole = file.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little") if file.suffix == ".safetensors" else 0
    file.write_bytes(whole[:header] + b"\xff" * (len(whole) - header))


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()
    (file / "something else").write_text("of somebody else")


DAMAGES = [cut, empty, flip, fill_with_nan, replace_by_folder]


def damage(file: Path, how: Callable[[Path], None]) -> None:
    how(file)
    later = file.stat().st_mtime_ns + 10**9  # a clock may be too coarse for a test
    os.utime(file, ns=(later, later))


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", KINDS)
def test_what_is_damaged_is_made_again_and_one_line_says_so(name, how, capfd):
    ask = KINDS[name]
    right = ask()
    assert ask() == right
    assert capfd.readouterr().err == ""
    damage(cache_dir() / name, how)
    assert ask() == right
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"note: {cache_dir() / name} was damaged, so it is made again")
    assert ask() == right
    assert capfd.readouterr().err == ""


def keeping_its_time(file: Path, how: Callable[[Path], None]) -> None:
    """As a disk does that loses bits: neither size nor time say so."""
    before = file.stat()
    how(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("how", DAMAGES)
def test_check_cache_finds_and_removes_all_that_is_damaged(how, command):
    for ask in KINDS.values():
        ask()
    status, out, err = command(clf.main, "clf", "check-cache", "--json")
    record = json.loads(out)
    assert (status, err, record["ok"]) == (0, "", True)
    assert {file["name"] for file in record["files"]} == set(KINDS)
    assert {file["state"] for file in record["files"]} == {"whole"}
    for name in KINDS:
        keeping_its_time(cache_dir() / name, how)
    status, out, err = command(clf.main, "clf", "check-cache", "--json")
    record = json.loads(out)
    assert (status, err, record["ok"]) == (0, "", True)
    assert {file["name"] for file in record["files"]} == set(KINDS)
    assert all(file["state"] == "damaged" and file["removed"] for file in record["files"])
    status, out, _ = command(clf.main, "clf", "check-cache")
    assert status == 0
    assert not {name for name in KINDS if name in out} - set(DATABASES)


def test_check_cache_says_what_it_did(command):
    status, out, _ = command(clf.main, "clf", "check-cache")
    assert status == 0
    assert out.splitlines()[-1] == f"1 checked, 0 MB in {cache_dir()}: nothing is damaged"
    damage(cache_dir() / "sms_spam/SMSSpamCollection", flip)
    scratch = cache_dir() / "models/.tiny.abc.unfinished"
    scratch.mkdir(parents=True)
    os.utime(scratch, (0, 0))
    status, out, _ = command(clf.main, "clf", "check-cache")
    assert status == 0
    assert "damaged; removed" in out
    assert "left by a program that was killed; removed" in out
    assert out.splitlines()[-1] == f"2 checked, 0 MB in {cache_dir()}: 2 removed"
    assert not scratch.exists()
    shutil.rmtree(cache_dir())
    status, out, _ = command(clf.main, "clf", "check-cache")
    assert (status, out) == (0, f"there is nothing in the cache, {cache_dir()}\n")


def test_what_has_no_checksum_gets_one_if_it_is_whole(command):
    for name, ask in KINDS.items():
        ask()
        note_path(cache_dir() / name).unlink(missing_ok=True)
    fill_with_nan(cache_dir() / "embeddings/hashed-words.safetensors")
    cut(cache_dir() / "models/squares.safetensors")
    _, out, _ = command(clf.main, "clf", "check-cache", "--json")
    states = {file["name"]: file["state"] for file in json.loads(out)["files"]}
    assert states["embeddings/hashed-words.safetensors"] == "damaged"
    assert states["models/squares.safetensors"] == "damaged"
    assert states["sms_spam/SMSSpamCollection"] == "no checksum yet"
    _, out, _ = command(clf.main, "clf", "check-cache", "--json")
    states = {file["name"]: file["state"] for file in json.loads(out)["files"]}
    assert states["sms_spam/SMSSpamCollection"] == "whole"


def test_what_cannot_be_removed_is_one_line_and_a_failure(command, monkeypatch):
    monkeypatch.setattr("clfcore.cache.check.remove", lambda path: False)
    damage(cache_dir() / "sms_spam/SMSSpamCollection", flip)
    status, out, err = command(clf.main, "clf", "check-cache")
    assert status == 1
    assert out.splitlines()[-1].endswith(": 1 cannot be mended")
    status, out, err = command(clf.main, "clf", "check-cache", "--json")
    assert status == 1
    assert json.loads(out)["ok"] is False
    assert len(err.splitlines()) == 1
    assert "set TUNESHOT_CACHE to a folder that can be written" in err


def test_a_corpus_that_cannot_be_fetched_again_is_one_line(monkeypatch):
    damage(cache_dir() / "sms_spam/SMSSpamCollection", cut)
    monkeypatch.setattr(corpus, "CORPUS_SOURCES", ["/nowhere"])
    with pytest.raises(TuneshotError, match=r"is damaged: could not get .* clf data fetch --from"):
        load_messages()


@pytest.mark.parametrize("name", [name for name in KINDS if name.endswith(".safetensors")])
def test_on_a_full_disk_the_answer_comes_and_one_line_says_what_is_not_kept(name, capfd):
    with full_disk(cache_dir(), errno.ENOSPC):
        first, again = KINDS[name](), KINDS[name]()
    (line,) = capfd.readouterr().err.splitlines()
    assert "No space left on device" in line
    assert "set TUNESHOT_CACHE to a folder that can be written" in line
    assert not (cache_dir() / name).exists()
    assert not list(cache_dir().rglob("*.unfinished"))
    assert first == again == KINDS[name]()


# --- a language model: a folder of files -------------------------------------------------------


@pytest.fixture(scope="module")
def gguf(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("gguf")
    save_gguf(save_tiny_lm(folder / "tiny", "llama"), folder / "tiny.gguf")
    return folder / "tiny.gguf"


def read_with(gguf):
    return LocalLM(str(gguf), "float32").read("win a prize\nLabel:", [" ham", " spam"]).totals


@pytest.fixture(scope="module")
def converted(gguf, tmp_path_factory) -> Path:
    """A cache with the converted model in it."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNESHOT_CACHE", str(cache))
        read_with(gguf)
    return cache


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *((name, how) for name in ("model.safetensors", "tokenizer.json") for how in DAMAGES),
        *((name, flip) for name in ("config.json", "tokenizer_config.json", "chat_template.jinja")),
    ],
)
def test_a_converted_model_that_is_damaged_is_converted_again(
    name, how, gguf, converted, tmp_path, monkeypatch, capfd
):
    shutil.copytree(converted, tmp_path / "cache", dirs_exist_ok=True)
    right = read_with(gguf)
    assert capfd.readouterr().err == ""
    (file,) = cache_dir().glob(f"models/*/{name}")
    damage(file, how)
    assert read_with(gguf) == right
    making = "converting tiny (20 seconds or more)…"
    assert capfd.readouterr().err == (f"note: {file} was damaged, so it is made again: {making}\n")
    assert read_with(gguf) == right
    assert capfd.readouterr().err == ""


def test_weights_that_are_no_numbers_give_no_answer_even_where_the_time_is_the_one_noted(
    gguf, converted, tmp_path, command
):
    shutil.copytree(converted, tmp_path / "cache", dirs_exist_ok=True)
    right = read_with(gguf)
    (file,) = cache_dir().glob("models/*/model.safetensors")
    keeping_its_time(file, fill_with_nan)
    with pytest.raises(TuneshotError, match=r"computes what is no number.* run: clf check-cache"):
        read_with(gguf)
    status, out, _ = command(clf.main, "clf", "check-cache")
    assert status == 0
    assert "damaged (model.safetensors); removed" in out
    assert read_with(gguf) == right


def test_vectors_that_are_no_numbers_are_made_again_even_where_the_time_is_the_one_noted():
    right = embeddings()
    keeping_its_time(cache_dir() / "embeddings/hashed-words.safetensors", fill_with_nan)
    assert embeddings() == right


@pytest.mark.slow
def test_the_default_language_model_is_converted_again_and_says_the_same(monkeypatch, capfd):
    own = bundled_lm()
    with monkeypatch.context() as usual:
        usual.delenv("TUNESHOT_CACHE")
        right = read_with(DEFAULT_LM)  # converts it, if this machine has never seen it
        shutil.copytree(bundled_lm(), own)
    assert read_with(DEFAULT_LM) == right
    damage(own / "model.safetensors", flip)
    capfd.readouterr()
    for lines in (1, 0):
        assert read_with(DEFAULT_LM) == right
        said = capfd.readouterr().err.splitlines()
        assert len(said) == lines
        assert all("was damaged, so it is made again: converting" in line for line in said)
