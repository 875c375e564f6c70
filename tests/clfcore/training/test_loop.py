"""Batching, the loop and calibration, on a tiny GPT."""

import copy
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from clfcore.errors import TuneshotError
from clfcore.model.batching import Encoded, by_length, of_equal_length, pad, shuffled
from clfcore.model.classifier import class_logits
from clfcore.model.gpt import GPTModel
from clfcore.model.spec import POSITIONS, GPTConfig, Reading
from clfcore.model.trainable import TRAINABLE, freeze_all_but, frozen_depth
from clfcore.training.calibrate import calibrate, threshold_for
from clfcore.training.classification import fit
from clfcore.training.frozen import ActivationCache, offloaded_below
from clfcore.training.loop import TrainingState
from clfcore.training.recipe import mix_with
from clfcore.training.settings import PADDINGS, SCHEDULES, SETTINGS, TrainConfig, settings_for
from tests.support.tiny import CFG, all_logits, loss_and_accuracy, tiny, toy_data

QUICK = TrainConfig(
    epochs=3, batch_size=4, learning_rate=3e-3, embedding_learning_rate=3e-3,
    layers="all", balance="none", precision="float32",
)  # fmt: skip


# --- batching ---

token_lists = st.lists(st.lists(st.integers(0, 50256), min_size=1, max_size=9), min_size=1)


@given(token_lists, st.integers(1, 7))
def test_every_message_is_in_exactly_one_batch_with_its_own_tokens(tokens, size):
    lengths, rng = [len(ids) for ids in tokens], np.random.default_rng(0)
    order = shuffled(lengths, range(len(tokens)), size, rng)
    for batches in (by_length(tokens, size), (pad(tokens, rows) for rows in order)):
        seen = []
        for batch in batches:
            assert len(batch.rows) <= size
            for ids, length, row in zip(batch.ids, batch.lengths, batch.rows, strict=True):
                assert ids[:length].tolist() == tokens[row]
                seen.append(row)
        assert sorted(seen) == list(range(len(tokens)))


@given(st.lists(st.integers(1, 5), min_size=1))
def test_messages_of_equal_length_need_no_padding(lengths):
    groups = of_equal_length(lengths, range(len(lengths)))
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    assert all(len({lengths[row] for row in group}) == 1 for group in groups)
    assert len(groups) == len(set(lengths))


def logits(model, batch):
    return model(batch.ids, batch.lengths)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("causal", [True, False])
def test_padding_does_not_change_an_answer(position, causal):
    model = tiny(reading=Reading(position, 32 if position == "last_column" else None, causal))
    short, long = ([*model.reading.tokens(ids, 32)] for ids in ([5, 6, 7], list(range(30))))
    with torch.inference_mode():
        alone = logits(model, pad([short], [0]))
        beside = logits(model, pad([short, long], [0, 1]))[:1]
        wide = logits(model, pad([short], [0], width=32))
    torch.testing.assert_close(alone, beside, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone, wide, atol=1e-5, rtol=1e-5)


def test_the_padding_token_inside_a_message_is_read_like_any_other():
    model = tiny()
    for padding in (0, 50256):
        with torch.inference_mode():
            with_it = logits(model, pad([[5, padding]], [0]))
            without = logits(model, pad([[5], [5, 6]], [0, 1]))[:1]
        assert not torch.allclose(with_it, without)


# --- where a message is read --------------------------------------------------------------------


def whole(model, ids):
    """The normalised stream of one message, every position of every block computed: (T, C)."""
    seen = None if model.reading.causal else torch.ones(1, len(ids), dtype=torch.bool)
    x = model.trunk.lower(torch.tensor([ids]), 0, seen)
    return model.trunk.upper(x, 0, seen)[0]


@pytest.mark.parametrize("position", ["last_token", "first", "mean"])
@pytest.mark.parametrize("causal", [True, False])
def test_computing_one_position_gives_what_computing_all_of_them_gives(position, causal):
    model = tiny(reading=Reading(position, None, causal))
    for weight in model.parameters():  # biases start at zero, where a mistake would not show
        weight.data += 0.05 * torch.randn_like(weight)
    messages = [[1, 2, 3, 4, 5], [6, 7], [8]]
    batch = pad(messages, [0, 1, 2])
    with torch.no_grad():
        read = [
            {"last_token": h[-1], "first": h[0], "mean": h.mean(dim=0)}[position]
            for h in (whole(model, ids) for ids in messages)
        ]
        expected = model.trunk.out_head(torch.stack(read))
        for depth in range(CFG.n_layers + 1):
            x = model.below(batch.ids, batch.lengths, depth)
            logits = model.above(x, batch.lengths, depth)
            torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)


def test_the_last_column_reads_padding_as_the_book_does():
    model = tiny(reading=Reading("last_column", 8))
    ids = model.reading.tokens([5, 6, 7], 32)
    assert ids == [5, 6, 7] + [50256] * 5
    assert model.reading.tokens(list(range(20)), 32) == list(range(8))  # cut, not only padded
    assert model.reading.tokens(list(range(20)), 6) == list(range(6)) + [50256] * 2
    with torch.no_grad():
        expected = model.trunk.out_head(whole(model, ids)[-1])
        torch.testing.assert_close(class_logits(model, [ids])[0], expected)


def test_without_the_causal_mask_the_first_token_sees_the_last():
    def first(causal, last):
        with torch.no_grad():
            model = tiny(reading=Reading("first", None, causal))
            return logits(model, pad([[1, 2, last]], [0]))

    assert torch.equal(first(True, 3), first(True, 4))
    assert not torch.equal(first(False, 3), first(False, 4))


@pytest.mark.parametrize("position", ["last_token", "first", "mean"])
@pytest.mark.parametrize("depth", [1, 2])
def test_the_frozen_part_is_computed_once_and_changes_no_logit(position, depth):
    model, data = tiny(reading=Reading(position)), toy_data()
    streams = ActivationCache(model, data.tokens, depth, "float32")
    batch = pad(data.tokens, [3, 0, 17])
    with torch.no_grad():
        cached = model.above(*streams.batch([3, 0, 17]), depth)
        torch.testing.assert_close(cached, logits(model, batch), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("layers", TRAINABLE)
def test_the_loss_curve_with_the_frozen_part_cached_is_that_without(layers, monkeypatch):
    data, curves = toy_data(), []
    for cached in (True, False):
        monkeypatch.setattr(ActivationCache, "fits_in_memory", lambda *_, cached=cached: cached)
        model, losses = tiny(), []
        freeze_all_but(model.trunk, layers)
        fit(
            model, data, data, replace(QUICK, layers=layers), lambda s, to=losses: to.append(s.loss)
        )
        curves.append(losses)
    assert len(curves[0]) == 30
    assert curves[0] == pytest.approx(curves[1], abs=2e-3)


DROPPING = replace(CFG, drop_rate=0.3)


def of_one_length(n: int = 40) -> Encoded:
    """So that a pass over the cache is as wide as one over the tokens, and dropout draws alike."""
    data = toy_data(n)
    return Encoded([(ids * 16)[:16] for ids in data.tokens], data.labels)


def test_frozen_blocks_do_not_drop_out_whether_or_not_their_output_is_kept(monkeypatch):
    data, curves = of_one_length(), []
    for cached in (True, False):
        monkeypatch.setattr(ActivationCache, "fits_in_memory", lambda *_, cached=cached: cached)
        model, losses = tiny(cfg=DROPPING), []
        freeze_all_but(model.trunk, "last_block")
        config = replace(QUICK, layers="last_block")
        fit(model, data, data, config, lambda s, to=losses: to.append(s.loss))
        curves.append(losses)
    assert curves[0] == pytest.approx(curves[1], abs=2e-3)


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize(
    ("layers", "modes"),
    [
        ("last_layer", [False, False, False]),
        ("last_block", [False, False, True]),
        ("last_four_blocks", [True, True, True]),
        ("all", [True, True, True]),
    ],
)
def test_what_learns_drops_out_and_the_frozen_blocks_below_do_not(layers, modes, cut, monkeypatch):
    """Of some trunks no part is a decoder, so nothing of them can be kept; they do not drop out."""
    if not cut:
        monkeypatch.setattr(GPTModel, "depth_below", lambda self, depth: 0)
    seen, model = [], tiny(cfg=replace(DROPPING, n_layers=3))
    freeze_all_but(model.trunk, layers)

    def look(step):
        seen.append([block.training for block in model.trunk.trf_blocks])
        assert model.trunk.drop_emb.training is all(modes)

    fit(model, toy_data(), toy_data(), replace(QUICK, layers=layers, epochs=1), after_step=look)
    assert seen == [modes] * 10
    assert not any(part.training for part in model.modules())


# --- the loop -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_resting_weights_are_the_same_weights(dtype):
    model, awake = tiny().to(dtype), tiny().to(dtype)
    ids, lengths = torch.tensor([[7, 8, 9]]), torch.tensor([3])
    with torch.inference_mode():
        with offloaded_below(model.trunk, depth=1):
            first, second = model(ids, lengths), model(ids, lengths)
        torch.testing.assert_close([first, second, model(ids, lengths)], [awake(ids, lengths)] * 3)
    assert same_weights(model, awake)
    copy.deepcopy(model).trunk.tok_emb.weight.data.zero_()  # ordinary tensors, which can be changed
    assert same_weights(model, awake)


def test_where_no_file_can_be_written_the_weights_stay_in_memory(monkeypatch, capfd):
    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full_disk)
    model, ids, lengths = tiny(), torch.tensor([[7, 8, 9]]), torch.tensor([3])
    with torch.inference_mode(), offloaded_below(model.trunk, depth=1):
        torch.testing.assert_close(model(ids, lengths), tiny()(ids, lengths))
    assert capfd.readouterr().err.count("TUNESHOT_CACHE") == 1


RESTING = """
import os, torch
from pathlib import Path
from clfcore.model.spec import GPTConfig
from clfcore.model.gpt import GPTModel
from clfcore.training.frozen import offloaded_below

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

cfg = GPTConfig(vocab_size=64, context_length=8, emb_dim=2048, n_heads=2, n_layers=1)
trunk = GPTModel(cfg)  # two matrices of 67 MB: allocators keep smaller ones for later
before = resident()
with torch.inference_mode(), offloaded_below(trunk, depth=1):
    trunk.lower(torch.tensor([[7, 8, 9]]), depth=1)
    print(before - resident(), len(os.listdir(os.environ["TUNESHOT_CACHE"])))
"""


def test_resting_weights_leave_the_memory_and_no_file(tmp_path):
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc, to read the memory of a process")
    done = subprocess.run(  # a process of its own: what else is in this one's memory comes and goes
        [sys.executable, "-c", RESTING], capture_output=True, text=True, check=True,
        env={**os.environ, "TUNESHOT_CACHE": str(tmp_path)},
    )  # fmt: skip
    freed, files = map(int, done.stdout.split())
    assert freed > 120e6
    assert files == 0


def trained(data, config=QUICK, **more):
    model = tiny()
    freeze_all_but(model.trunk, config.layers)
    history = fit(model, data, data, config, **more)
    return model, history


def same_weights(a, b):
    theirs = b.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in a.state_dict().items())


def test_a_handful_of_messages_can_be_learnt_by_heart():
    data = toy_data(16)
    model, history = trained(data, replace(QUICK, epochs=20))
    loss, accuracy = loss_and_accuracy(model, data)
    assert accuracy == 1
    assert loss < 0.1
    assert history[-1].val_loss == pytest.approx(loss, abs=1e-4)
    assert history[-1].val_accuracy == history[-1].train_accuracy == 1


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    once, again, other = (
        trained(toy_data(), replace(QUICK, seed=seed, epochs=1))[0] for seed in (1, 1, 2)
    )
    assert same_weights(once, again)
    assert not same_weights(once, other)


MOVES = {
    "last_layer": {"out_head"},
    "last_block": {"trf_blocks.1", "final_norm", "out_head"},
    "last_two_blocks": {"trf_blocks.0", "trf_blocks.1", "final_norm", "out_head"},
    "last_four_blocks": {"trf_blocks.0", "trf_blocks.1", "final_norm", "out_head"},
    "all": {"tok_emb", "pos_emb", "trf_blocks.0", "trf_blocks.1", "final_norm", "out_head"},
}


@pytest.mark.parametrize("layers", TRAINABLE)
def test_the_chosen_layers_learn_and_the_others_keep_their_values(layers):
    model, _ = trained(toy_data(), replace(QUICK, layers=layers, epochs=1))
    before = tiny().trunk.state_dict()
    moved = {
        ".".join(name.split(".")[: 2 if name.startswith("trf") else 1])
        for name, tensor in model.trunk.state_dict().items()
        if not torch.equal(tensor, before[name])
    }  # fmt: skip
    assert moved == MOVES[layers]


def test_the_frozen_depth_is_where_the_first_gradient_is_needed():
    depths = {}
    for layers in TRAINABLE:
        model = tiny(cfg=replace(CFG, n_layers=6))
        freeze_all_but(model.trunk, layers)
        depths[layers] = frozen_depth(model.trunk)
    assert depths == {"last_layer": 6, "last_block": 5, "last_two_blocks": 4, "last_four_blocks": 2,
                      "all": 0}  # fmt: skip


def test_progress_counts_steps_and_examples_and_reports_each_epoch():
    steps, data = [], toy_data(10)
    _, history = trained(data, replace(QUICK, epochs=2), on_step=steps.append)
    assert [step.epoch for step in history] == [1, 2]
    assert history[-1].step == history[-1].steps == 6
    assert history[-1].examples_seen == 20
    assert [s.step for s in steps] == list(range(1, 7))
    assert [s.step for s in steps if s.val_loss is not None] == [3, 6]
    assert all(s.train_loss > 0 and 0 <= s.train_accuracy <= 1 for s in history)


def test_validation_can_be_more_frequent_than_the_epochs():
    _, history = trained(toy_data(20), replace(QUICK, epochs=2, validate_every=2))
    assert [step.step for step in history] == [2, 4, 5, 6, 8, 10]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("batch_size", "accumulate"), [(8, 1), (4, 2), (1, 8), (3, 3)])
def test_a_step_is_the_same_however_its_messages_are_divided_and_padded(
    padding, batch_size, accumulate
):
    """Unequal lengths, unequal parts, class weights: the gradient is still that of their mean."""
    data = toy_data(9 if batch_size == 3 else 8)
    config = replace(QUICK, epochs=1, balance="class_weights", label_smoothing=0.1)
    one, _ = trained(data, replace(config, batch_size=len(data.labels)))
    parts, _ = trained(
        data, replace(config, batch_size=batch_size, accumulate=accumulate, padding=padding)
    )
    for (name, a), b in zip(one.named_parameters(), parts.parameters(), strict=True):
        if "W_key.bias" not in name:  # it moves no logit: its gradient is rounding alone
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_the_best_weights_are_those_of_the_smallest_validation_loss():
    train, val = toy_data(24), toy_data(60, seed=5)
    wrong = Encoded(val.tokens, [1 - y if i % 3 else y for i, y in enumerate(val.labels)])
    model = tiny()
    history = fit(model, train, wrong, replace(QUICK, epochs=6, keep="best"))
    losses = [step.val_loss for step in history]
    assert min(losses) < losses[-1]
    assert loss_and_accuracy(model, wrong)[0] == pytest.approx(min(losses), abs=1e-5)


def test_patience_ends_a_run_that_no_longer_gains():
    train, val = toy_data(24), toy_data(60, seed=5)
    wrong = Encoded(val.tokens, [1 - y for y in val.labels])
    history = fit(tiny(), train, wrong, replace(QUICK, epochs=50, patience=2))
    losses = [step.val_loss for step in history]
    assert len(losses) < 50
    assert len(losses) - 1 - losses.index(min(losses)) == 2


def test_a_loss_that_is_no_number_ends_the_run_with_advice():
    model = tiny()
    model.trunk.tok_emb.weight.data[:] = float("inf")
    with pytest.raises(TuneshotError, match="in step 1; choose a smaller --learning-rate"):
        fit(model, toy_data(), toy_data(), QUICK)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_learning_rate_follows_its_schedule(schedule, monkeypatch):
    rates = []
    step = torch.optim.AdamW.step

    def noted(self, *arguments, **more):
        rates.append(self.param_groups[-1]["lr"] / QUICK.learning_rate)
        return step(self, *arguments, **more)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    trained(toy_data(40), replace(QUICK, epochs=4, schedule=schedule, warmup=0.2))
    assert len(rates) == 40
    assert max(rates) <= 1.0 + 1e-9
    if schedule == "one_cycle":
        assert rates.index(max(rates)) == pytest.approx(12, abs=1)
        assert rates[-1] < 1e-3
    else:
        assert rates[:8] == pytest.approx([(i + 1) / 9 for i in range(8)])
        shape = {"constant": 1, "linear": 0.5, "cosine": 0.5}[schedule]
        assert rates[8] == pytest.approx(1)
        assert rates[24] == pytest.approx(shape, abs=0.01)


def test_bfloat16_learns_the_same_thing():
    data = toy_data()
    exact, _ = trained(data, replace(QUICK, epochs=6))
    short, _ = trained(data, replace(QUICK, epochs=6, precision="bfloat16"))
    assert not same_weights(exact, short)
    assert loss_and_accuracy(short, data)[0] == pytest.approx(
        loss_and_accuracy(exact, data)[0], abs=0.05
    )
    assert all(weight.dtype == torch.float32 for weight in short.parameters())


@pytest.mark.parametrize("layers", ["all", "last_block"])
@pytest.mark.parametrize("stop_after", [1, 10, 14, 29])
def test_a_run_resumed_at_any_step_ends_with_bit_identical_weights(layers, stop_after):
    """With dropout, a schedule, accumulation, best weights and looks in mid-epoch."""
    data, cfg = toy_data(), replace(CFG, drop_rate=0.2)
    config = replace(
        QUICK, layers=layers, schedule="one_cycle", validate_every=7, keep="best", patience=9,
        batch_size=2, accumulate=2, balance="oversample",
    )  # fmt: skip
    states: dict[int, TrainingState] = {}

    def run(resume=None, keep=False):
        model = tiny(cfg=cfg)
        freeze_all_but(model.trunk, layers)

        def offer(make):
            step = steps[-1].step
            if keep and step == stop_after:
                state = make()
                states[step] = replace(state, tensors={**state.tensors}, history=[*state.history])

        steps: list = []
        history = fit(model, data, data, config, steps.append, resume=resume, on_state=offer)
        return model, history, steps

    whole_model, whole_history, whole_steps = run(keep=True)
    torch.manual_seed(99)  # another process, another random state
    model, history, steps = run(resume=states[stop_after])
    assert same_weights(model, whole_model)
    assert history == whole_history
    assert steps == whole_steps[stop_after:]


# --- settings -----------------------------------------------------------------------------------


def test_all_bad_settings_are_reported_at_once():
    with pytest.raises(TuneshotError) as caught:
        TrainConfig(epochs=0, learning_rate=-1, layers="first", balance="magic")
    for part in ("epochs", "learning_rate", "'first'; choose from last_layer", "'magic'; choose"):
        assert part in str(caught.value)
    with pytest.raises(TuneshotError, match=r"unknown key 'n_head'.*missing key 'n_heads'"):
        GPTConfig.from_dict(
            {**{k: v for k, v in CFG.to_dict().items() if k != "n_heads"}, "n_head": 2}
        )


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ({"position": "last_column"}, "padding longest or full_context"),
        ({"balance": "smote"}, "invents points, which have no text"),
        ({"layers": "lora", "mix": 0.5}, "leaves them alone"),
        ({"practice": 9, "layers": "none"}, "practice texts are for layers that learn"),
        ({"mix": 0}, r"mix must be in \(0, 1\]"),
    ],
)
def test_choices_that_contradict_each_other_are_refused(choices, reason):
    with pytest.raises(TuneshotError, match=reason):
        TrainConfig(**choices)


def test_what_suits_a_base_gives_way_to_what_is_asked_for():
    assert settings_for("gpt2") == TrainConfig()
    assert settings_for("gpt2-mini").epochs == SETTINGS["gpt2-mini"]["epochs"]
    assert settings_for("gpt2-mini", epochs=1).epochs == 1
    assert settings_for("gpt2-mini", layers="lora").mix == 1


# --- calibration --------------------------------------------------------------------------------


def test_an_undecided_head_starts_at_a_loss_of_ln_2():
    model = tiny()
    torch.nn.init.zeros_(model.trunk.out_head.weight)
    assert loss_and_accuracy(model, toy_data())[0] == pytest.approx(math.log(2), abs=1e-6)


def log_odds(model, data):
    z = all_logits(model, data)
    return z[:, 1] - z[:, 0]


def test_calibration_repairs_overconfidence_and_changes_no_ranking():
    data = toy_data(200)
    noisy = Encoded(data.tokens, [y if i % 10 else 1 - y for i, y in enumerate(data.labels)])
    model, _ = trained(data, replace(QUICK, epochs=6))
    model.trunk.out_head.weight.data *= 20  # absurdly sure of itself
    model.trunk.out_head.bias.data += torch.tensor([0.0, 3.0])
    before, order = loss_and_accuracy(model, noisy)[0], log_odds(model, noisy).argsort()
    slope, shifts = calibrate(model, noisy)
    after, ranked = loss_and_accuracy(model, noisy)[0], log_odds(model, noisy)[order]
    assert 0 < slope < 1
    assert shifts[0] == 0
    assert after < before / 2
    assert np.diff(ranked).min() > -1e-5  # float32 may tell equal messages apart, or not


def test_with_two_labels_it_is_platt_scaling():
    """scikit-learn's own fit of the same two numbers, with Platt's targets as weights."""
    from sklearn.linear_model import LogisticRegression

    data = toy_data(100, seed=3)
    model, _ = trained(data, replace(QUICK, epochs=1))
    noisy = Encoded(data.tokens, [y if i % 5 else 1 - y for i, y in enumerate(data.labels)])
    z, y = log_odds(model, noisy), np.array(noisy.labels)
    target = np.where(y == 1, (y.sum() + 1) / (y.sum() + 2), 1 / ((1 - y).sum() + 2))
    platt = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        np.r_[z, z][:, None], np.r_[np.ones(100), np.zeros(100)],
        sample_weight=np.r_[target, 1 - target],
    )  # fmt: skip
    calibrate(model, noisy)
    expected = platt.coef_[0, 0] * z + platt.intercept_[0]
    assert log_odds(model, noisy) == pytest.approx(expected, abs=0.02)


def test_with_many_labels_the_prior_of_the_validation_part_is_learnt():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, size=400, p=[0.7, 0.2, 0.1]).tolist()
    data = Encoded([rng.integers(100, 140, 4).tolist() for _ in labels], labels)
    model = tiny(classes=3)  # knows nothing
    calibrate(model, data)
    p = softmax(all_logits(model, data), axis=1).mean(axis=0)
    assert p == pytest.approx(np.bincount(labels) / 400, abs=0.02)


def test_calibration_on_separable_messages_stays_finite():
    data = toy_data()
    model, _ = trained(data, replace(QUICK, epochs=20))
    calibrate(model, data)
    assert np.isfinite(all_logits(model, data)).all()
    assert abs(log_odds(model, data)).max() < 20


@pytest.mark.parametrize("share", [0, 0.05, 0.2, 1])
def test_the_threshold_is_the_smallest_that_flags_no_more_than_was_allowed(share):
    data = toy_data(100, seed=3)
    noisy = Encoded(data.tokens, [y if i % 5 else 1 - y for i, y in enumerate(data.labels)])
    model, _ = trained(data, replace(QUICK, epochs=1))
    threshold = threshold_for(model, noisy, share)
    p, y = softmax(all_logits(model, noisy), axis=1)[:, 1], np.array(noisy.labels)
    flagged = (p[y == 0] >= threshold).mean()
    assert flagged <= share
    below = p[p < threshold].max(initial=0.0)
    assert below == 0 or share == 1 or (p[y == 0] >= below).mean() > share


def test_mixing_moves_the_trunk_towards_what_it_was_and_keeps_the_head():
    before = tiny().trunk.state_dict()
    model, _ = trained(toy_data(), replace(QUICK, epochs=1))
    tuned = {name: tensor.clone() for name, tensor in model.trunk.state_dict().items()}
    mix_with(model, before, share=0.6)
    mixed = model.trunk.state_dict()
    expected = 0.6 * tuned["tok_emb.weight"] + 0.4 * before["tok_emb.weight"]
    torch.testing.assert_close(mixed["tok_emb.weight"], expected)
    assert torch.equal(mixed["out_head.weight"], tuned["out_head.weight"])
