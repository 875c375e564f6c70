"""Instruction tuning of tiny random language models: the loss, what learns, resuming, merging."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from clfcore.errors import TuneshotError
from clfcore.model.adapters import ADAPTERS, merge
from clfcore.quantization.schemes import SCHEMES, requantized
from clfcore.training.instruction.folder import save_tuned
from clfcore.training.instruction.model import LanguageModel, choose_weights
from clfcore.training.instruction.pairs import Pair, TargetTokens, balanced_targets
from clfcore.training.instruction.recipe import tune_language_model
from clfcore.training.instruction.settings import (
    LAYERS,
    InstructionConfig,
    instruction_settings,
)
from clfcore.training.loop import TrainingState, learn
from clfcore.weights.language_model import load_transformer
from tests.support.doubles import save_tiny_lm
from tests.support.lazy import lazy

transformers = lazy("transformers")

QUICK = InstructionConfig(
    layers="all", epochs=3, batch_size=4, learning_rate=3e-3, embedding_learning_rate=3e-3,
    precision="float32", least_steps=1,
)  # fmt: skip
CPU = torch.device("cpu")
HAM, SPAM = (60, 61, 5), (60, 62)  # targets of different length that begin alike


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def folder(request, tmp_path_factory):
    return save_tiny_lm(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return save_tiny_lm(tmp_path_factory.mktemp("llama"), "llama")


def network_of(folder):
    network = load_transformer(str(folder), "AutoModelForCausalLM")[1]
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return network


def toy_pairs(n=24, seed=0, words=40, longest=12):
    """Token 7 at the end means spam; one prompt in four has it."""
    rng = np.random.default_rng(seed)
    pairs = []
    for row in range(n):
        prompt = rng.integers(100, 100 + words, rng.integers(2, longest)).tolist()
        if row % 4 == 0:
            prompt[-1] = 7
        pairs.append(Pair(tuple(prompt), HAM if row % 4 else SPAM, 1.0 + row % 3))
    return pairs


def by_hand(network, pair):
    """-log P(target | prompt): one pass a pair, one token after the other."""
    ids = [*pair.prompt, *pair.target]
    with torch.no_grad():
        log_p = network(torch.tensor([ids])).logits[0].double().log_softmax(dim=-1)
    places = range(len(pair.prompt), len(ids))
    return -sum(float(log_p[i - 1, ids[i]]) for i in places), all(
        int(log_p[i - 1].argmax()) == ids[i] for i in places
    )


def objective_of(network, train, val, **choices):
    model, config = LanguageModel(network), replace(QUICK, **choices)
    choose_weights(model, config, steps=10)
    return model, TargetTokens(model, train, val, config, CPU)


# --- the loss -----------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", ["all", "last_block"])
def test_the_loss_is_that_of_the_targets_tokens_and_of_no_other(folder, layers):
    """With frozen blocks computed once, and without."""
    pairs, network = toy_pairs(), network_of(folder)
    _, objective = objective_of(network, pairs, pairs, layers=layers)
    # GPT-2 adds its positions to whatever it reads, and cannot be cut.
    assert (objective.cache is not None) == (layers == "last_block" and "llama" in str(folder))
    losses, right = zip(*(by_hand(network, pair) for pair in pairs), strict=True)
    weights = [pair.weight for pair in pairs]
    loss, accuracy = objective.validate()
    assert loss == pytest.approx(np.average(losses, weights=weights), rel=1e-4)
    assert accuracy == pytest.approx(np.average(right, weights=weights))
    rows = [3, 0, 17]
    with torch.no_grad():
        summed, hits = objective.loss(objective.model, rows)
    assert float(summed) == pytest.approx(sum(losses[r] * weights[r] for r in rows), rel=1e-4)
    assert hits == sum(right[row] for row in rows)
    assert float(objective.weight(rows)) == sum(weights[row] for row in rows)


@pytest.mark.parametrize("layers", ["all", "last_block"])
def test_padding_changes_nothing(folder, layers):
    pairs = [Pair((5, 6, 7), HAM), Pair(tuple(range(100, 140)), SPAM)]
    model, objective = objective_of(network_of(folder), pairs, pairs, layers=layers)
    gradients = []
    for batches in ([[0], [1]], [[0, 1]]):
        model.zero_grad()
        for rows in batches:
            objective.loss(model, rows)[0].backward()
        gradients.append([w.grad.clone() for w in model.parameters() if w.requires_grad])
    for alone, together in zip(*gradients, strict=True):
        torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)


def test_what_goes_through_the_model_together_has_a_limit_and_the_step_stays_the_same(llama):
    pairs = [Pair(tuple(range(100, 100 + n)), HAM if n % 2 else SPAM) for n in (300, 301, 2, 700)]
    _, objective = objective_of(network_of(llama), pairs, pairs)
    passes = objective.passes([2, 0, 1, 3, 3, 3])
    assert sorted(row for each in passes for row in each) == [0, 1, 2, 3, 3, 3]
    assert len(passes) > 1
    for rows in passes:
        assert len(rows) * max(objective.lengths[row] for row in rows) <= 1024


def test_rare_answers_are_shown_again():
    pairs = toy_pairs(40)
    rows = balanced_targets(pairs, replace(QUICK, balance_ratio=1.0))
    shown = [pairs[row].target for row in rows]
    assert shown.count(HAM) == shown.count(SPAM) == 30
    assert set(rows) == set(range(40))


# --- what learns --------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [name for name in LAYERS if name != "bitfit"])  # no biases here
def test_every_choice_of_layers_learns_and_leaves_the_others_alone(llama, layers):
    pairs, network = toy_pairs(8), network_of(llama)
    before = copy.deepcopy(network.state_dict())
    rank = 4
    model = LanguageModel(network)
    config = replace(QUICK, layers=layers, rank=rank, epochs=2)
    choose_weights(model, config, steps=4)
    learn(model, TargetTokens(model, pairs, pairs, config, CPU), config)
    if layers in ADAPTERS:
        merge(model)
    after = network.state_dict()
    assert after.keys() == before.keys()  # an adapter has become part of the weights
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    outside = {name for name in changed if ".layers." not in name}
    if layers == "all":
        assert outside >= {"model.embed_tokens.weight", "lm_head.weight"}
    else:
        assert outside <= {"model.norm.weight"}
    if layers == "last_block":
        assert not [name for name in changed if ".layers.0." in name]


def test_lora_merged_answers_as_lora_attached(llama):
    pairs, network = toy_pairs(), network_of(llama)
    model, objective = objective_of(network, pairs, pairs, layers="lora", rank=4)
    start = objective.validate()
    learn(model, objective, replace(QUICK, layers="lora"))
    attached = objective.validate()
    assert attached[0] < start[0]
    merge(model)
    assert objective.validate() == pytest.approx(attached, rel=1e-4)
    losses = [by_hand(network, pair)[0] for pair in pairs]
    weights = [pair.weight for pair in pairs]
    assert np.average(losses, weights=weights) == pytest.approx(attached[0], rel=1e-4)


def test_qlora_starts_from_what_nf4_leaves_of_the_file_and_ends_as_plain_weights(llama):
    before = network_of(llama).state_dict()
    pairs = toy_pairs()
    config = replace(QUICK, layers="qlora", rank=4, epochs=1, learning_rate=1e-30)
    tuned = tune_language_model(str(llama), pairs, pairs, config)
    assert tuned.all_weights == sum(w.numel() for w in before.values()) + tuned.trained_weights
    after = tuned.network.state_dict()
    assert after.keys() == before.keys()
    for name, weight in before.items():
        rounded = ".layers." in name and weight.dim() == 2
        expected = requantized(weight, SCHEMES["nf4"]) if rounded else weight
        torch.testing.assert_close(after[name], expected, msg=name)
    learned = tune_language_model(
        str(llama), pairs, pairs, replace(QUICK, layers="qlora", rank=4)
    ).history
    assert learned[-1].val_loss < 0.95 * tuned.history[-1].val_loss


def test_a_network_that_does_more_than_trunk_and_head_is_refused():
    """Gemma 2 caps its logits after the head."""
    torch.manual_seed(0)
    config = transformers.Gemma2Config(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8, initializer_range=2.0,
        final_logit_softcapping=1.0,
    )  # fmt: skip
    with pytest.raises(TuneshotError, match="changes what its vocabulary head says"):
        LanguageModel(transformers.Gemma2ForCausalLM(config).eval())


# --- runs ---------------------------------------------------------------------------------------


def test_a_toy_task_is_learned_to_certainty(folder):
    train, val = (toy_pairs(n, seed, 4, 5) for n, seed in ((64, 0), (24, 1)))
    config = replace(QUICK, epochs=15, keep="best")
    tuned = tune_language_model(str(folder), train, val, config)
    last = min(tuned.history, key=lambda step: step.val_loss)
    assert last.val_accuracy == 1.0
    assert last.val_loss < 0.05
    losses = [by_hand(tuned.network, pair)[0] for pair in val]
    weights = [pair.weight for pair in val]
    assert np.average(losses, weights=weights) == pytest.approx(last.val_loss, rel=1e-3)
    assert tuned.trained_weights == tuned.all_weights


@pytest.mark.parametrize("layers", ["all", "last_block", "lora", "qlora"])
@pytest.mark.parametrize("stop_after", [1, 5, 8])
def test_a_run_resumed_at_any_step_ends_with_bit_identical_weights(llama, layers, stop_after):
    pairs = toy_pairs(20)
    config = replace(
        QUICK, layers=layers, schedule="cosine", keep="best", validate_every=2, batch_size=2,
        accumulate=2, rank=4,
    )  # fmt: skip
    states: dict[int, TrainingState] = {}

    def run(resume=None, keep=False):
        network = network_of(llama)
        model, objective = objective_of(
            network, pairs, pairs, **{n: getattr(config, n) for n in ("layers", "rank")}
        )
        steps = []

        def offer(make):
            if keep and len(steps) == stop_after:
                state = make()
                states[stop_after] = replace(
                    state, tensors={**state.tensors}, history=[*state.history]
                )

        learn(model, objective, config, steps.append, resume=resume, on_state=offer)
        return network.state_dict(), steps

    whole, whole_steps = run(keep=True)
    torch.manual_seed(99)  # another process, another random state
    again, steps = run(resume=states[stop_after])
    assert steps == whole_steps[stop_after:]
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_the_same_seed_gives_the_same_weights(llama):
    def weights(seed):
        config = replace(QUICK, layers="lora", rank=4, epochs=1, seed=seed)
        tuned = tune_language_model(str(llama), toy_pairs(), toy_pairs(8), config)
        return torch.cat([w.flatten() for w in tuned.network.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_a_prompt_longer_than_the_model_reads_is_one_line(llama):
    pairs = [Pair(tuple(range(1200)), HAM), Pair((5,), SPAM)]
    with pytest.raises(TuneshotError, match=r"reads 1,024 tokens.* has 1,202; show fewer"):
        tune_language_model(str(llama), pairs, pairs, QUICK)


def test_few_messages_are_shown_more_often_until_there_are_enough_steps(llama):
    pairs = toy_pairs(8)
    for least, steps in ((1, 9), (10, 18), (18, 18)):
        config = replace(QUICK, layers="last_block", least_steps=least)
        tuned = tune_language_model(str(llama), pairs, pairs, config)
        assert tuned.history[-1].step == tuned.history[-1].steps == steps


# --- settings -----------------------------------------------------------------------------------


def test_what_could_not_be_tuned_or_stored_is_refused():
    for layers in ("last_layer", "prompt", "none", "p_tuning"):
        with pytest.raises(TuneshotError, match="layers"):
            InstructionConfig(layers=layers)


def test_what_suits_the_layers_gives_way_to_what_is_asked_for():
    assert instruction_settings(layers="all").learning_rate < instruction_settings().learning_rate
    assert instruction_settings(layers="all", learning_rate=1.0).learning_rate == 1.0


# --- the folder ---------------------------------------------------------------------------------


def test_a_tuned_model_is_a_folder_that_transformers_opens_with_the_same_weights(folder, tmp_path):
    config = replace(QUICK, epochs=1)
    tuned = tune_language_model(str(folder), toy_pairs(), toy_pairs(8), config)
    out = tmp_path / "tuned"
    for _ in range(2):  # the second replaces the first
        save_tuned(out, tuned, config, {"lm": "tiny"})
    assert list(tmp_path.iterdir()) == [out]
    again = transformers.AutoModelForCausalLM.from_pretrained(out)
    for (name, weight), other in zip(
        tuned.network.named_parameters(), again.parameters(), strict=True
    ):
        assert torch.equal(weight, other), name
    about = json.loads((out / "tuning.json").read_text())
    assert about["kind"] == "tuneshot-language-model"
    assert about["lm"] == "tiny"
    assert about["train"]["layers"] == "all"
    assert len(about["train"]["history"]) == 1
    for file in out.iterdir():  # nothing of this machine
        if file.suffix == ".json":
            assert str(folder.parent) not in file.read_text()


def test_a_folder_that_is_something_else_is_not_replaced(llama, tmp_path):
    (tmp_path / "photos").mkdir()
    tuned = tune_language_model(
        str(llama), toy_pairs(8), toy_pairs(8), replace(QUICK, epochs=1, layers="last_block")
    )
    with pytest.raises(TuneshotError, match="exists and is not a tuned language model"):
        save_tuned(tmp_path / "photos", tuned, QUICK, {})
    assert list((tmp_path / "photos").iterdir()) == []
