"""No test of comparisons loads a real model to embed sentences, or writes into the user's cache."""

import pytest

from icl.compare.learn import embedding
from tests.support.doubles import HashedWords


@pytest.fixture(autouse=True)
def hashed_words(monkeypatch, tmp_path):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(embedding, "SentenceEmbedder", lambda name: HashedWords())
    embedding.embedder.cache_clear()
    yield
    embedding.embedder.cache_clear()
