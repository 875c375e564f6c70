"""Each remedy on a tiny classifier: what it keeps by construction; a stopped run goes on."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from clfcore.errors import TuneshotError
from clfcore.forgetting import classifier
from clfcore.forgetting.classifier import SecondTask, teach_classifier, with_head
from clfcore.forgetting.objectives import Measured, Mixed
from clfcore.forgetting.progressive import ProgressiveTrunk
from clfcore.forgetting.remedies import NONE, REMEDIES, USUAL, Remedy, check_remedies
from clfcore.forgetting.replay import Replay
from clfcore.forgetting.settings import ForgettingConfig
from clfcore.model.adapters import adapter_off
from clfcore.model.classifier import TextClassifier, class_logits
from clfcore.model.spec import Reading
from clfcore.training.loop import learn
from clfcore.training.resume import ResumableRun
from clfcore.types import Example
from tests.support.tiny import tiny, tiny_classifier

QUICK = ForgettingConfig(
    messages=12, test=4, batch_size=4, epochs=2, learning_rate=3e-3, every=2, rank=2,
    precision="float32",
)  # fmt: skip


def messages(n, first, second, start=0):
    return [
        Example(f"{(first, second)[i % 2]} number {start + i}", (first, second)[i % 2].split()[0])
        for i in range(n)
    ]


TASK = SecondTask(
    learned=messages(12, "news of rain", "story of a cat"),
    asked=messages(6, "news of rain", "story of a cat", 50),
    old=messages(8, "ham see you", "spam win now"),
    old_asked=messages(10, "ham see you", "spam win now", 90),
)


@pytest.fixture
def followed(monkeypatch):
    """What the loop was given and left, of the last run."""
    seen = {}

    def follow(learning, *arguments, **more):
        seen["learning"] = learning
        return original(learning, *arguments, **more)

    original = classifier.follow
    monkeypatch.setattr(classifier, "follow", follow)
    return seen


def answers(first, texts=tuple(e.text for e in TASK.old_asked)):
    return class_logits(first.model, [first.read(text) for text in texts])


# --- a whole run ----------------------------------------------------------------------------------


QUICKLY = ("replay_25", "ewc", "progressive")  # the others, too, but that takes a while


@pytest.mark.parametrize(
    "remedy",
    [pytest.param(n, marks=[] if n in QUICKLY else pytest.mark.slow) for n in REMEDIES],
)
def test_whatever_the_remedy_a_stopped_run_ends_with_the_same_bits(remedy, tmp_path, followed):
    def run(name, resume=False, stop=0):
        def on_progress(stage, done, total, figures):
            if stage == "learn" and stop and done == stop:
                raise KeyboardInterrupt

        resumable = ResumableRun(tmp_path / name, {"remedy": remedy}, 0, resume)
        record = teach_classifier(
            tiny_classifier(), TASK, remedy, QUICK, 5, on_progress=on_progress, resumable=resumable
        )
        state = followed["learning"].model.state_dict()
        return record["curve"], {name: weight.clone() for name, weight in state.items()}

    whole, weights = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("stopped", stop=4)
    torch.manual_seed(99)  # another process, another random state
    again, resumed = run("stopped", resume=True)
    assert again == whole
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)
    assert [point["step"] for point in whole][:2] == [0, 2]
    assert whole[0]["accuracy"] == 0.5  # a new head is undecided
    assert set(whole[0]) == {"step", "accuracy", "loss", "old_accuracy"}


@pytest.mark.parametrize("seed", [0, 1])
def test_the_new_task_is_learned_and_its_seed_decides_how(seed):
    config = replace(QUICK, epochs=6)
    one, same, other = (
        teach_classifier(tiny_classifier(), TASK, NONE, config, s) for s in (seed, seed, seed + 1)
    )
    assert one["curve"][-1]["accuracy"] > 0.9
    assert one["curve"] == same["curve"]
    assert one["curve"] != other["curve"]


# --- what remedies keep by construction -----------------------------------------------------------


def test_with_its_adapter_off_nothing_is_forgotten_for_no_old_weight_has_changed(followed):
    first = tiny_classifier()
    before, weights = answers(first), copy.deepcopy(first.model.state_dict())
    teach_classifier(first, TASK, "lora", QUICK, 0)
    assert not torch.allclose(answers(first), before, atol=1e-3)
    with adapter_off(followed["learning"].model):
        torch.testing.assert_close(answers(first), before)
    after = first.model.state_dict()
    for name, weight in weights.items():
        inside = name.replace(".weight", ".base_layer.weight").replace(".bias", ".base_layer.bias")
        assert torch.equal(after.get(inside, after.get(name)), weight)


def test_a_new_column_leaves_the_old_one_and_its_answers_as_they_were(followed):
    first = tiny_classifier()
    before, weights = answers(first), copy.deepcopy(first.model.state_dict())
    record = teach_classifier(first, TASK, "progressive", replace(QUICK, epochs=6), 0)
    assert torch.equal(answers(first), before)
    after = first.model.state_dict()
    assert all(torch.equal(weights[name], after[name]) for name in weights)
    assert len({point["old_accuracy"] for point in record["curve"]}) == 1
    trunk = followed["learning"].model.trunk
    assert record["curve"][-1]["accuracy"] > 0.9
    assert all(link.weight.abs().max() > 0 for link in trunk.links)


@pytest.mark.parametrize("position", ["last_token", "mean"])
@pytest.mark.parametrize("causal", [True, False])
def test_at_the_start_the_new_column_says_what_the_old_one_says(position, causal):
    reading = Reading(position, causal=causal)
    old = tiny(reading=reading)
    new = TextClassifier(ProgressiveTrunk(copy.deepcopy(old.trunk), 2), reading).eval()
    new.trunk.out_head = old.trunk.out_head
    tokens = [[7, 101, 102], [103], [104, 105, 106, 107, 108]]
    torch.testing.assert_close(class_logits(new, tokens), class_logits(old, tokens))


def test_the_links_bring_what_the_old_column_reads():
    """With the identity as first link, the first block reads both embeddings' sum."""
    old = tiny().trunk
    both = ProgressiveTrunk(copy.deepcopy(old), 2).eval()
    ids = torch.tensor([[7, 101, 102]])
    with torch.no_grad():
        both.links[0].weight.copy_(torch.eye(old.emb_dim))
        x = old.lower(ids, 0)
        expected = old.final_norm(old.trf_blocks[1](old.trf_blocks[0](2 * x)))
        torch.testing.assert_close(both.hidden(ids), expected)


def test_only_the_upper_layers_learn(followed):
    first = tiny_classifier()
    embedding = first.model.trunk.tok_emb.weight.clone()
    teach_classifier(first, TASK, "upper_layers", QUICK, 0)
    assert torch.equal(first.model.trunk.tok_emb.weight, embedding)
    learned = {n for n, w in followed["learning"].model.named_parameters() if w.requires_grad}
    assert learned
    assert not any("emb" in name for name in learned)


def test_the_old_head_is_never_trained(followed):
    for remedy in (NONE, "replay_50", "ewc"):
        first = tiny_classifier()
        before = first.model.trunk.out_head.weight.clone()
        teach_classifier(first, TASK, remedy, QUICK, 0)
        assert torch.equal(first.model.trunk.out_head.weight, before)


def test_replay_shows_old_rows_in_the_loop_as_it_says(followed, monkeypatch):
    shown = []
    original = Replay.weight

    def weight(self, rows):
        shown.append(sum(row >= self.first for row in rows))
        return original(self, rows)

    monkeypatch.setattr(Replay, "weight", weight)
    teach_classifier(tiny_classifier(), TASK, "replay_25", QUICK, 0)
    assert shown == [1] * 8  # of four rows; 12 new and 4 old ones are four steps, twice


def test_a_held_weight_moves_less_and_a_new_head_is_free(followed):
    def moved(remedy):
        first = tiny_classifier()
        start = first.model.trunk.tok_emb.weight.clone()
        teach_classifier(first, TASK, remedy, replace(QUICK, epochs=4), 0)
        return float((first.model.trunk.tok_emb.weight.detach() - start).norm())

    moves = {name: moved(name) for name in (NONE, "l2", "low_rate")}
    assert moves["l2"] < moves[NONE]
    assert moves["low_rate"] < moves[NONE] / 2
    held = REMEDIES["l2"].around(followed["learning"])
    assert "trunk.out_head.weight" not in held.pulls
    assert "trunk.tok_emb.weight" in held.pulls
    held = REMEDIES["ewc"].around(followed["learning"])
    assert "trunk.out_head.weight" not in held.pulls  # the old task does not use it


# --- WiSE-FT --------------------------------------------------------------------------------------


class OnlyMeasured:
    """An objective whose validation is one weight of the model."""

    rows, lengths = (0,), (1,)

    def __init__(self, model):
        self.model = model

    def validate(self):
        return float(self.model.trunk.tok_emb.weight[0, 0]), 0.0


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (1.0, 3.0), (0.25, 1.5)])
def test_mixed_weights_are_measured_and_learned_ones_come_back(share, expected):
    model = tiny()
    with torch.no_grad():
        model.trunk.tok_emb.weight.fill_(1.0)
    mixed = Mixed(OnlyMeasured(model), model, share)
    with torch.no_grad():
        model.trunk.tok_emb.weight.fill_(3.0)
        model.trunk.out_head.weight.fill_(5.0)
    learned = copy.deepcopy(model.state_dict())
    assert mixed.validate()[0] == pytest.approx(expected)
    assert all(torch.equal(learned[name], w) for name, w in model.state_dict().items())
    with mixed.used():
        assert float(model.trunk.out_head.weight.detach().max()) == 5.0  # a new head stays


def test_with_all_of_the_learned_weights_it_is_no_remedy_and_with_none_nothing_changes(monkeypatch):
    curves = {}
    for share in (0.0, 1.0):

        def mix(learning, share=share):
            return Mixed(learning.new, learning.model, share)

        monkeypatch.setitem(REMEDIES, "mixed", Remedy("", around=mix))
        curves[share] = teach_classifier(tiny_classifier(), TASK, "mixed", QUICK, 0)["curve"]
    assert curves[1.0] == teach_classifier(tiny_classifier(), TASK, NONE, QUICK, 0)["curve"]
    assert len({point["old_accuracy"] for point in curves[0.0]}) == 1


# --- the parts ------------------------------------------------------------------------------------


def test_another_head_stands_on_the_same_blocks():
    first = tiny()
    twin = with_head(first.trunk, torch.nn.Linear(first.trunk.emb_dim, 3))
    assert twin.out_head.out_features == 3
    assert first.trunk.out_head.out_features == 2
    assert twin.trf_blocks is first.trunk.trf_blocks
    assert twin.tok_emb is first.trunk.tok_emb


def test_every_validation_measures_the_scores():
    model = tiny()
    measured = Measured(OnlyMeasured(model), {"two": lambda: 2.0}, lambda: (0.3, 0.8))
    assert measured.validate() == (0.3, 0.8, {"two": 2.0})


def test_the_loop_takes_the_order_that_it_is_given():
    from clfcore.forgetting.run import loop_config
    from clfcore.training.classification import Labels
    from clfcore.training.settings import TrainConfig
    from tests.support.tiny import toy_data

    seen = []

    class Noted(Labels):
        def weight(self, rows):
            seen.append(rows)
            return super().weight(rows)

    config = TrainConfig(layers="all", balance="none", **loop_config(REMEDIES[NONE], QUICK, 0))
    model = tiny()
    data = toy_data(8)
    steps = [[3, 1, 2, 0], [7, 6, 5, 4]]
    learn(model, Noted(model, data, data, config, None, None), config,
          order=lambda size, rng: iter(steps))  # fmt: skip
    assert seen == steps * QUICK.epochs


def test_without_a_remedy_is_always_among_them_and_first():
    assert check_remedies(["lora", "ewc", "lora"], columns=False) == [NONE, "lora", "ewc"]
    assert check_remedies([], columns=False) == [NONE]
    assert set(USUAL) <= set(REMEDIES)
    with pytest.raises(TuneshotError, match="unknown remedy 'progressive'; choose from none, "):
        check_remedies(["progressive"], columns=False)
    assert check_remedies(["progressive"], columns=True) == [NONE, "progressive"]


def test_all_remedies_say_in_a_sentence_what_they_do():
    assert all(remedy.help.endswith(".") for remedy in REMEDIES.values())
    shares = [name.removeprefix("replay_") for name in REMEDIES if name.startswith("replay_")]
    assert shares == ["1", "5", "25", "50"]
    assert np.isclose(REMEDIES["low_rate"].rate, 0.1)
