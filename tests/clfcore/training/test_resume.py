"""A run that is continued from a file: whatever the file holds, it continues or is one line."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from clfcore.errors import TuneshotError
from clfcore.training.classification import fit
from clfcore.training.resume import ResumableRun
from clfcore.training.settings import TrainConfig
from tests.support.tiny import tiny, toy_data

RUN = {"base": "tiny"}
WEIGHT = "weight/trunk.final_norm.scale"
MOMENT = "moment/trunk.final_norm.scale/exp_avg"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A file of a run that has done a step: its tensors and its header."""
    out = tmp_path_factory.mktemp("runs") / "run"
    continue_(out, resume=False)
    path = out.with_name("run.unfinished")
    with safe_open(path, "pt") as file:
        return load_file(path), json.loads(file.metadata()["state"])


def continue_(out, resume=True):
    resumable = ResumableRun(out, RUN, 0.0, resume)
    config = TrainConfig(layers="last_block", balance="none", epochs=1, batch_size=10)
    data = toy_data()
    start = resumable.load()
    return fit(tiny(), data, data, config, resume=start, on_state=resumable.save_if_due)


def write(path, tensors, header):
    text = header if isinstance(header, str) else json.dumps(header)
    save_file(tensors, path, metadata={"state": text})


def test_a_whole_file_is_continued(stopped, tmp_path):
    write(tmp_path / "run.unfinished", *stopped)
    assert continue_(tmp_path / "run")[-1].step == 4


def test_what_an_objective_measures_more_is_continued_too(stopped, tmp_path):
    tensors, header = stopped
    measured = STEP | {"figures": {"margin": 0.5, "kl": 0.1}}
    write(tmp_path / "run.unfinished", tensors, header | {"history": [measured]})
    assert continue_(tmp_path / "run")[0].figures == measured["figures"]


STEP = {"step": 1, "steps": 4, "epoch": 1, "examples_seen": 10, "loss": 0.5}


@pytest.mark.parametrize(
    "changed",
    [
        {"step": 10**15}, {"step": -1}, {"step": "1"}, {"step": 1.5}, {"step": None},
        {"examples_seen": "10"}, {"since_best": True}, {"best_loss": "low"}, {"tally": [1]},
        {"tally": ["a", "b", "c"]}, {"tally": None}, {"run": None}, {"run": [1]},
        {"history": "abc"}, {"history": [STEP | {"loss": "\x1b[2J"}]}, {"history": [{"x": 1}]},
        {"history": [STEP | {"figures": "many"}]}, {"history": [STEP | {"figures": {"kl": "0"}}]},
        {"unknown": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_header_that_is_not_one_of_a_run_is_one_line(stopped, tmp_path, changed):
    tensors, header = stopped
    write(tmp_path / "run.unfinished", tensors, header | changed)
    assert "\n" not in the_line(tmp_path / "run")


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, "null"])
def test_a_header_that_is_no_object_is_one_line(stopped, tmp_path, text):
    write(tmp_path / "run.unfinished", stopped[0], text)
    assert "remove it and train again" in the_line(tmp_path / "run")


@pytest.mark.parametrize(
    "changed",
    [
        {WEIGHT: None}, {"random": None}, {WEIGHT: torch.zeros(3)}, {MOMENT: torch.zeros(7)},
        {WEIGHT: torch.full((32,), float("nan"))}, {"random": torch.zeros(10, dtype=torch.uint8)},
        {"random": torch.zeros(5056)},
    ],
    ids=lambda changed: str({name: t if t is None else t.shape for name, t in changed.items()}),
)  # fmt: skip
def test_tensors_that_are_not_those_of_the_run_are_one_line(stopped, tmp_path, changed):
    tensors, header = stopped
    assert tensors.keys() >= changed.keys()
    kept = {name: tensor for name, tensor in (tensors | changed).items() if tensor is not None}
    write(tmp_path / "run.unfinished", kept, header)
    the_line(tmp_path / "run")


def the_line(out):
    with pytest.raises(TuneshotError) as caught:
        continue_(out)
    return str(caught.value)
