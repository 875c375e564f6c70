"""What every adapter promises, on every kind of trunk; and what is special about some."""

import copy
import subprocess
import sys
import threading
import time
from functools import cache
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import nn

from clfcore.errors import TuneshotError
from clfcore.model.adapters import ADAPTERS, adapt, adapter_record, after_step, merge
from clfcore.model.classifier import TextClassifier
from clfcore.model.gpt import GPTModel
from clfcore.model.huggingface import HuggingFaceTrunk
from clfcore.model.methods.bottleneck import Bottleneck
from clfcore.model.precision import autocast
from clfcore.model.spec import (
    MAKING,
    POSITIONS,
    VIRTUAL_TOKENS,
    GPTConfig,
    Reading,
)
from clfcore.model.trainable import count_parameters, freeze_all_but, frozen_depth
from clfcore.quantization.frozen import NF4Linear
from clfcore.quantization.schemes import SCHEMES, requantized
from clfcore.training.classification import fit
from clfcore.training.settings import TrainConfig
from tests.support.lazy import lazy
from tests.support.tiny import loss_and_accuracy, toy_data

transformers = lazy("transformers")

VOCAB, STEPS, RANK = 61, 8, 4


def gpt(drop_rate=0.0):
    return GPTModel(
        GPTConfig(VOCAB, context_length=40, emb_dim=32, n_heads=2, n_layers=2, drop_rate=drop_rate),
        num_classes=2,
    )


def llama():
    """Two key heads for four query heads, and widths that are no powers of two."""
    config = transformers.LlamaConfig(
        vocab_size=VOCAB, hidden_size=24, intermediate_size=30, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=40,
    )  # fmt: skip
    return HuggingFaceTrunk(transformers.LlamaModel(config), 2)


def gpt_neox():
    """One matrix for queries, keys and values."""
    config = transformers.GPTNeoXConfig(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=40,
    )  # fmt: skip
    return HuggingFaceTrunk(transformers.GPTNeoXModel(config), 2)


TRUNKS = {"gpt": gpt, "llama": llama, "gpt_neox": gpt_neox}
SOFT = [name for name, adapter in ADAPTERS.items() if adapter.virtual_tokens]
WEIGHT_SIDE = [name for name in ADAPTERS if name not in SOFT]  # they start as nothing
BOTTLENECKS = ("houlsby", "pfeiffer")
PAIRS = [
    *(("gpt", name) for name in ADAPTERS if name not in ("prefix", "adaption_prompt")),
    *(("llama", name) for name in ADAPTERS if name != "bitfit"),  # it has no biases
    *(("gpt_neox", name) for name in ("lora", "ia3", "bitfit", *BOTTLENECKS, *SOFT)),
]
each = pytest.mark.parametrize(("trunk", "name"), PAIRS)
each_unchanged_at_first = pytest.mark.parametrize(
    ("trunk", "name"), [pair for pair in PAIRS if pair[1] in WEIGHT_SIDE]
)
each_mergeable = pytest.mark.parametrize(
    ("trunk", "name"), [pair for pair in PAIRS if ADAPTERS[pair[1]].merges]
)

IDS = torch.randint(0, VOCAB, (6, 12), generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([12, 9, 5, 3, 1, 7])
LABELS = torch.tensor([0, 1, 0, 1, 0, 1])


def fresh(trunk, **reading):
    torch.manual_seed(1)
    model = TextClassifier(TRUNKS[trunk](), Reading(**reading)).eval()
    with torch.no_grad():  # zeros and ones would hide mistakes
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
    return model


def found(trunk, name):
    """The model that an adapter finds: qlora itself rounds the weights of the blocks first."""
    model = fresh(trunk)
    if name == "qlora":
        for layer in model.trunk.trf_blocks.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.data = requantized(layer.weight, SCHEMES["nf4"])
    return model


@cache
def new(trunk, name):
    """A model that was just adapted; to be looked at only."""
    return adapted(trunk, name)


def adapted(trunk, name, seed=0, **reading):
    model = fresh(trunk, **reading)
    adapt(model, name, RANK, STEPS, seed)
    return model


def logits(model):
    with torch.inference_mode():
        return model(IDS, LENGTHS)


def loss(model):
    return F.cross_entropy(model(IDS, LENGTHS), LABELS)


def learning(model):
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


@cache
def learnt(trunk, name):
    """A model whose adapter learnt for a few steps, alone: the head was left as it was."""
    model = copy.deepcopy(new(trunk, name)).train()
    weights = [weight for key, weight in learning(model).items() if "out_head" not in key]
    optimizer = torch.optim.AdamW(weights, lr=0.01)
    prune = after_step(model)
    for step in range(STEPS):
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()
        prune(step + 1)
    return model.eval()


# --- every adapter, on every trunk --------------------------------------------------------------


@each
def test_only_the_adapter_and_the_head_learn_and_the_trunk_stays_as_it_was(trunk, name):
    before = found(trunk, name).state_dict()
    model = learnt(trunk, name)
    names = set(learning(model))
    head = {"trunk.out_head.weight", "trunk.out_head.bias"}
    assert head <= names
    codes = {f"{key}.weight": layer.weight for key, layer in model.named_modules()
             if isinstance(layer, NF4Linear)}  # fmt: skip
    frozen = {key.replace(".base_layer", "").replace("self_attn.model.", "self_attn."): weight
              for key, weight in [*model.named_parameters(), *codes.items()]
              if not weight.requires_grad and "ranknum" not in key}  # fmt: skip
    own = names & set(before)
    assert set(frozen) == set(before) - own
    assert all(torch.equal(weight, before[key]) for key, weight in frozen.items())
    inside = {key for key in before if ".trf_blocks." in key or "layers." in key or "norm" in key}
    trained = {
        "ln_tuning": {key for key in before if "norm" in key},
        "bitfit": {key for key in inside if key.endswith((".bias", ".shift"))},
    }
    assert own - head == trained.get(name, set())


@each_unchanged_at_first
def test_a_new_adapter_changes_nothing(trunk, name):
    torch.testing.assert_close(logits(new(trunk, name)), logits(found(trunk, name)))


@each
def test_an_adapter_alone_can_lower_the_loss(trunk, name):
    before, after = loss(new(trunk, name)).item(), loss(learnt(trunk, name)).item()
    assert after < before - 0.001
    # A key's bias adds the same to every score, which softmax drops: GPT's last block omits it.
    assert all(weight.grad is not None for key, weight in learning(learnt(trunk, name)).items()
               if not key.endswith("W_key.bias"))  # fmt: skip


@each
def test_padding_does_not_change_a_logit(trunk, name):
    model = learnt(trunk, name)
    other = IDS.clone()
    for row, length in enumerate(LENGTHS):
        other[row, length:] = 7
    with torch.inference_mode():
        torch.testing.assert_close(model(other, LENGTHS), logits(model))
        alone = torch.cat([model(IDS[i : i + 1, : LENGTHS[i]], LENGTHS[i : i + 1])
                           for i in range(len(IDS))])  # fmt: skip
        torch.testing.assert_close(alone, logits(model), atol=1e-5, rtol=1e-5)


@each_mergeable
def test_merging_gives_a_plain_trunk_with_equal_logits(trunk, name):
    model = copy.deepcopy(learnt(trunk, name))
    merge(model)
    torch.testing.assert_close(logits(model), logits(learnt(trunk, name)), atol=1e-4, rtol=1e-4)
    plain = fresh(trunk)
    assert [type(module) for module in model.modules()] == [type(m) for m in plain.modules()]
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert model.adapter is None


@each
def test_the_weights_that_learn_and_the_record_are_all_there_is_to_keep(trunk, name):
    model = learnt(trunk, name)
    stored = save({key: weight.detach() for key, weight in learning(model).items()})
    again = fresh(trunk)
    adapt(again, **adapter_record(model))
    missing = again.load_state_dict(load(stored), strict=False)
    assert not missing.unexpected_keys
    assert torch.equal(logits(again), logits(model))


def test_a_whole_adapted_model_can_be_stored_too():
    """No tensor shares its memory with another, which safetensors would refuse."""
    assert all(save(new(trunk, name).state_dict()) for trunk, name in PAIRS)


@each
def test_the_numbers_of_weights_are_right(trunk, name):
    model, plain = new(trunk, name), fresh(trunk)
    learn, everything = count_parameters(model)
    assert learn == sum(weight.numel() for weight in learning(model).values())
    added = sum(weight.numel() for key, weight in model.named_parameters()
                if key.replace(".base_layer", "").replace("self_attn.model.", "self_attn.")
                not in plain.state_dict())  # fmt: skip
    assert everything == count_parameters(plain)[1] + added
    head = sum(weight.numel() for weight in model.trunk.out_head.parameters())
    assert 0 < learn - head < everything / 2


def test_lora_has_rank_times_the_widths_of_each_layer():
    learn, _ = count_parameters(new("gpt", "lora"))
    a_block = 4 * (32 + 32) + (32 + 128) + (128 + 32)
    assert learn == 2 * RANK * a_block + 2 * 32 + 2


@pytest.mark.parametrize(("name", "layers"), [("houlsby", 2), ("pfeiffer", 1)])
@pytest.mark.parametrize(("trunk", "width"), [("gpt", 32), ("llama", 24), ("gpt_neox", 32)])
def test_bottlenecks_have_the_weights_that_the_lora_paper_counts(trunk, width, name, layers):
    learn, _ = count_parameters(new(trunk, name))
    one = 2 * width * RANK + RANK + width
    assert learn == 2 * layers * one + 2 * width + 2


def test_bitfit_has_a_weight_for_each_output_of_a_layer_and_of_a_norm():
    learn, _ = count_parameters(new("gpt", "bitfit"))
    a_block = 4 * 32 + (128 + 32) + 2 * 32
    assert learn == 2 * a_block + 32 + 2 * 32 + 2


def test_no_block_is_below_an_adapter():
    assert not any(frozen_depth(new(trunk, name).trunk) for trunk, name in PAIRS)


@each
def test_the_same_seed_gives_the_same_adapter(trunk, name):
    model = fresh(trunk)
    torch.manual_seed(9)
    state = torch.get_rng_state()
    adapt(model, name, RANK, STEPS, seed=0)
    assert torch.equal(torch.get_rng_state(), state)  # torch's own generator is left alone
    once, again = learning(new(trunk, name)), learning(model)
    assert all(torch.equal(once[key], again[key]) for key in once)


@each
def test_an_adapter_learns_in_bfloat16(trunk, name):
    model = copy.deepcopy(learnt(trunk, name)).train()
    with autocast("bfloat16", torch.device("cpu")):
        z = model(IDS, LENGTHS)
    F.cross_entropy(z.float(), LABELS).backward()
    gradients = [weight.grad for weight in learning(model).values() if weight.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    torch.testing.assert_close(z.float(), logits(model.eval()), atol=0.1, rtol=0.1)


@pytest.mark.parametrize(
    "name", [name for name in ADAPTERS if name not in ("adalora", "boft", "fourierft", "lokr",
                                                       "oft", "prefix", "adaption_prompt")]
)  # fmt: skip
def test_the_tensors_of_an_adapted_gpt_are_known_without_peft(name):
    trunk = {n: tuple(t.shape) for n, t in fresh("gpt").trunk.state_dict().items()}
    adapted = {n: tuple(t.shape) for n, t in new("gpt", name).trunk.state_dict().items()}
    assert ADAPTERS[name].shapes(trunk, 32, RANK) == adapted


@pytest.mark.parametrize("name", [name for trunk, name in PAIRS if trunk == "gpt"])
def test_one_position_is_read_as_in_a_full_pass(name):
    """GPT computes its last block at one position only, and not the way it computes the rest."""
    for position, causal in product(POSITIONS, [True, False]):
        check_reading(name, position, causal)


def check_reading(name, position, causal):
    pad_to = 12 if position == "last_column" else None
    model = copy.deepcopy(learnt("gpt", name))
    model.reading = Reading(position, pad_to, causal)
    lengths = LENGTHS if pad_to is None else torch.full_like(LENGTHS, pad_to)
    front = VIRTUAL_TOKENS if name in SOFT else 0
    with torch.inference_mode():
        found = model(IDS, lengths)
        for row, length in enumerate(lengths.tolist()):
            seen = None if causal else torch.ones(1, front + length, dtype=torch.bool)
            x = model.trunk.lower(IDS[row : row + 1, :length], 0, seen)
            h = model.trunk.upper(x, 0, seen)[0, front:]  # the message's own
            h = h.mean(dim=0) if position == "mean" else h[0 if position == "first" else -1]
            torch.testing.assert_close(model.trunk.out_head(h), found[row], atol=1e-5, rtol=1e-5)


# --- what is special about some -----------------------------------------------------------------


def test_a_seed_is_heard():
    for name in ("lora", "vera", "fourierft", "prompt"):
        one, two = (copy.deepcopy(adapted("gpt", name, seed=seed)) for seed in (0, 1))
        with torch.no_grad():
            for model in (one, two):
                for key, weight in learning(model).items():
                    if "lora_A" not in key and "embedding" not in key:
                        weight.fill_(0.1)
        assert not torch.allclose(logits(one), logits(two))


def test_adalora_ends_with_the_rank_it_was_given():
    model = learnt("gpt", "adalora")
    values = [weight for key, weight in learning(model).items() if "lora_E" in key]
    assert sum(len(value) for value in values) == len(values) * (RANK + RANK // 2)
    assert sum(int((value != 0).sum()) for value in values) == len(values) * RANK
    assert [name for name, adapter in ADAPTERS.items() if not adapter.resumable] == ["adalora"]


@pytest.mark.parametrize("steps", [2, 3, 10, 11])
def test_adalora_prunes_in_runs_of_any_length(steps):
    model = fresh("gpt")
    adapt(model, "adalora", rank=1, total_steps=steps, seed=0)
    optimizer = torch.optim.AdamW(learning(model).values(), lr=0.01)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()
        after_step(model)(step)
    values = [weight for key, weight in learning(model).items() if "lora_E" in key]
    assert sum(int((value != 0).sum()) for value in values) == len(values)


def test_a_training_run_calls_adalora_after_each_step():
    torch.manual_seed(0)
    model = TextClassifier(
        GPTModel(GPTConfig(context_length=32, emb_dim=32, n_heads=2, n_layers=2), 2), Reading()
    )
    data = toy_data()
    before = loss_and_accuracy(model, data)[0]
    config = TrainConfig(layers="adalora", rank=2, epochs=2, learning_rate=0.01, balance="none",
                         precision="float32")  # fmt: skip
    adapt(model, "adalora", rank=2, total_steps=10, seed=0)
    fit(model, data, data, config, after_step=after_step(model))
    assert loss_and_accuracy(model, data)[0] < before
    values = [weight for key, weight in learning(model).items() if "lora_E" in key]
    assert sum(int((value != 0).sum()) for value in values) == 2 * len(values)


def test_blocks_are_the_largest_that_divide_every_width():
    model = new("llama", "oft")  # widths 24 and 30, rank 4
    assert model.trunk.trf_blocks[0].mlp.down_proj.oft_block_size["default"] == 3
    model = new("llama", "boft")  # width 24
    assert model.trunk.trf_blocks[0].mlp.up_proj.boft_block_size["default"] == 4


def test_ia3_scales_keys_values_and_the_inside_of_a_feed_forward():
    block = new("llama", "ia3").trunk.trf_blocks[0]
    scales = [block.self_attn.k_proj, block.self_attn.v_proj, block.mlp.down_proj]
    shapes = [tuple(layer.ia3_l["default"].shape) for layer in scales]
    assert shapes == [(12, 1), (12, 1), (1, 30)]


def test_attention_at_one_position_has_dropout_with_an_adapter_too():
    torch.manual_seed(0)
    model = TextClassifier(gpt(drop_rate=0.5), Reading())
    adapt(model, "lora", RANK, STEPS, 0)
    attention = model.trunk.trf_blocks[-1].att
    x, where, seen = torch.randn(2, 9, 32), torch.tensor([8, 8]), torch.ones(2, 9, dtype=torch.bool)
    assert not torch.equal(*(attention.train().at(x, where, seen) for _ in range(2)))
    assert torch.equal(*(attention.eval().at(x, where, seen) for _ in range(2)))


@pytest.mark.parametrize(
    ("trunk", "attention", "feed_forward"),
    [("gpt", "att.out_proj", "ff.layers.2"), ("llama", "self_attn.o_proj", "mlp.down_proj"),
     ("gpt_neox", "attention.dense", "mlp.dense_4h_to_h")],
)  # fmt: skip
def test_bottlenecks_stand_where_a_block_writes_to_the_stream(trunk, attention, feed_forward):
    for name, expected in (("houlsby", [attention, feed_forward]), ("pfeiffer", [feed_forward])):
        for block in new(trunk, name).trunk.trf_blocks:
            found = [n for n, m in block.named_modules() if isinstance(m, Bottleneck)]
            assert sorted(found) == sorted(expected)


def test_a_bottleneck_adds_what_a_bent_narrow_copy_gives():
    layer = Bottleneck(nn.Linear(5, 3), 2)
    with torch.no_grad():
        layer.up.weight.fill_(1.0)
        layer.up.bias.copy_(torch.tensor([0.0, 1.0, 2.0]))
        x = torch.randn(4, 5)
        h = layer.base_layer(x)
        narrow = F.gelu(h @ layer.down.weight.T + layer.down.bias)  # (4, 2)
        expected = h + narrow.sum(dim=1, keepdim=True) + torch.arange(3)
        torch.testing.assert_close(layer(x), expected)


# --- soft prompts -------------------------------------------------------------------------------


@pytest.mark.parametrize(("trunk", "name"), [pair for pair in PAIRS if pair[1] in SOFT])
def test_the_first_token_sees_every_virtual_token(trunk, name):
    model = adapted(trunk, name, position="first")
    loss(model).backward()
    prompt = model.trunk.prefix if name == "prefix" else model.trunk.soft_prompt
    (vectors,) = (w for key, w in prompt.named_parameters() if key.endswith("embedding.weight"))
    assert (vectors.grad.abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize(("trunk", "name"), [pair for pair in PAIRS if pair[1] in SOFT])
def test_virtual_tokens_take_their_place_in_the_context(trunk, name):
    model = new(trunk, name)
    room = model.trunk.context_length
    assert room == fresh(trunk).trunk.context_length - VIRTUAL_TOKENS
    assert model(torch.zeros(1, room, dtype=torch.int64), torch.tensor([room])).shape == (1, 2)


def test_a_prompt_starts_as_tokens_of_the_vocabulary():
    model = new("gpt", "prompt")
    rows = model.trunk.soft_prompt.encoder.embedding.weight[:, None]  # (P, 1, C)
    assert (rows == model.trunk.tok_emb.weight).all(dim=2).any(dim=1).all()


def test_a_prompt_is_read_as_tokens_are():
    """In front of a message it gives what the same tokens give, written out."""
    model, plain = adapted("gpt", "prompt"), fresh("gpt")
    front = IDS[:2, :10].flatten()  # 20 tokens
    with torch.no_grad():
        model.trunk.soft_prompt.encoder.embedding.weight.copy_(plain.trunk.tok_emb(front))
        whole = torch.cat([front.expand(len(IDS), -1), IDS], dim=1)
        torch.testing.assert_close(logits(model), plain(whole, LENGTHS + VIRTUAL_TOKENS))


@pytest.mark.parametrize("name", ["prompt", "p_tuning"])
def test_padding_stays_unread_behind_a_prompt_without_the_causal_mask(name):
    model = adapted("gpt", name, causal=False)
    other = IDS.clone()
    other[-1, LENGTHS[-1] :] = 7
    torch.testing.assert_close(model(other, LENGTHS), model(IDS, LENGTHS))


# --- mistakes -----------------------------------------------------------------------------------


def refusal(model, name, rank=RANK, steps=STEPS):
    with pytest.raises(TuneshotError) as caught:
        adapt(model, name, rank, steps, 0)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_unknown_adapter_lists_the_choices():
    assert refusal(fresh("gpt"), "rlora").endswith("choose from " + ", ".join(ADAPTERS))


def test_a_model_has_one_adapter():
    assert "has an adapter (lora) already" in refusal(new("gpt", "lora"), "ia3")


def test_what_a_method_cannot_do_is_said_in_one_line():
    assert "needs an even rank, not 3" in refusal(fresh("gpt"), "hra", rank=3)
    assert "choose a rank from 2 on" in refusal(fresh("gpt"), "oft", rank=1)
    assert "choose a rank up to 24" in refusal(fresh("llama"), "miss", rank=25)
    assert "needs at least 2, not 1" in refusal(fresh("gpt"), "adalora", steps=1)
    assert "choose prompt or p_tuning" in refusal(fresh("gpt"), "prefix")
    assert "choose prompt or p_tuning" in refusal(fresh("gpt"), "adaption_prompt")
    assert "mixes LoRA adapters that were trained before" in refusal(fresh("gpt"), "xlora")
    assert "choose lora with that rank" in refusal(fresh("gpt"), "poly")
    with pytest.raises(TuneshotError, match=r"^poly chooses among low-rank skills"):
        TrainConfig(layers="poly")
    assert "trains biases, and this base has none" in refusal(fresh("llama"), "bitfit")
    tiny = TextClassifier(GPTModel(GPTConfig(VOCAB, 20, 32, 2, 2), 2), Reading())
    assert "leave no room for a message in a context of 20" in refusal(tiny, "prompt")


def test_layers_without_an_equal_block_are_named():
    config = transformers.LlamaConfig(vocab_size=VOCAB, hidden_size=24, intermediate_size=35,
                         num_hidden_layers=2, num_attention_heads=4)  # fmt: skip
    model = TextClassifier(HuggingFaceTrunk(transformers.LlamaModel(config), 2), Reading())
    assert "choose another adapter" in refusal(model, "oft")


def test_a_trunk_without_linear_layers_takes_what_needs_none():
    config = transformers.GPT2Config(
        vocab_size=VOCAB, n_positions=40, n_embd=32, n_layer=2, n_head=2,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = TextClassifier(HuggingFaceTrunk(transformers.GPT2Model(config), 2), Reading())
    assert "choose ln_tuning or last_block" in refusal(model, "lora")
    for name in BOTTLENECKS:
        assert "not made of these two; choose ln_tuning or last_block" in refusal(model, name)
    for name in ("prompt", "prefix", "ln_tuning", "bitfit"):
        one = copy.deepcopy(model)
        adapt(one, name, RANK, STEPS, 0)
        loss(one).backward()


def test_what_cannot_be_merged_is_refused():
    with pytest.raises(TuneshotError, match="no adapter to merge"):
        merge(fresh("gpt"))
    for name in (*SOFT, *BOTTLENECKS, "adaption_prompt"):
        with pytest.raises(TuneshotError, match=f"{name} is no change of weights"):
            merge(new("llama", name))


def test_without_an_adapter_nothing_happens_after_a_step():
    model = fresh("gpt")
    freeze_all_but(model.trunk, "all")
    assert after_step(model)(1) is None
    assert after_step(new("gpt", "lora"))(1) is None


def test_reading_the_names_does_not_load_peft():
    code = "import sys, clfcore.model.adapters; sys.exit('peft' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_adapted_model_prints_its_layers():
    assert isinstance(new("gpt", "lora").trunk.trf_blocks[0].att.W_key.base_layer, nn.Linear)


# --- beside another thread ----------------------------------------------------------------------


def test_an_adapter_is_drawn_though_another_thread_makes_a_model_of_transformers():
    from transformers.initialization import no_init_weights

    made, alone = threading.Event(), TextClassifier(gpt(), Reading())
    trunk = copy.deepcopy(alone.trunk)
    adapt(alone, "lora", RANK, STEPS, seed=0)

    def make():
        with MAKING, no_init_weights():
            made.set()
            time.sleep(0.3)

    other = threading.Thread(target=make)
    other.start()
    made.wait()
    beside = TextClassifier(trunk, Reading())
    adapt(beside, "lora", RANK, STEPS, seed=0)
    other.join()
    for (name, weight), same in zip(alone.named_parameters(), beside.parameters(), strict=True):
        assert torch.equal(weight, same), name
