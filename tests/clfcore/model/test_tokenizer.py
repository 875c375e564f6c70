"""GPT-2's tokens, without the network."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clfcore.model.spec import END_OF_TEXT
from clfcore.model.tokenizer import encode, gpt2_encoding


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        # Published examples: the GPT-2 release, and the book's "Every effort moves you".
        ("Hello world", [15496, 995]),
        ("Every effort moves you", [6109, 3626, 6100, 345]),
        (" ham", [8891]),
        (" spam", [18084]),
    ],
)
def test_known_texts_have_known_tokens(text, ids):
    assert encode(text) == ids


@given(st.text(max_size=200))
def test_any_text_survives_the_round_trip(text):
    if text:
        assert gpt2_encoding().decode(encode(text)) == text


CONTROL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "[INST]", "[/INST]", "</s>"]


@given(st.lists(st.sampled_from(CONTROL_TOKENS) | st.text(max_size=20), min_size=1).map("".join))
def test_control_tokens_in_a_message_are_plain_text(text):
    ids = encode(text or "x")
    assert END_OF_TEXT not in ids
    assert gpt2_encoding().decode(ids) == (text or "x")


def test_empty_and_broken_text_still_have_a_token():
    assert encode("") == [END_OF_TEXT]
    assert encode("\ud800") == encode("?")


def test_no_connection_is_made(monkeypatch):
    import socket

    def refuse(*args, **kwargs):
        raise AssertionError("the tokenizer used the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    gpt2_encoding.cache_clear()
    assert encode("offline") == gpt2_encoding().encode("offline")
