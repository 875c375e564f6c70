"""A wrong choice is refused before anything heavy is imported; tables have one place to add to."""

import subprocess
import sys

import pytest
import torch

from clfcore.errors import TuneshotError
from clfcore.model.adapters import ADAPTERS, Adapter, adapt, adapter_record, merge
from clfcore.training.classification import fit
from clfcore.training.settings import LAYERS, LECTURE_NAMES, TrainConfig, settings_for
from tests.support.tiny import tiny, toy_data

HEAVY = {"torch", "sklearn", "scipy", "transformers", "tiktoken"}


def imported_with(statement):
    code = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return HEAVY & set(run.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import clfcore.training.settings",
        "from clfcore.weights.meta import BUNDLED, read_meta; read_meta(BUNDLED)",
    ],
)
def test_settings_and_descriptions_need_no_heavy_library(statement):
    assert imported_with(statement) == set()


def test_an_adapter_is_added_in_one_place(monkeypatch):
    def biases(trunk, spec):
        for name, weight in trunk.trf_blocks.named_parameters():
            weight.requires_grad_(name.endswith(".bias"))

    monkeypatch.setitem(ADAPTERS, "biases", Adapter(biases))
    assert list(LAYERS)[-2:] == ["biases", "none"]
    with pytest.raises(TuneshotError, match=r"unknown layers 'bias'; choose .*, biases, none"):
        TrainConfig(layers="bias")
    config = settings_for("gpt2-mini", layers="biases", balance="none", epochs=2)

    model, before = tiny(), tiny().state_dict()
    adapt(model, config.layers, config.rank, total_steps=2, seed=0)
    fit(model, toy_data(), toy_data(), config)
    trained = {name for name, weight in model.state_dict().items()
               if not torch.equal(weight, before[name])}  # fmt: skip
    head = {"trunk.out_head.weight", "trunk.out_head.bias"}
    assert head < trained
    assert all(name.endswith(".bias") for name in trained - head)
    assert adapter_record(model)["name"] == "biases"
    merge(model)
    assert model.adapter is None


@pytest.mark.parametrize(("slide", "ours"), LECTURE_NAMES.items())
def test_the_lectures_names_of_layers_are_other_words_for_ours(slide, ours):
    assert TrainConfig(layers=slide) == TrainConfig(layers=ours)
    assert settings_for("gpt2-mini", layers=slide) == settings_for("gpt2-mini", layers=ours)
    assert slide not in LAYERS
    assert ours in LAYERS


def test_the_lectures_names_stand_in_help_and_work_there(command):
    from clfcore.cli.clf import main

    _, out, _ = command(main, "clf", "train", "--help")
    told = " ".join(out.split())
    for slide, ours in LECTURE_NAMES.items():
        assert f"{slide} ({ours})" in told
