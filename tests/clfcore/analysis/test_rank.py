"""Rank in closed form: of the lecture's matrix, of known changes, of LoRA's."""

import json

import numpy as np
import pytest
import torch

from clfcore.analysis.rank import (
    SLIDE,
    Change,
    at_random,
    factors,
    load_tuned,
    missed,
    rank_figure,
    rank_for,
)
from clfcore.cli.clf import main
from clfcore.errors import TuneshotError
from clfcore.model.adapters import adapt, adapter_record
from clfcore.model.classifier import TextClassifier
from clfcore.model.spec import Reading
from clfcore.weights.bases import fingerprint, load_base
from clfcore.weights.checkpoint import load_checkpoint, save_checkpoint
from clfcore.weights.meta import Meta
from tests.support.lazy import lazy

transformers = lazy("transformers")


# --- the lecture's matrix -----------------------------------------------------------------------


def test_the_lectures_matrix_has_rank_two_for_its_third_column_tells_nothing_new():
    a, b, c = SLIDE.T
    assert np.array_equal(c, 2 * a + b)
    basis, mixing = factors(SLIDE)
    assert np.array_equal(basis, np.stack([a, b], axis=1))
    assert mixing == pytest.approx(np.array([[1, 0, 2], [0, 1, 1]]))


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_factors_are_as_narrow_as_the_rank_and_give_the_matrix(rank):
    rng = np.random.default_rng(rank)
    matrix = rng.normal(size=(8, rank)) @ rng.normal(size=(rank, 5))
    basis, mixing = factors(matrix)
    assert (basis.shape, mixing.shape) == ((8, rank), (rank, 5))
    assert basis @ mixing == pytest.approx(matrix)


def test_the_command_without_a_checkpoint_shows_the_lectures_matrix(command):
    status, out, _ = command(main, "clf", "rank")
    assert status == 0
    assert "1   4   6     1   4     1   0   2" in out
    assert "rank 2: the third column is 2 times the first plus the second" in out
    record = json.loads(command(main, "clf", "rank", "--json")[1])
    assert (record["rank"], record["singular_values"][2]) == (2, 0)
    assert (np.array(record["factors"][0]) @ record["factors"][1]).tolist() == record["matrix"]


# --- what is missed -----------------------------------------------------------------------------


def change(*values: float) -> Change:
    return Change("m", (len(values), len(values)), 1.0, np.array(values))


def test_what_a_rank_misses_is_the_rest_of_the_squared_singular_values():
    of = [change(4, 2, 2, 1)]  # squares: 16, 4, 4, 1
    assert [missed(of, rank) for rank in range(5)] == [1, 9 / 25, 5 / 25, 1 / 25, 0]
    assert [rank_for(of, share) for share in (0, 0.5, 0.64, 0.9, 1)] == [0, 1, 1, 3, 4]


def test_matrices_together_weigh_by_their_size():
    assert missed([change(3, 0), change(0.6, 0.8)], 1) == pytest.approx(0.64 / 10)


def test_the_control_is_as_large_and_has_no_direction_that_stands_out():
    of = [Change("m", (40, 40), 0.1, np.array([5.0, *[0.0] * 39]))]
    (noise,) = at_random(of)
    assert np.linalg.norm(noise.singular_values) == pytest.approx(5)
    assert missed(of, 1) == 0
    assert missed([noise], 1) > 0.85
    assert np.array_equal(at_random(of)[0].singular_values, noise.singular_values)


# --- a checkpoint and its base ------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A random GPT-2 with a width of 8, in a folder."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("rank") / "base"
    config = transformers.GPT2Config(n_positions=16, n_embd=8, n_head=2, n_layer=2)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def saved(base, tmp_path):
    """Saves what ``train`` makes of the base's trunk; returns the folder."""

    def save(train, layers="all"):
        start = load_base(base, 2)
        meta = {"fingerprint": fingerprint(start.trunk), "about": {"base": base}}
        model = TextClassifier(start.trunk, Reading())
        with torch.no_grad():
            train(model)
        meta |= (
            {"source": base, "adapter": adapter_record(model)}
            if model.adapter
            else {"model": start.trunk.cfg}
        )
        save_checkpoint(tmp_path / "run", model, Meta("tiny", ("ham", "spam"), **meta))
        return tmp_path / "run"

    return save


def with_two_directions(model):
    """The change of one matrix has singular values 4 and 1."""
    weight = model.trunk.trf_blocks[1].att.W_key.weight
    weight[0, 0] += 4
    weight[1, 1] += 1


def test_a_known_change_is_found_where_it_was_made(saved):
    tuned = load_tuned(saved(with_two_directions), trust_source=True)
    (found,) = tuned.changes()
    assert (found.name, found.shape) == ("1.att.W_key", (8, 8))
    assert found.singular_values == pytest.approx([4, 1, *[0] * 6], abs=1e-6)
    old = tuned.before.trf_blocks[1].att.W_key.weight
    assert found.size == pytest.approx(17**0.5 / float(old.detach().norm()), rel=1e-5)
    assert missed([found], 1) == pytest.approx(1 / 17)


def test_a_checkpoint_cut_to_a_rank_keeps_the_larger_direction(saved):
    folder = saved(with_two_directions)
    tuned = load_tuned(folder, trust_source=True)
    old = tuned.before.trf_blocks[1].att.W_key.weight.detach().clone()
    cut = tuned.cut_to(1).model.trunk.trf_blocks[1].att.W_key.weight - old
    wanted = torch.zeros(8, 8)
    wanted[0, 0] = 4
    torch.testing.assert_close(cut.detach(), wanted, atol=1e-5, rtol=0)
    again = tuned.cut_to(0).model.trunk.trf_blocks[1].att.W_key.weight
    assert torch.equal(again.detach(), old), "of rank 0 nothing is left"


def test_loras_change_has_its_rank(saved):
    def with_lora(model):
        adapt(model, "lora", 2, 1, 0)
        for name, weight in model.trunk.named_parameters():
            if "lora" in name:
                torch.nn.init.normal_(weight)

    found = load_tuned(saved(with_lora), trust_source=True).changes()
    assert len(found) == 12
    assert all(rank_for([each], 1 - 1e-9) == 2 for each in found)
    assert missed(found, 2) == pytest.approx(0, abs=1e-9)
    assert missed(found, 1) > 0.01


def test_what_did_not_change_has_no_rank(saved):
    with pytest.raises(TuneshotError, match="no matrix of its blocks was changed"):
        load_tuned(saved(lambda model: None), trust_source=True).changes()


def test_a_base_in_another_folder_has_to_be_trusted(saved, base):
    with pytest.raises(TuneshotError, match="--trust-source"):
        load_tuned(saved(with_two_directions))


def test_the_bundled_model_does_not_say_which_weights_it_started_from(command):
    from clfcore.weights.meta import BUNDLED

    status, _, err = command(main, "clf", "rank", BUNDLED)
    assert (status, "does not know which weights it started from; train" in err) == (1, True)


def test_another_base_of_that_name_is_refused(saved, base, monkeypatch):
    folder = saved(with_two_directions)
    path = folder / "meta.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "fingerprint": "0" * 64}))
    with pytest.raises(TuneshotError, match="was trained from other weights"):
        load_tuned(folder, trust_source=True)


def test_the_figure_has_a_line_for_each_matrix_one_for_all_and_the_control():
    figure = rank_figure([change(4, 2, 1), change(1, 1, 1)], "$x")
    lines = figure.axes[0].lines
    assert [line.get_label() for line in lines[2:]] == ["all matrices together", "random numbers"]
    assert lines[2].get_ydata() == pytest.approx([7 / 24, 2 / 24, 0])


def test_the_command_shows_saves_and_draws(command, saved, tmp_path):
    folder = saved(with_two_directions)
    arguments = ("rank", folder, "--rank", "1", "--trust-source")
    status, out, err = command(
        main, "clf", *arguments, "--save", tmp_path / "cut", "--out", tmp_path / "rank.png"
    )
    assert status == 0, err
    row = next(line for line in out.splitlines() if "1.att.W_key" in line)
    assert [cell.strip() for cell in row.split("│")[4:6]] == ["1", "5.9%"]
    assert (tmp_path / "rank.png").exists()
    kept = load_checkpoint(tmp_path / "cut").meta
    assert (kept.name, kept.about["rank"]) == ("tiny, rank 1", 1)
    record = json.loads(command(main, "clf", *arguments, "--json")[1])
    assert record["all"] == {"rank_for_90_percent": 1, "missed": pytest.approx(1 / 17)}
    assert record["matrices"][0]["singular_values"][:2] == [4, 1]


def test_what_is_saved_or_drawn_is_of_a_checkpoint(command):
    status, _, err = command(main, "clf", "rank", "--save", "x")
    assert (status, "name its FOLDER" in err) == (2, True)
