"""Whatever is kept in the cache may be damaged: the answer is the same, and one line says so.

Each kind of file is made by the code that keeps it, with small stand-ins for the models.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clfcore.cache.database import ANSWERS, DiskCache
from clfcore.paths import cache_dir
from icl.lm.local import LocalLM
from icl.pool.embed import embed_cached
from icl.priors.batch import BatchPrior
from tests.support.doubles import HashedWords, save_tiny_lm
from tests.support.tiny_gguf import save_gguf

TEXTS = [f"message {i}" for i in range(40)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path / "cache"))


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


# What is kept, how it is asked for, and what to change in the file for an answer to be another one.
KINDS: dict[str, Callable[[], object]] = {
    "embeddings/hashed-words.safetensors": embeddings,
    "models/squares.safetensors": tensors,
    "priors.sqlite": prior,
    "answers.sqlite": answer,
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
    assert capfd.readouterr().err == (
        f"note: {cache_dir() / name} was damaged, so it is made again\n"
    )
    assert ask() == right
    assert capfd.readouterr().err == ""


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
    shutil.copytree(converted, tmp_path / "cache")
    right = read_with(gguf)
    assert capfd.readouterr().err == ""
    (file,) = cache_dir().glob(f"models/*/{name}")
    damage(file, how)
    assert read_with(gguf) == right
    making = "converting tiny (20 seconds or more)…"
    assert capfd.readouterr().err == (f"note: {file} was damaged, so it is made again: {making}\n")
    assert read_with(gguf) == right
    assert capfd.readouterr().err == ""
