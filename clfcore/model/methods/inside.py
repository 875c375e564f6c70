"""What learns inside the blocks: weights they have already, or small layers between theirs."""

from functools import partial
from typing import TYPE_CHECKING

from clfcore.errors import TuneshotError
from clfcore.model.methods.kind import Adapter, Shapes
from clfcore.model.spec import AdapterSpec

if TYPE_CHECKING:
    from torch import nn

    from clfcore.model.classifier import Trunk


def ln_tuning(trunk: "Trunk", spec: AdapterSpec) -> None:
    """Only the norms are trained (Zhao et al. 2023). No rank.

    It changes the trunk itself; there is nothing to merge.
    """
    for module in (*trunk.trf_blocks.modules(), trunk.final_norm):
        is_leaf = not list(module.children())
        if is_leaf and all(weight.dim() == 1 for weight in module.parameters()):
            module.requires_grad_(True)


def bitfit(trunk: "Trunk", spec: AdapterSpec) -> None:
    """Only what is added is trained: biases, those of the norms too (Ben Zaken et al. 2021).

    No rank. It changes the trunk itself; there is nothing to merge.

    Raises:
        TuneshotError: the trunk has no biases.
    """
    biases = [
        weight
        for part in (trunk.trf_blocks, trunk.final_norm)
        for name, weight in part.named_parameters()
        if name.endswith(("bias", "shift"))  # a norm's is called shift in our GPT
    ]
    if not biases:
        raise TuneshotError(
            "bitfit trains biases, and this base has none; choose ln_tuning, or another base"
        )
    for bias in biases:
        bias.requires_grad_(True)


# --- bottlenecks --------------------------------------------------------------------------------


def bottlenecks(behind_attention: bool) -> Adapter:
    """A bottleneck behind the feed-forward of each block; perhaps one behind its attention too."""
    return Adapter(
        partial(_insert, behind_attention),
        merges=False,
        shapes=partial(_inserted_shapes, behind_attention),
    )


def _insert(behind_attention: bool, trunk: "Trunk", spec: AdapterSpec) -> None:
    from clfcore.model.methods.bottleneck import Bottleneck

    for block in trunk.trf_blocks:
        ends = _ends(block, trunk.emb_dim)
        if len(ends) != 2:
            raise TuneshotError(
                f"{spec.name} stands behind attention and behind one feed-forward, and the blocks "
                "of this base are not made of these two; choose ln_tuning or last_block, or "
                "another base"
            )
        for name in ends if behind_attention else ends[-1:]:
            parent, _, last = name.rpartition(".")
            layer: nn.Linear = block.get_submodule(name)  # type: ignore[assignment]
            setattr(block.get_submodule(parent), last, Bottleneck(layer, spec.rank))


def _ends(block: "nn.Module", width: int) -> list[str]:
    """The linear layers by which the parts of a block write to the stream, by their names."""
    from torch import nn

    ends = []
    for part, module in block.named_children():
        names = [
            f"{part}.{name}".removesuffix(".")
            for name, layer in module.named_modules()
            if isinstance(layer, nn.Linear)
        ]
        if names and block.get_submodule(names[-1]).out_features == width:
            ends.append(names[-1])
    return ends


def _inserted_shapes(behind_attention: bool, trunk: Shapes, width: int, rank: int) -> Shapes:
    shapes = dict(trunk)
    ends = (".att.out_proj.", ".ff.layers.2.") if behind_attention else (".ff.layers.2.",)
    for name in trunk:
        layer, _, part = name.rpartition(".")
        if f"{layer}.".endswith(ends):
            shapes[f"{layer}.base_layer.{part}"] = shapes.pop(name)
            shapes |= {
                f"{layer}.down.weight": (rank, width),
                f"{layer}.down.bias": (rank,),
                f"{layer}.up.weight": (width, rank),
                f"{layer}.up.bias": (width,),
            }
    return shapes
