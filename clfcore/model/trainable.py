"""Which layers of a trunk are trained, and which stay frozen."""

from typing import TYPE_CHECKING

from clfcore.errors import unknown_choice

if TYPE_CHECKING:  # settings choose from this table, and a wrong choice is refused without torch
    from torch import nn

    from clfcore.model.classifier import Trunk


# How many of the last parts of a trunk (its blocks, the final norm, the head) are trained.
TRAINABLE: dict[str, int | None] = {
    "last_layer": 1,
    "last_block": 3,  # what the lecture trains
    "last_two_blocks": 4,
    "last_four_blocks": 6,
    "all": None,  # the embeddings too
}


def freeze_all_but(trunk: "Trunk", layers: str) -> None:
    """Marks the weights that are trained; the rest keep their values.

    Raises:
        TuneshotError: ``layers`` is not a key of ``TRAINABLE``.
    """
    if layers not in TRAINABLE:
        raise unknown_choice("layers", layers, TRAINABLE)
    parts, last = [*trunk.trf_blocks, trunk.final_norm, trunk.out_head], TRAINABLE[layers]
    trunk.requires_grad_(False)
    for part in [trunk] if last is None else parts[-last:]:
        part.requires_grad_(True)


def frozen_depth(trunk: "Trunk") -> int:
    """The depth below which nothing need be computed more than once: no gradient has to pass.

    Less than ``frozen_blocks`` where the trunk cannot be cut there.
    """
    return trunk.depth_below(frozen_blocks(trunk))


def train_above_frozen(trunk: "Trunk") -> None:
    """Training mode for what gradients pass; the frozen blocks and embeddings below evaluate.

    They are not trained, so there is nothing that their dropout could keep from being memorised.
    """
    trunk.train()
    if depth := frozen_blocks(trunk):
        trunk.eval()
        for part in (*list(trunk.trf_blocks)[depth:], trunk.final_norm, trunk.out_head):
            part.train()


def frozen_blocks(trunk: "Trunk") -> int:
    """How many blocks, from the first on, no gradient has to pass; the embeddings below count."""
    blocks = list(trunk.trf_blocks)
    above = {id(w) for part in (*blocks, trunk.final_norm, trunk.out_head) for w in
             part.parameters()}  # fmt: skip
    if any(w.requires_grad for w in trunk.parameters() if id(w) not in above):
        return 0
    trained = [any(w.requires_grad for w in block.parameters()) for block in blocks]
    return [*trained, True].index(True)


def count_parameters(model: "nn.Module") -> tuple[int, int]:
    """How many weights are trained, and how many there are, those that are codes included."""
    from clfcore.quantization.frozen import NF4Linear

    codes = sum(
        layer.in_features * layer.out_features
        for layer in model.modules()
        if isinstance(layer, NF4Linear)
    )
    sizes = [(weight.numel(), weight.requires_grad) for weight in model.parameters()]
    return sum(n for n, trained in sizes if trained), codes + sum(n for n, _ in sizes)
