"""Attention is the model's own: its weights times its values are what its heads give."""

import json

import numpy as np
import pytest
import torch

from clfcore.analysis.attention import Attention, attention, attention_map, visible
from clfcore.cli.clf import main
from clfcore.errors import TuneshotError
from clfcore.fine_tuned import FineTuned
from clfcore.model.adapters import adapt
from clfcore.model.classifier import TextClassifier
from clfcore.model.gpt import GPTModel, MultiHeadAttention
from clfcore.model.huggingface import HuggingFaceTrunk
from clfcore.model.spec import GPTConfig, Reading
from clfcore.weights.meta import Meta
from tests.support.lazy import lazy
from tests.support.tiny import CFG, LABELS, tiny

transformers = lazy("transformers")

TEXT = "Do you have time"


def model_with(reading: Reading | None = None) -> FineTuned:
    return FineTuned(tiny(reading=reading), Meta("tiny", LABELS, CFG, reading=reading or Reading()))


@pytest.mark.parametrize("seen", [None, torch.tensor([[True] * 5 + [False] * 2] * 3)])
def test_weights_times_values_are_what_the_heads_give(seen):
    torch.manual_seed(0)
    heads = MultiHeadAttention(GPTConfig(emb_dim=24, n_heads=3)).eval()
    torch.nn.init.normal_(heads.W_query.weight)  # so that the weights are not all alike
    x = torch.randn(3, 7, 24)
    weights = heads.weights(x, seen)  # (B, H, T, T)
    values = heads.W_value(x).view(3, 7, 3, 8).transpose(1, 2)  # (B, H, T, D)
    mixed = (weights @ values).transpose(1, 2).reshape(3, 7, 24)
    torch.testing.assert_close(heads.out_proj(mixed), heads(x, seen))
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(3, 3, 7))
    hidden = weights.triu(diagonal=1) if seen is None else weights[..., 5:]
    assert hidden.abs().max() == 0, "nothing looks ahead, nor at padding"
    assert weights.std() > 0.1


def test_equal_keys_share_equally():
    heads = MultiHeadAttention(GPTConfig(emb_dim=8, n_heads=2)).eval()
    torch.nn.init.zeros_(heads.W_key.weight)
    weights = heads.weights(torch.randn(1, 4, 8))
    wanted = torch.tril(torch.ones(4, 4)) / torch.arange(1, 5)[:, None]
    torch.testing.assert_close(weights, wanted.expand(1, 2, 4, 4))


def test_both_kinds_of_trunk_tell_the_same_of_the_same_weights(tmp_path):
    from clfcore.weights.pretrained import load_gpt2

    torch.manual_seed(0)
    theirs = transformers.GPT2Model(
        transformers.GPT2Config(vocab_size=99, n_positions=16, n_embd=32, n_head=4, n_layer=2)
    ).eval()
    theirs.save_pretrained(tmp_path)
    cfg, state = load_gpt2(str(tmp_path))
    ours = GPTModel(cfg).eval()
    ours.load_state_dict(state | {"out_head.weight": state["tok_emb.weight"]})
    trunk, ids = HuggingFaceTrunk(theirs, 2).eval(), torch.randint(0, 99, (2, 9))
    before = trunk.upper(trunk.lower(ids, 0), 0)
    for block in range(2):
        torch.testing.assert_close(
            trunk.attention(ids, block), ours.attention(ids, block), atol=1e-5, rtol=1e-4
        )
    torch.testing.assert_close(trunk.upper(trunk.lower(ids, 0), 0), before, rtol=0, atol=0)


def test_every_row_is_a_mixture_and_the_last_token_looks_at_all():
    found = attention(model_with(), TEXT)
    assert found.tokens == found.looking == ("Do", " you", " have", " time")
    assert (found.layer, found.layers, found.heads, found.head) == (2, 2, 2, None)
    assert found.weights.sum(axis=1) == pytest.approx([1] * 4)
    assert np.array_equal(found.weights > 0, np.tri(4, dtype=bool))


def test_without_a_head_it_is_the_mean_of_all():
    model = model_with()
    heads = [attention(model, TEXT, layer=1, head=head).weights for head in (1, 2)]
    assert attention(model, TEXT, layer=1).weights == pytest.approx(np.mean(heads, axis=0))
    assert not np.allclose(*heads)


def test_without_a_causal_mask_every_token_looks_at_all():
    assert (attention(model_with(Reading(causal=False)), TEXT).weights > 0).all()


def test_padding_that_is_read_is_looked_at():
    found = attention(model_with(Reading("last_column", pad_to=6)), TEXT)
    assert found.tokens[-2:] == ("<|endoftext|>",) * 2


def test_a_soft_prompt_stands_in_front_and_looks_too():
    model = model_with()
    adapt(model.model, "prompt", 1, 1, 0)
    found = attention(model, TEXT)
    assert found.tokens[:2] == ("[1]", "[2]")
    assert found.tokens == found.looking
    assert found.tokens[-1] == " time"


def test_a_prefix_is_looked_at_and_looks_at_nothing():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=60000, hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    classifier = TextClassifier(
        HuggingFaceTrunk(transformers.LlamaModel(config), 2), Reading()
    ).eval()
    adapt(classifier, "prefix", 4, 1, 0)
    found = attention(FineTuned(classifier, Meta("tiny", LABELS)), TEXT, layer=1, head=4)
    assert found.weights.shape == (4, 24)
    assert (len(found.tokens), found.looking[0]) == (24, "Do")
    assert found.weights.sum(axis=1) == pytest.approx([1] * 4)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [({"layer": 3}, "layer must be from 1 to 2, not 3"), ({"head": 0}, "head must be from 1 to 2")],
)
def test_a_layer_or_head_that_is_not_there_is_refused(chosen, said):
    with pytest.raises(TuneshotError, match=said):
        attention(model_with(), TEXT, **chosen)


@pytest.mark.parametrize("text", ["", "$x$ <b> 😀 \x1b[31m", "so " * 40])
def test_any_text_can_be_drawn(text, tmp_path):
    from clfcore.training.curves import save_figure

    save_figure(attention_map(attention(model_with(), text)), tmp_path / "map.svg")
    drawn = (tmp_path / "map.svg").read_text(encoding="utf-8")
    assert "\x1b" not in drawn


def test_a_character_that_the_font_lacks_is_no_warning(tmp_path):
    from clfcore.training.curves import save_figure

    chinese = Attention(1, 1, 1, 1, ("你", " 好"), np.tri(2, dtype=np.float32))
    save_figure(attention_map(chinese), tmp_path / "map.png")  # warnings are errors here


def test_tokens_are_shown_without_their_spaces():
    assert [visible(token) for token in (" you", "  ", "\n", "\x1b")] == [
        "you",
        "␣␣",
        r"\n",
        r"\x1b",
    ]


# --- the command --------------------------------------------------------------------------------


def test_the_command_says_a_person_and_a_program_the_same(command, tmp_path):
    out_file = tmp_path / "map.png"
    status, out, _ = command(main, "clf", "attention", TEXT, "--head", "2", "--out", out_file)
    assert status == 0
    assert out_file.read_bytes().startswith(b"\x89PNG")
    _, line, _ = command(main, "clf", "attention", TEXT, "--head", "2", "--json")
    record = json.loads(line)
    assert record["tokens"] == ["Do", " you", " have", " time"]
    last = next(row for row in out.splitlines() if row.startswith("│ time"))
    assert last.split("│")[2:-1] == [f" {share:.2f} " for share in record["weights"][-1]]


def test_of_a_long_message_the_last_row_is_shown(command):
    status, out, err = command(main, "clf", "attention", "see you there " * 6)
    assert status == 0
    assert "the last token, " in out
    assert "--json" in err


def test_two_models_are_one_too_many(command):
    status, _, err = command(main, "clf", "attention", TEXT, "--base", "gpt2-mini",
                             "--checkpoint", "x")  # fmt: skip
    assert (status, "give one" in err) == (2, True)
