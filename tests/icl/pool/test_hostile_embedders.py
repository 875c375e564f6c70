"""A folder for ``--embedder`` may come from a stranger: whatever it holds, one line says why."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clfcore.errors import TuneshotError
from icl.pool.embed import SentenceEmbedder, check_embedder
from tests.support import hostile_embedders
from tests.support.hostile_embedders import EMBEDDERS, MODULES

TEXTS = ["hi there", "hi " * 40]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return hostile_embedders.good_embedder(tmp_path_factory.mktemp("good"))


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def copy(good, to):
    return Path(shutil.copytree(good, to, copy_function=os.link))


def test_a_good_folder_gives_vectors_of_length_1(good):
    vectors = SentenceEmbedder(str(good)).embed(TEXTS)
    assert vectors.shape == (2, 4)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)


def test_so_does_one_of_transformers_alone_or_from_the_cache_of_hugging_face(good, tmp_path):
    alone = copy(good, tmp_path / "alone")
    (alone / MODULES).unlink()
    assert SentenceEmbedder(str(alone)).embed(TEXTS).shape == (2, 16)
    snapshot, blobs = tmp_path / "snapshots" / "abc", tmp_path / "blobs"
    blobs.mkdir()
    for number, path in enumerate(file for file in good.rglob("*") if file.is_file()):
        (blobs / str(number)).hardlink_to(path)
        link = snapshot / path.relative_to(good)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blobs / str(number))
    (snapshot / "3_Normalize").mkdir()
    assert SentenceEmbedder(str(snapshot)).embed(TEXTS).shape == (2, 4)


def test_a_folder_is_checked_without_torch_or_transformers(good):
    code = (
        "import sys; from icl.pool.embed import check_embedder; check_embedder(sys.argv[1])\n"
        "print(*({'torch', 'transformers', 'sentence_transformers'} & sys.modules.keys()))"
    )
    command = (sys.executable, "-c", code, str(good))
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stderr, done.stdout.strip()) == ("", "")


@pytest.mark.parametrize("harm", EMBEDDERS.values(), ids=EMBEDDERS)
def test_a_hostile_folder_is_one_line_runs_nothing_and_prints_nothing(good, tmp_path, harm, capfd):
    folder = copy(good, tmp_path / "it")
    harm(folder)
    capfd.readouterr()
    with pytest.raises(TuneshotError) as caught:
        SentenceEmbedder(str(folder)).embed(TEXTS)
    line = str(caught.value)
    assert str(folder) in line
    assert "\n" not in line
    assert len(line) < 1500
    assert not Path(f"{folder}-ran").exists()
    assert capfd.readouterr().err == ""


def test_a_matrix_that_is_not_numbers_is_refused_before_a_library_is_imported(good, tmp_path):
    folder = copy(good, tmp_path / "it")
    EMBEDDERS["the matrix is NaN"](folder)
    with pytest.raises(TuneshotError, match="not finite numbers"):
        check_embedder(str(folder))
