"""Sampling: whom the numbers obey, and what reaches the reader."""

import pytest
import torch

from clfcore.model.gpt import GPTModel
from clfcore.model.spec import END_OF_TEXT, GPTConfig
from clfcore.model.tokenizer import encode, gpt2_encoding
from clfcore.pretraining import sample
from clfcore.pretraining.language_model import WritingBase
from clfcore.pretraining.sample import choose, next_tokens, write
from clfcore.pretraining.settings import SampleConfig

LOGITS = torch.tensor([0.0, 3.0, 1.0, 2.0])


def draws(logits, temperature, top_k, n=2000):
    random = torch.Generator().manual_seed(0)
    return [choose(logits, temperature, top_k, random) for _ in range(n)]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_softmax_says(temperature):
    found = torch.bincount(torch.tensor(draws(LOGITS, temperature, 0)), minlength=4) / 2000
    torch.testing.assert_close(found, (LOGITS / temperature).softmax(0), atol=0.04, rtol=0)


def test_top_k_draws_from_the_likeliest_only():
    assert set(draws(LOGITS, 5.0, 2)) == {1, 3}
    assert set(draws(LOGITS, 5.0, 99)) == {0, 1, 2, 3}  # more than there are: all


@pytest.mark.parametrize("temperature", [0, 1e-40])
def test_without_temperature_the_likeliest_is_taken(temperature):
    assert set(draws(LOGITS, temperature, 0, 20)) == {1}


@pytest.fixture(scope="module")
def trunk():
    torch.manual_seed(0)
    return GPTModel(GPTConfig(vocab_size=30, context_length=6, emb_dim=16, n_heads=2, n_layers=1))


def test_the_same_seed_writes_the_same_text_whatever_else_is_drawn(trunk):
    texts = []
    for seed in (0, 0, 1):
        torch.rand(seed + 3)
        before = torch.get_rng_state()
        texts.append(list(next_tokens(trunk, [1], 29, SampleConfig(tokens=12, seed=seed))))
        assert torch.equal(torch.get_rng_state(), before)
    assert texts[0] == texts[1] != texts[2]


def test_of_a_text_longer_than_the_context_the_last_tokens_are_read(trunk):
    greedy = SampleConfig(tokens=1, temperature=0)
    last = [7, 8, 9, 10, 11, 12]
    assert list(next_tokens(trunk, [1, 2, 3, *last], 99, greedy)) == list(
        next_tokens(trunk, last, 99, greedy)
    )
    assert len(list(next_tokens(trunk, [1], 99, SampleConfig(tokens=20)))) == 20


def base_that_writes(monkeypatch, tokens, trunk):
    monkeypatch.setattr(sample, "next_tokens", lambda *_: iter(tokens))
    decode = gpt2_encoding().decode
    return WritingBase("played", trunk, encode, decode, END_OF_TEXT, lambda _: None)


@pytest.mark.parametrize("text", ["plain words", "naïve café", "👩‍🚀 mañana 你好", "�a"])
def test_pieces_are_whole_characters_and_together_the_text(text, monkeypatch, trunk):
    base = base_that_writes(monkeypatch, encode(text), trunk)
    pieces = list(write(base, "", SampleConfig()))
    assert "".join(pieces) == text
    assert all("�" not in piece for piece in pieces if "�" not in text)


def test_half_a_character_at_the_end_is_shown_as_what_it_is(monkeypatch, trunk):
    base = base_that_writes(monkeypatch, encode("ok 👩")[:-1], trunk)
    assert "".join(write(base, "", SampleConfig())) == "ok �"


def test_writing_stops_where_the_text_ends(trunk):
    greedy = SampleConfig(tokens=9, temperature=0)
    (first,) = next_tokens(trunk, [1], 99, SampleConfig(tokens=1, temperature=0))
    assert list(next_tokens(trunk, [1], first, greedy)) == []
