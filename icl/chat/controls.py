"""What a visitor can choose in the composer: one picker for each field of ``Settings``."""

from collections.abc import Callable

import chainlit as cl

from icl.prompt import ARRANGEMENTS
from icl.session import CHAT_SELECTORS, Settings

K_CHOICES = (1, 2, 4, 6, 8, 16)

# Picker names: short enough for a phone, clear without a heading. A new entry of a registry shows
# up under its own name until it gets words here.
SELECTOR_WORDS = {
    "zero": ("Zero-shot", "No examples: what the language model knows by itself"),
    "random": ("Random", "Any messages, whatever their label"),
    "balanced_random": ("Balanced random", "Any messages, as many spam as not spam"),
    "topk": ("Top-k", "The messages most similar to yours"),
    "mmr": ("MMR", "Similar to yours, and not all alike"),
    "dpp": ("DPP", "A varied set of similar messages"),
    "bm25": ("BM25", "Messages that share rare words with yours"),
    "hybrid": ("Hybrid", "Similar in meaning and in words"),
    "kcenter": ("k-center + top-k", "From 100 that leave no message far away"),
    "facility": ("Facility + top-k", "From the 100 that cover the pool best"),
    "votek": ("Vote-k list", "The same examples for every message"),
    "votek_pool": ("Vote-k + top-k", "From 100 that vote-k finds worth labelling"),
    "mdl": ("MDL", "The list that makes the language model most certain"),
    "knn": ("kNN vote", "The most similar messages vote; no language model"),
}
ORDER_WORDS = {
    "similar_last": ("Similar last", "The most similar example next to your message"),
    "similar_first": ("Similar first", "The most similar example at the top"),
    "interleave": ("Interleaved", "Labels alternate"),
    "easy_to_hard": ("Easy to hard", "Short examples before long ones"),
    "random": ("Random order", "Shuffled: shows how much the order matters"),
    "as_given": ("As ranked", "The selector's own order"),
}


def selector_words(name: str) -> tuple[str, str]:
    """Title and description of a selector."""
    return SELECTOR_WORDS.get(name, (name, ""))


def order_words(name: str) -> tuple[str, str]:
    """Title and description of an order."""
    return ORDER_WORDS.get(name, (name, ""))


def k_words(k: str) -> tuple[str, str]:
    """Title and description of a number of examples."""
    return f"k = {k}", "one example" if k == "1" else f"{k} examples"


def pickers() -> list[cl.Mode]:
    """The pickers, set to the defaults of ``Settings``; their ids are its fields."""
    default = Settings()
    return [
        _picker("selector", "Selector", list(CHAT_SELECTORS), selector_words, default.selector),
        _picker("k", "Examples", [str(k) for k in K_CHOICES], k_words, str(default.k)),
        _picker("order", "Order", list(ARRANGEMENTS), order_words, default.order),
    ]


def _picker(
    field: str, name: str, ids: list[str], words: Callable[[str], tuple[str, str]], default: str
) -> cl.Mode:
    options = []
    for id in ids:
        title, description = words(id)
        options.append(
            cl.ModeOption(id=id, name=title, description=description, default=id == default)
        )
    return cl.Mode(id=field, name=name, options=options)
