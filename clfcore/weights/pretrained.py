"""GPT-2 as Hugging Face stores it, read and written; and the book's chapter-6 classifier."""

import copy
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from clfcore.errors import TuneshotError
from clfcore.json_text import shortened_repr, to_json
from clfcore.model.gpt import GPTModel
from clfcore.model.spec import END_OF_TEXT, GPT_PRESETS, GPTConfig
from clfcore.weights.source import REPOSITORIES, find_file
from clfcore.weights.untrusted.files import check_memory, read_object
from clfcore.weights.untrusted.gpt2 import check_size, gpt2_shapes
from clfcore.weights.untrusted.pickled import read_pickled
from clfcore.weights.untrusted.tensors import (
    check_finite,
    check_floats,
    check_shapes,
    read_header,
    read_tensors,
)

State = dict[str, Tensor]

# Hugging Face's name -> ours; N is the number of a block. c_attn is query, key and value side by
# side, which are split.
_NAMES = {
    "wte.weight": ["tok_emb.weight"],
    "wpe.weight": ["pos_emb.weight"],
    "ln_f.weight": ["final_norm.scale"],
    "ln_f.bias": ["final_norm.shift"],
    "h.N.ln_1.weight": ["trf_blocks.N.norm1.scale"],
    "h.N.ln_1.bias": ["trf_blocks.N.norm1.shift"],
    "h.N.ln_2.weight": ["trf_blocks.N.norm2.scale"],
    "h.N.ln_2.bias": ["trf_blocks.N.norm2.shift"],
    "h.N.attn.c_attn.weight": [
        f"trf_blocks.N.att.{layer}.weight" for layer in ("W_query", "W_key", "W_value")
    ],
    "h.N.attn.c_attn.bias": [
        f"trf_blocks.N.att.{layer}.bias" for layer in ("W_query", "W_key", "W_value")
    ],
    "h.N.attn.c_proj.weight": ["trf_blocks.N.att.out_proj.weight"],
    "h.N.attn.c_proj.bias": ["trf_blocks.N.att.out_proj.bias"],
    "h.N.mlp.c_fc.weight": ["trf_blocks.N.ff.layers.0.weight"],
    "h.N.mlp.c_fc.bias": ["trf_blocks.N.ff.layers.0.bias"],
    "h.N.mlp.c_proj.weight": ["trf_blocks.N.ff.layers.2.weight"],
    "h.N.mlp.c_proj.bias": ["trf_blocks.N.ff.layers.2.bias"],
}
_LINEAR = re.compile(r"h\.N\.(attn|mlp)\..*weight")
_IGNORED = re.compile(r"lm_head\.weight|h\.\d+\.attn\.(masked_)?bias")  # tied head; mask buffers


# What our GPT computes in one way only: the entry of config.json, and the values that mean it.
_COMPUTED = {
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "layer_norm_epsilon": (1e-5,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
}


def is_gpt2(source: str, network: bool = True) -> bool:
    """Whether ``source``, as for ``load_gpt2``, is a GPT-2 as published, and no variant of it.

    One of fewer tokens than GPT-2's is read with a tokenizer of its own.

    Raises:
        TuneshotError: its ``config.json`` cannot be loaded.
    """
    settings = read_object(find_file(source, "config.json", network))
    size = settings.get("vocab_size")
    own_tokens = isinstance(size, int) and size <= END_OF_TEXT
    return settings.get("model_type") == "gpt2" and not own_tokens and not _differing(settings)


def _differing(settings: Mapping[str, object]) -> list[str]:
    return [
        name for name, values in _COMPUTED.items() if settings.get(name, values[0]) not in values
    ]


def gpt2_config(source: str) -> GPTConfig:
    """The shape of the GPT-2 that ``load_gpt2`` would load; raises as that does."""
    return _config(source, read_object(find_file(source, "config.json")))


def load_gpt2(source: str, network: bool = True) -> tuple[GPTConfig, State]:
    """The trunk of a GPT-2 in Hugging Face's format.

    Args:
        source: ``gpt2`` … ``gpt2-xl``, another repository, or a folder with ``config.json`` and
            ``model.safetensors``. A local folder is tried first, then the Hugging Face cache,
            then the network.
        network: whether it may be downloaded.

    Returns:
        The shape and our state dict without ``out_head`` (float32).

    Raises:
        TuneshotError: not found, not a GPT-2, truncated, or a tensor of a wrong name or shape.
    """
    cfg = _config(source, read_object(find_file(source, "config.json", network)))
    weights = find_file(source, "model.safetensors", network)
    header = read_header(weights)
    check_floats(weights, {n: t for n, t in header.items() if not _IGNORED.search(n)})
    shapes = {name: tuple(t.shape) for name, t in from_hugging_face(
        {name: torch.empty(stored.shape, device="meta") for name, stored in header.items()}
    ).items()}  # fmt: skip
    check_size(source, shapes, cfg)
    expected = gpt2_shapes(cfg)
    del expected["out_head.weight"]  # tied to the token embedding
    check_shapes(source, shapes, expected)
    check_memory(weights, 2 * weights.stat().st_size)
    state = from_hugging_face(read_tensors(weights))
    check_finite(weights, state)
    return cfg, state


def from_hugging_face(theirs: Mapping[str, Tensor]) -> State:
    """Our names and layouts for the tensors of a ``GPT2Model`` or ``GPT2LMHeadModel``.

    Their linear layers are stored as (in, out) ("Conv1D"), ours as PyTorch's (out, in).

    Raises:
        TuneshotError: a tensor GPT-2 does not have.
    """
    ours: State = {}
    for full_name, tensor in theirs.items():
        name = full_name.removeprefix("transformer.")
        if _IGNORED.fullmatch(name):
            continue
        block = re.match(r"h\.(\d+)\.", name)
        pattern = name.replace(block[0], "h.N.", 1) if block else name
        if pattern not in _NAMES:
            raise TuneshotError(f"not a GPT-2: unexpected tensor {shortened_repr(full_name)}")
        if tensor.dim() not in (1, 2) or tensor.shape[-1] % len(_NAMES[pattern]):
            raise TuneshotError(
                f"not a GPT-2: {shortened_repr(full_name)} has shape {tuple(tensor.shape)}"
            )
        parts = tensor.float().chunk(len(_NAMES[pattern]), dim=-1)
        for our_name, part in zip(_NAMES[pattern], parts, strict=True):
            target = our_name.replace(".N.", f".{block[1]}.") if block else our_name
            ours[target] = part.t().contiguous() if _LINEAR.fullmatch(pattern) else part
    return ours


def to_hugging_face(ours: Mapping[str, Tensor], n_layers: int) -> State:
    """The opposite of ``from_hugging_face``; without a head, which is the token embedding."""
    theirs: State = {}
    for pattern, names in _NAMES.items():
        for block in range(n_layers) if ".N." in pattern else [0]:
            parts = [ours[name.replace(".N.", f".{block}.")] for name in names]
            if _LINEAR.fullmatch(pattern):
                parts = [part.t() for part in parts]  # (out, in) -> (in, out)
            theirs[pattern.replace(".N.", f".{block}.")] = torch.cat(parts, dim=-1).contiguous()
    return theirs


def save_gpt2(folder: Path, model: GPTModel) -> None:
    """Writes ``config.json`` and ``model.safetensors``, which ``load_gpt2`` and transformers read.

    Args:
        folder: made here.
        model: on the CPU; its head is the token embedding.
    """
    cfg = model.cfg
    settings = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": cfg.vocab_size,
        "n_positions": cfg.context_length,
        "n_embd": cfg.emb_dim,
        "n_head": cfg.n_heads,
        "n_layer": cfg.n_layers,
        **{name: values[0] for name, values in _COMPUTED.items()},
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), cfg.drop_rate),
        **dict.fromkeys(("bos_token_id", "eos_token_id"), END_OF_TEXT),
    }
    folder.mkdir()
    (folder / "config.json").write_text(to_json(settings, indent=2) + "\n", encoding="utf-8")
    theirs = to_hugging_face(model.state_dict(), cfg.n_layers)
    save_file(theirs, folder / "model.safetensors", metadata={"format": "pt"})


def load_chapter6(path: Path) -> GPTModel:
    """The classifier that chapter 6 of the book saves as ``review_classifier.pth``.

    The file holds weights only, so the shape is read off them, but for the number of heads: that
    is the published one of a GPT-2 of this size, or stands in a ``config.json`` beside the file, as
    ``n_head`` (Hugging Face) or ``n_heads`` (the book). Its class 0 is ham and class 1 is spam.

    Raises:
        TuneshotError: unreadable, holds more than plain tensors, is another kind of model, or
            nothing says how many heads it has.
    """
    loaded = read_pickled(path)
    wanted = ("tok_emb.weight", "pos_emb.weight", "out_head.weight", "out_head.bias")
    if any(name not in loaded for name in wanted):
        raise TuneshotError(
            f"{path} is not a chapter-6 classifier: expected a state dict with {', '.join(wanted)}"
        )
    state = {name: tensor for name, tensor in loaded.items() if not name.endswith("att.mask")}
    for name, tensor in state.items():
        if not tensor.is_floating_point() or (name in wanted[:2] and tensor.dim() != 2):
            raise TuneshotError(
                f"{path} is not a chapter-6 classifier: {shortened_repr(name)} has the type "
                f"{tensor.dtype} and the shape {tuple(tensor.shape)}"
            )
    blocks = {name.split(".")[1] for name in state if name.startswith("trf_blocks.")}
    vocab_size, emb_dim = state["tok_emb.weight"].shape
    cfg = GPTConfig(
        vocab_size=vocab_size,
        context_length=state["pos_emb.weight"].shape[0],
        emb_dim=emb_dim,
        n_heads=_heads(path, emb_dim, len(blocks)),
        n_layers=len(blocks),
        qkv_bias="trf_blocks.0.att.W_query.bias" in state,
    )
    classes = state["out_head.bias"].numel()
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    check_size(path, shapes, cfg)
    check_shapes(path, shapes, gpt2_shapes(cfg, classes))
    check_memory(path, 2 * path.stat().st_size)
    check_finite(path, state)
    model = GPTModel(cfg, classes)
    model.load_state_dict(state)
    return model


def _heads(path: Path, emb_dim: int, n_layers: int) -> int:
    """How many heads the weights in ``path`` were trained with: no shape shows it."""
    config = path.with_name("config.json")
    if os.path.exists(config):
        settings = read_object(config)
        if (heads := settings.get("n_head", settings.get("n_heads"))) is not None:
            return _whole(heads, f"n_head in {config}")
    for name in REPOSITORIES:
        if (GPT_PRESETS[name].emb_dim, GPT_PRESETS[name].n_layers) == (emb_dim, n_layers):
            return GPT_PRESETS[name].n_heads
    raise TuneshotError(
        f"{path} does not say how many attention heads it has ({emb_dim} wide, {n_layers} blocks: "
        f'no published GPT-2); write {{"n_head": NUMBER}} into {config}'
    )


def _whole(value: object, what: str) -> int:
    if type(value) is not int or value < 1:
        raise TuneshotError(
            f"{what} is {shortened_repr(value)}; it has to be a whole number, 1 or more"
        )
    return value


def empty_gpt2(cfg: GPTConfig, num_classes: int | None = None) -> GPTModel:
    """A GPT-2 without memory for its weights, for those that ``load_state_dict`` assigns."""
    with torch.device("meta"), _Unfilled():
        return GPTModel(cfg, num_classes)


M = TypeVar("M", bound=nn.Module)


def without_memory(module: M) -> M:
    """A copy of ``module`` whose tensors have shapes and no values."""
    empty = {id(w): nn.Parameter(w.detach().to("meta"), w.requires_grad)
             for w in module.parameters()}  # fmt: skip
    return copy.deepcopy(module, empty | {id(b): b.to("meta") for b in module.buffers()})


class _Unfilled(TorchFunctionMode):
    """Weights are not drawn. To draw none on its meta device, torch loads its compiler: seconds."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        return kwargs["tensor"] if func is nn.init.normal_ else func(*args, **kwargs)


def _config(source: str, settings: Mapping[str, object]) -> GPTConfig:
    names = ("vocab_size", "n_positions", "n_embd", "n_head", "n_layer")
    if settings.get("model_type") != "gpt2" or any(name not in settings for name in names):
        raise TuneshotError(
            f"{source} is not a GPT-2 (config.json says "
            f"{shortened_repr(settings.get('model_type'))})"
        )
    if differing := _differing(settings):
        named = ", ".join(f"{name} is {shortened_repr(settings[name])}" for name in differing)
        raise TuneshotError(
            f"{source} is a variant of GPT-2 (config.json: {named}), which this model does not "
            "compute"
        )
    vocab_size, context_length, emb_dim, n_heads, n_layers = (
        _whole(settings[name], f"{name} of {source}") for name in names
    )
    return GPTConfig(vocab_size, context_length, emb_dim, n_heads, n_layers)
