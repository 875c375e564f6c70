"""Next-token training: closed forms, parity with transformers, resuming, the folder."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from clfcore.errors import TuneshotError
from clfcore.model import batching
from clfcore.model.gpt import GPTModel
from clfcore.model.spec import GPTConfig
from clfcore.pretraining.documents import Documents, pack
from clfcore.pretraining.language_model import (
    NextTokenModel,
    load_writing_base,
    tie_head,
)
from clfcore.pretraining.next_token import NextTokens, perplexity
from clfcore.pretraining.recipe import pretrain, save_pretrained
from clfcore.pretraining.sample import next_tokens
from clfcore.pretraining.settings import (
    ABOUT,
    PretrainingConfig,
    SampleConfig,
    pretraining_settings,
)
from clfcore.training.loop import learn
from clfcore.weights.bases import load_base
from clfcore.weights.pretrained import save_gpt2
from tests.support.doubles import save_tiny_lm, save_tiny_trunk
from tests.support.lazy import lazy

transformers = lazy("transformers")

WORDS, END = 12, 0
SMALL = GPTConfig(vocab_size=WORDS, context_length=16, emb_dim=16, n_heads=2, n_layers=2)
QUICK = PretrainingConfig(
    epochs=3, batch_size=2, learning_rate=3e-3, embedding_learning_rate=3e-3, precision="float32"
)
CPU = torch.device("cpu")
TEXTS = Documents("toy", [f"see you at {n}" for n in range(20)], ["see you at nine", "win a prize"])


def numbers(text):
    """The token ids of "3 1 4"."""
    return [int(word) for word in text.split()]


def small(cfg=SMALL, seed=0):
    torch.manual_seed(seed)
    return NextTokenModel(GPTModel(cfg)).eval()


def objective_of(model, train, held_out=("1 2",), size=8, config=QUICK):
    blocks = (pack(texts, numbers, END, size) for texts in (train, held_out))
    return NextTokens(model, *blocks, config, CPU)


@pytest.fixture(scope="module")
def tiny_base(tmp_path_factory):
    return str(save_tiny_trunk(tmp_path_factory.mktemp("tiny")))


# --- the loss -----------------------------------------------------------------------------------


def test_a_model_that_expects_every_token_alike_loses_ln_v():
    model = small()
    nn.init.zeros_(model.trunk.tok_emb.weight)  # the head, too
    loss, _ = objective_of(model, ["1 2 3"], ["5 4 3 2 1", "7"]).validate()
    assert loss == pytest.approx(math.log(WORDS), rel=1e-6)
    assert perplexity(loss) == pytest.approx(WORDS, rel=1e-6)


class Frequencies(nn.Module):
    """Expects every token as often as it comes: a half, a quarter, a quarter."""

    def forward(self, ids):
        p = torch.tensor([0.25, 0.5, 0.25])
        return p.log().expand(*ids.shape, 3)


def test_the_perplexity_of_a_known_distribution_is_two_to_its_entropy_in_bits():
    """H(1/2, 1/4, 1/4) is 1.5 bits; half of the tokens are the likeliest."""
    objective = objective_of(Frequencies(), ["1"], ["1 1 2", "1 1 2"], size=3)
    loss, right = objective.validate()
    assert perplexity(loss) == pytest.approx(2**1.5, rel=1e-6)
    assert right == 0.5


def test_the_loss_of_blocks_is_the_sum_over_their_tokens_and_the_last_one_is_shorter():
    model = small()
    objective = objective_of(model, ["1 2 3 4 5 6", "7 8 9"], size=4)
    assert objective.lengths == [4, 4, 3]
    with torch.no_grad():
        by_hand = 0.0
        for ids, following in zip(objective.train.read, objective.train.following, strict=True):
            log_p = model(torch.tensor(ids)[None])[0].log_softmax(dim=-1)
            by_hand -= float(log_p[range(len(ids)), following].sum())
        summed, _ = objective.loss(model, [0, 1, 2])
    assert float(summed) == pytest.approx(by_hand, rel=1e-5)
    assert int(objective.weight([0, 1, 2])) == 11


def test_what_goes_through_the_model_together_has_a_limit(monkeypatch):
    monkeypatch.setattr(batching, "_MAX_TOKENS_PER_PASS", 9)
    objective = objective_of(small(), ["1 2 3 4 5 6", "7 8 9"], size=4)
    assert objective.passes([1, 0, 2]) == [[1, 0], [2]]


@pytest.mark.parametrize("layers", [1, 3])
def test_loss_and_gradients_are_those_of_transformers(layers, tmp_path):
    cfg = GPTConfig(vocab_size=99, context_length=16, emb_dim=24, n_heads=3, n_layers=layers)
    model = small(cfg)
    save_gpt2(tmp_path / "ours", model.trunk)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "ours").eval()
    objective = objective_of(model, ["5 98 7 1", "3 3 50 2 11"], size=16)
    ids = torch.tensor([[*objective.train.read[0], objective.train.following[0][-1]]])
    summed, _ = objective.loss(model, [0])
    loss = summed / objective.weight([0])
    expected = theirs(ids, labels=ids).loss
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(  # of embedding and head together
        model.trunk.tok_emb.weight.grad, theirs.transformer.wte.weight.grad, rtol=1e-4, atol=1e-6
    )
    torch.testing.assert_close(
        model.trunk.trf_blocks[0].ff.layers[0].weight.grad,
        theirs.transformer.h[0].mlp.c_fc.weight.grad.T, rtol=1e-4, atol=1e-6,
    )  # fmt: skip


# --- learning -----------------------------------------------------------------------------------


def test_a_pattern_that_repeats_is_learned_and_goes_on():
    texts = [" ".join(str(1 + i % 4) for i in range(15))] * 8
    model = small()
    objective = objective_of(model, texts, texts[:1], size=16)
    learn(model, objective, replace(QUICK, epochs=40, learning_rate=1e-2, schedule="cosine"))
    loss, right = objective.validate()
    assert loss < 0.05
    assert right == 1.0
    greedy = SampleConfig(tokens=6, temperature=0)
    assert list(next_tokens(model.trunk, [END, 1, 2], END, greedy)) == [3, 4, 1, 2, 3, 4]


def test_head_and_embedding_stay_one_tensor_while_they_learn():
    model = small()
    before = model.trunk.tok_emb.weight.detach().clone()
    learn(model, objective_of(model, ["1 2 3 4 5 6 7"]), QUICK)
    assert model.trunk.out_head.weight is model.trunk.tok_emb.weight
    assert not torch.equal(model.trunk.tok_emb.weight, before)


@pytest.mark.parametrize("stop_after", [1, 4, 7])
def test_a_run_resumed_at_any_step_ends_with_bit_identical_weights(stop_after):
    """With dropout, and with texts that are written meanwhile: neither changes the other."""
    cfg = replace(SMALL, drop_rate=0.2)
    config = replace(QUICK, schedule="cosine", keep="best", validate_every=2, accumulate=2)
    texts = [f"{n} {n + 1} 3 {n}" for n in range(1, 11)]
    kept = []

    def run(resume=None):
        model = small(cfg)

        def step(figures):
            model.eval()
            list(next_tokens(model.trunk, [1], END, SampleConfig(tokens=2, seed=figures.step)))

        def keep(make):
            state = make()
            if state.step == stop_after and not resume:
                kept.append(replace(state, tensors={**state.tensors}, history=[*state.history]))

        learn(model, objective_of(model, texts, size=4), config, step, resume=resume, on_state=keep)
        return model.state_dict()

    whole = run()
    torch.manual_seed(99)  # another process, another random state
    again = run(kept[0])
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_settings_suit_what_has_never_written_and_what_has():
    assert pretraining_settings("gpt2-mini").learning_rate == 1e-3
    assert pretraining_settings("gpt2").learning_rate == 5e-5
    assert pretraining_settings("gpt2", weights="random").learning_rate == 1e-3
    assert pretraining_settings("gpt2", epochs=7).epochs == 7
    with pytest.raises(TuneshotError, match="held_out must be in"):
        PretrainingConfig(held_out=0)


# --- runs ---------------------------------------------------------------------------------------


def test_a_base_learns_and_its_folder_is_a_base_again(tiny_base, tmp_path):
    result = pretrain(tiny_base, TEXTS, replace(QUICK, block=8, keep="best"))
    assert result.after[0] < result.before[0]
    assert result.weights == sum(w.numel() for w in result.model.trunk.parameters())
    for _ in range(2):  # the second replaces the first
        save_pretrained(tmp_path / "out", result)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

    about = json.loads((tmp_path / "out" / ABOUT).read_text())
    assert about["held_out"]["after"]["loss"] == result.after[0]
    assert about["data"]["documents"] == {"train": 20, "held_out": 2}
    assert len(about["train"]["history"]) == 3

    again = pretrain(str(tmp_path / "out"), TEXTS, replace(QUICK, block=8))
    assert again.before[0] == pytest.approx(result.after[0], rel=1e-5)
    classifier = load_base(str(tmp_path / "out"), classes=2)
    ids = torch.tensor([[5, 6, 7]])
    writer = load_writing_base(str(tmp_path / "out")).trunk
    torch.testing.assert_close(classifier.trunk.hidden(ids), writer.hidden(ids))
    assert classifier.trunk(ids).shape == (1, 3, 2)


def test_a_model_of_transformers_is_pretrained_further_with_its_own_tokenizer(tmp_path):
    folder = str(save_tiny_lm(tmp_path / "llama", "llama"))
    result = pretrain(folder, TEXTS, replace(QUICK, block=8))
    assert result.after[0] < result.before[0]
    save_pretrained(tmp_path / "out", result)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = torch.tensor([tokenizer("win a prize")["input_ids"]])
    with torch.no_grad():
        ours = NextTokenModel(result.model.trunk).eval()(ids)
        torch.testing.assert_close(again(ids).logits, ours, rtol=1e-4, atol=1e-4)


def test_random_weights_begin_near_ln_v(tiny_base):
    result = pretrain(tiny_base, TEXTS, replace(QUICK, block=8, epochs=1, weights="random"))
    assert result.before[0] == pytest.approx(math.log(50257), abs=0.1)


def test_a_tied_head_is_the_embedding(tiny_base):
    trunk = load_base(tiny_base, classes=2).trunk
    tie_head(trunk)
    ids = torch.tensor([[1, 2]])
    with torch.no_grad():
        expected = trunk.hidden(ids) @ trunk.tok_emb.weight.T
        torch.testing.assert_close(trunk(ids), expected)


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"block": 33}, "reads 32 tokens, and --block is 33; choose one of at most 32"),
        ({"block": 32}, r"toy has 14 tokens to learn from, and a block has 32; .* at most 14"),
    ],
)
def test_blocks_that_do_not_fit_are_one_line(tiny_base, choices, said):
    short = replace(TEXTS, train=["win a prize", "see you"] * 2)
    with pytest.raises(TuneshotError, match=said):
        pretrain(tiny_base, short, replace(QUICK, **choices))
