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
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from clfcore import __version__
from clfcore.errors import TuneshotError
from clfcore.json_text import to_json
from clfcore.model.adapters import adapt, merge
from clfcore.model.classifier import TextClassifier
from clfcore.model.gpt import GPTModel
from clfcore.model.heads import head_from_state, last_linear
from clfcore.model.tokenizer import encode
from clfcore.paths import atomic_write
from clfcore.weights.bases import Base, fingerprint, load_base
from clfcore.weights.int8 import from_int8, to_int8
from clfcore.weights.meta import FORMAT, KIND, Meta, check_free, read_meta
from clfcore.weights.pretrained import check_state


def save_checkpoint(folder: Path, model: TextClassifier, meta: Meta, int8: bool = False) -> None:
    """Writes ``folder`` in one step.

    Args:
        folder: created, or replaced if it is a checkpoint already.
        model: a classifier. Where ``meta.source`` is given, the weights that require gradients
            are what was trained.
        meta: must describe ``model``.
        int8: store matrices as one int8 row and one scale each, about a quarter of the size.

    Raises:
        TuneshotError: the disk is full, or ``folder`` is something else than a checkpoint.
    """
    check_free(folder)
    record, state = packed(model, meta)
    weights = save(to_int8(state) if int8 else state)
    record |= {
        "weights": {
            "sha256": hashlib.sha256(weights).hexdigest(),
            "storage": "int8" if int8 else "float32",
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


def load_checkpoint(folder: Path) -> Loaded:
    """The classifier in ``folder``, float32.

    Raises:
        TuneshotError: missing, truncated, altered, of a newer format or another kind, without its
            head, or on a trunk that cannot be loaded or is another one now. Nothing is ever
            filled in with random weights.
    """
    record = read_meta(folder)
    try:
        meta = Meta.from_record(record)
        storage, expected = record["weights"]["storage"], record["weights"]["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise TuneshotError(f"{folder}/meta.json is damaged: {error!r}") from error
    path = folder / "model.safetensors"
    try:
        raw = path.read_bytes()
        stored = load(raw)
    except (OSError, SafetensorError) as error:
        raise TuneshotError(f"{path} is missing or truncated ({error})") from error
    loaded = unpacked(meta, from_int8(stored) if storage == "int8" else stored, str(folder))
    if hashlib.sha256(raw).hexdigest() != expected:
        raise TuneshotError(f"{path} is not the file meta.json describes; copy the folder again")
    return loaded


def unpacked(meta: Meta, state: dict[str, Tensor], place: str) -> Loaded:
    """The classifier that ``packed`` took apart.

    Args:
        meta: of what it said of the model.
        state: the weights.
        place: where they are from, for the error message.

    Raises:
        TuneshotError: as ``load_checkpoint``.
    """
    base = _base(meta, place)
    model = TextClassifier(base.trunk, meta.reading)
    head = {name.removeprefix("out_head."): tensor for name, tensor in state.items()
            if name.startswith("out_head.")}  # fmt: skip
    if not head:
        raise TuneshotError(f"{place}: the classification head is missing")
    model.trunk.out_head = head_from_state(head)
    if (outputs := last_linear(model.trunk.out_head).out_features) != len(meta.labels):
        raise TuneshotError(
            f"{place}: the head has {outputs} outputs, this model needs {len(meta.labels)}"
        )
    if meta.adapter is not None:
        adapt(model, **meta.adapter)
    # With a source, only what was trained is here.
    needed = {name: tensor for name, tensor in model.trunk.state_dict().items()
              if meta.source is None or name in state}  # fmt: skip
    check_state(state, needed, name=place)
    model.trunk.load_state_dict(state, strict=False)
    for name, weight in model.trunk.named_parameters():  # so that it can be saved again
        weight.requires_grad_(name in state)
    return Loaded(model.eval(), base.encode, meta)


def merged(folder: Path) -> Loaded:
    """The classifier in ``folder`` with its adapter folded into the trunk's weights.

    Raises:
        TuneshotError: as ``load_checkpoint``; or there is no adapter, or it cannot be merged.
    """
    loaded = load_checkpoint(folder)
    if loaded.meta.adapter is None:
        raise TuneshotError(f"{folder} has no adapter to merge")
    merge(loaded.model)
    whole = loaded.meta.model is not None  # a GPT-2 is now like any other
    if not whole:
        loaded.model.trunk.requires_grad_(True)  # all of it differs from its source
    source = None if whole else loaded.meta.source
    return replace(loaded, meta=replace(loaded.meta, adapter=None, source=source))


def _base(meta: Meta, place: str) -> Base:
    """The trunk to put the stored weights into."""
    if meta.source is None:
        if meta.model is None:
            raise TuneshotError(f"{place} is damaged: it names no trunk")
        return Base(meta.name, GPTModel(meta.model, len(meta.labels)), encode, source=None)
    base = load_base(meta.source, len(meta.labels))
    if fingerprint(base.trunk) != meta.fingerprint:
        raise TuneshotError(
            f"{place} was trained on other weights of {meta.source!r} than those it has now; "
            "bring those back, or train again"
        )
    return base
