"""A trained classifier on disk: a folder that explains itself.

    meta.json           format, trunk, labels, reading, threshold, data, training, metrics
    model.safetensors   the weights (never pickle)

A GPT-2 is stored whole. Of a trunk that can be loaded again from its source (a Hugging Face
model, or any base under an adapter) only what was trained is stored, beside the trunk's name and
fingerprint.

Written to a scratch name and renamed when complete, so a crash or a full disk leaves the old
folder as it was.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from clfcore import __version__
from clfcore.errors import TuneshotError
from clfcore.json_text import shortened_repr, to_json
from clfcore.model.adapters import adapt, merge
from clfcore.model.classifier import TextClassifier, Trunk
from clfcore.model.gpt import GPTModel
from clfcore.model.heads import head_from_state
from clfcore.model.spec import MAKING
from clfcore.model.tokenizer import encode
from clfcore.paths import atomic_write, files_sha256
from clfcore.quantization.learning import round_linears
from clfcore.weights.bases import Base, fingerprint, load_base
from clfcore.weights.meta import FLOAT32, FORMAT, KIND, Meta, check_free
from clfcore.weights.pretrained import empty_gpt2, without_memory
from clfcore.weights.storage import (
    AS_FLOATS,
    Storage,
    from_stored,
    to_stored,
)
from clfcore.weights.unopened import check_checkpoint, check_head, known_shapes, of_head
from clfcore.weights.untrusted.tensors import Shape, check_finite, check_shapes, read_tensors


def save_checkpoint(
    folder: Path, model: TextClassifier, meta: Meta, storage: Storage = AS_FLOATS
) -> None:
    """Writes ``folder`` in one step.

    Args:
        folder: created, or replaced if it is a checkpoint already.
        model: a classifier. Where ``meta.source`` is given, the weights that require gradients
            are what was trained.
        meta: must describe ``model``.
        storage: how its matrices are written; as int8 rows, in about a quarter of the size.

    Raises:
        TuneshotError: the disk is full, ``folder`` is something else than a checkpoint, or a matrix
            cannot be quantized.
    """
    check_free(folder)
    record, state = packed(model, meta)
    weights = save(to_stored(state, storage))
    record |= {
        "weights": {
            "sha256": hashlib.sha256(weights).hexdigest(),
            "storage": storage.scheme,
        },
    }
    with atomic_write(folder) as new:
        new.mkdir()
        (new / "model.safetensors").write_bytes(weights)
        (new / "meta.json").write_text(to_json(record, indent=2) + "\n", encoding="utf-8")


def packed(model: TextClassifier, meta: Meta) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What ``unpacked`` makes the same classifier of: plain values as for JSON, and weights.

    Args:
        model: as for ``save_checkpoint``.
        meta: must describe ``model``.
    """
    trained = {name for name, weight in model.trunk.named_parameters() if weight.requires_grad}
    state = {
        name: tensor.detach().contiguous()
        for name, tensor in model.trunk.state_dict().items()
        if meta.source is None or name in trained or name.startswith("out_head.")
    }
    record = {
        "format": FORMAT,
        "kind": KIND,
        "clfcore": __version__,
        "name": meta.name,
        "labels": list(meta.labels),
        "model": meta.model and meta.model.to_dict(),
        "source": meta.source,
        "fingerprint": meta.fingerprint,
        "adapter": meta.adapter and dict(meta.adapter),
        "reading": asdict(meta.reading),
        "activation_bits": meta.activation_bits,
        "threshold": meta.threshold,
        "about": dict(meta.about),
    }
    return record, state


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint in memory: the model in evaluation mode, its tokenizer, its description."""

    model: TextClassifier
    encode: Callable[[str], list[int]]
    meta: Meta


def load_checkpoint(folder: Path, trust_source: bool = False) -> Loaded:
    """The classifier in ``folder``, float32.

    The folder may come from anywhere: what its files hold is compared with what ``meta.json`` says
    before memory is taken for it.

    Args:
        folder: of the checkpoint.
        trust_source: see ``check_trusted``.

    Raises:
        TuneshotError: missing, truncated, altered, of a newer format or another kind, without its
            head, with weights that are not finite numbers, too large for this machine, or on a
            trunk that cannot be loaded, may not be, or is another one now. Nothing is ever filled
            in with random weights.
    """
    record = check_checkpoint(folder, trust_source)
    scheme = record["weights"]["storage"]
    path = folder / "model.safetensors"
    state = read_tensors(path)
    if scheme != FLOAT32:
        state = from_stored(path, state, scheme)
    check_finite(folder, state)
    if files_sha256(path) != record["weights"]["sha256"]:
        raise TuneshotError(f"{path} is not the file meta.json describes; copy the folder again")
    return unpacked(Meta.from_record(record), state, str(folder), network=trust_source)


def unpacked(meta: Meta, state: dict[str, Tensor], place: str, network: bool = False) -> Loaded:
    """The classifier that ``packed`` took apart.

    Args:
        meta: of what it said of the model.
        state: the weights.
        place: where they are from, for the error message.
        network: whether its trunk may be downloaded.

    Raises:
        TuneshotError: as ``load_checkpoint``.
    """
    base = None
    if meta.source is not None:
        base = load_base(meta.source, len(meta.labels), network=network)
        if fingerprint(base.trunk) != meta.fingerprint:
            raise TuneshotError(
                f"{place} was trained on other weights of {meta.source!r} than those it has now; "
                "bring those back, or train again"
            )
    with MAKING:
        return _unpacked(meta, state, place, base)


def _unpacked(meta: Meta, state: dict[str, Tensor], place: str, base: Base | None) -> Loaded:
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    trunk: Trunk
    encoder: Callable[[str], list[int]] = encode
    if base is None:
        assert meta.model is not None, "checked with meta.json"
        if known_shapes(meta) is None:  # else they were compared before the file was opened
            _check_fits(meta, empty_gpt2(meta.model, len(meta.labels)), shapes, place)
        trunk = GPTModel(meta.model, len(meta.labels))
    else:
        _check_fits(meta, without_memory(base.trunk), shapes, place)
        trunk, encoder = base.trunk, base.encode

    model = TextClassifier(trunk, meta.reading)
    trunk.out_head = head_from_state(of_head(state))
    if meta.activation_bits is not None:
        round_linears(trunk.trf_blocks, meta.activation_bits)
    if meta.adapter is not None:
        adapt(model, **meta.adapter)
    trunk.load_state_dict(state, strict=False)
    for name, weight in trunk.named_parameters():  # so that it can be saved again
        weight.requires_grad_(name in state)
    return Loaded(model.eval(), encoder, meta)


def _check_fits(meta: Meta, trunk: Trunk, shapes: Mapping[str, Shape], place: str) -> None:
    """Compares the stored weights with what the model needs.

    Args:
        meta: what is said of the model.
        trunk: without memory; changed in place.
        shapes: of the stored weights.
        place: for the error message.

    Raises:
        TuneshotError: they do not fit.
    """
    check_head(place, meta, shapes, trunk.emb_dim)
    with torch.device("meta"):
        head = {name: torch.empty(shape) for name, shape in of_head(shapes).items()}
        trunk.out_head = head_from_state(head)
    if (meta.reading.pad_to or 0) > trunk.context_length:
        raise TuneshotError(
            f"{place}: messages are padded to {meta.reading.pad_to:,} tokens, this model reads "
            f"{trunk.context_length:,}"
        )
    if meta.adapter is not None:
        # boft computes with its weights when it is made; they are never larger than a layer.
        with nullcontext() if meta.adapter["name"] == "boft" else torch.device("meta"):
            _adapt(TextClassifier(trunk, meta.reading), meta.adapter, place)
    tensors = trunk.state_dict()
    # Of a trunk with a source the file holds what was trained: of an adapter, all of it.
    trained = {name for name, weight in trunk.named_parameters() if weight.requires_grad}
    wanted = tensors.keys() if meta.source is None else shapes.keys() | (
        trained if meta.adapter is not None else set()
    )  # fmt: skip
    needed = {name: tuple(tensors[name].shape) for name in tensors if name in wanted}
    check_shapes(place, shapes, needed)


def _adapt(model: TextClassifier, adapter: Mapping[str, Any], place: str) -> None:
    try:
        adapt(model, **adapter)
    except (ValueError, RuntimeError, TypeError, IndexError, ZeroDivisionError) as error:
        why = shortened_repr(str(error).partition("\n")[0])
        raise TuneshotError(
            f"{place}: its adapter {adapter['name']} of rank {adapter['rank']:,} does not suit its "
            f"model ({why})"
        ) from error


def merged(folder: Path, trust_source: bool = False) -> Loaded:
    """The classifier in ``folder`` with its adapter folded into the trunk's weights.

    Args:
        folder: of the checkpoint.
        trust_source: see ``check_trusted``.

    Raises:
        TuneshotError: as ``load_checkpoint``; or there is no adapter, or it cannot be merged.
    """
    loaded = load_checkpoint(folder, trust_source)
    if loaded.meta.adapter is None:
        raise TuneshotError(f"{folder} has no adapter to merge")
    merge(loaded.model)
    whole = loaded.meta.model is not None  # a GPT-2 is now like any other
    if not whole:
        loaded.model.trunk.requires_grad_(True)  # all of it differs from its source
    source = None if whole else loaded.meta.source
    return replace(loaded, meta=replace(loaded.meta, adapter=None, source=source))
