"""Sentence vectors: one model a process, shared by all methods."""

import time
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from clfcore.types import Example
from icl.pool.embed import DEFAULT_EMBEDDER, SentenceEmbedder, embed_cached
from icl.pool.pool import Pool


@lru_cache(maxsize=4)
def embedder(name: str = DEFAULT_EMBEDDER) -> SentenceEmbedder:
    """The one of this name, see ``SentenceEmbedder``; all methods share it."""
    return SentenceEmbedder(name)


def pool_of(examples: Sequence[Example], name: str = DEFAULT_EMBEDDER) -> Pool:
    """A pool, embedded by ``embedder(name)``; vectors come from the disk where they are known."""
    return Pool.build(examples, embedder(name))


def vectors_of(texts: Sequence[str], name: str = DEFAULT_EMBEDDER) -> np.ndarray:
    """(N, d) float32 unit vectors of ``embedder(name)``; from the disk where they are known."""
    return embed_cached(embedder(name), texts)


def seconds_to_embed(texts: Sequence[str], name: str = DEFAULT_EMBEDDER) -> float:
    """What remembered vectors of ``texts`` have cost, from the pace of some of them."""
    sample = list(texts[:: max(1, len(texts) // 64)])[:64]
    if not sample:
        return 0.0
    embedder(name).embed(sample[:1])  # loads the model
    start = time.perf_counter()
    embedder(name).embed(sample)
    return (time.perf_counter() - start) * len(texts) / len(sample)
