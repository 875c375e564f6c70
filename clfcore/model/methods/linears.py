"""Adapters of peft around the linear layers of the blocks: they change what those compute."""

import math
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from clfcore.errors import TuneshotError
from clfcore.model.methods.kind import Adapter, Shapes
from clfcore.model.spec import AdapterSpec

if TYPE_CHECKING:
    from torch import nn

    from clfcore.model.classifier import Trunk

Linears = Mapping[str, "nn.Linear"]  # layers by their name in the trunk
Settings = Callable[["Trunk", Linears, AdapterSpec], dict[str, Any]]
# Rows and columns of a layer's matrix, width of the stream, rank -> what peft keeps beside it.
Beside = Callable[[int, int, int, int], Shapes]

_FREQUENCIES_PER_RANK = 64  # of FourierFT: rank 16 has about as many as the paper's 1000


def _wrap(config: str, settings: Settings, wide: bool, trunk: "Trunk", spec: AdapterSpec) -> Any:  # noqa: ANN401
    """Replaces linear layers of the blocks by peft's layers around them.

    Args:
        config: the name of peft's configuration class.
        settings: gives its arguments.
        wide: also the layers that do not read the stream. Some methods make a full (in, in) matrix
            for each layer in each pass: behind the wide part of a feed-forward it would cost more
            than the whole trunk.
        trunk: changed in place.
        spec: the adapter's arguments.

    Raises:
        TuneshotError: no linear layers, or a rank or a number of steps the method cannot use.
    """
    import peft  # 2 s
    from torch import nn

    inside = set(trunk.trf_blocks.modules())
    linears = {
        name: module
        for name, module in trunk.named_modules()
        if isinstance(module, nn.Linear) and module in inside
    }
    if not linears:
        raise TuneshotError(
            "this base keeps its weights elsewhere than in linear layers, where an adapter could "
            "sit; choose ln_tuning or last_block, or another base"
        )
    if not wide:
        linears = {n: layer for n, layer in linears.items() if layer.in_features == trunk.emb_dim}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft would rather save vera's random matrices
        made = getattr(peft, config)(target_modules=list(linears), **settings(trunk, linears, spec))
        return peft.PEFT_TYPE_TO_TUNER_MAPPING[made.peft_type](trunk, made, "default")


def around_linears(
    config: str,
    settings: Settings,
    wide: bool = True,
    resumable: bool = True,
    beside: Beside | None = None,
) -> Adapter:
    """An adapter around linear layers; arguments as for ``_wrap``.

    ``beside`` gives the names and shapes of its tensors, so that those of a file can be compared
    without peft.
    """
    return Adapter(
        partial(_wrap, config, settings, wide),
        resumable=resumable,
        shapes=None if beside is None else partial(_wrapped_shapes, beside, wide),
    )


def _wrapped_shapes(beside: Beside, wide: bool, trunk: Shapes, width: int, rank: int) -> Shapes:
    shapes = dict(trunk)
    for name, shape in trunk.items():
        if name.startswith("trf_blocks.") and len(shape) == 2 and (wide or shape[1] == width):
            layer = name.removesuffix(".weight")
            for part in ("weight", "bias"):
                if f"{layer}.{part}" in shapes:
                    shapes[f"{layer}.base_layer.{part}"] = shapes.pop(f"{layer}.{part}")
            own = beside(*shape, width, rank)
            shapes |= {f"{layer}.{each}": size for each, size in own.items()}
    return shapes


def lora(trunk: "Trunk", linears: Linears, spec: AdapterSpec) -> dict[str, Any]:
    """LoRA of a rank, whose update is not scaled."""
    return {"r": spec.rank, "lora_alpha": spec.rank}


def lora_shapes(rows: int, columns: int, width: int, rank: int) -> Shapes:
    """What LoRA keeps beside a matrix."""
    return {"lora_A.default.weight": (rank, columns), "lora_B.default.weight": (rows, rank)}


def qlora(trunk: "Trunk", spec: AdapterSpec) -> Any:  # noqa: ANN401
    """Makes the matrices of the blocks NF4 codes, and puts LoRA around them."""
    from clfcore.quantization.frozen import freeze_in_nf4

    freeze_in_nf4(trunk.trf_blocks)
    return _wrap("LoraConfig", lora, True, trunk, spec)


def qlora_shapes(trunk: Shapes, width: int, rank: int) -> Shapes:
    """The tensors of a trunk with LoRA, without the matrices that are codes."""
    shapes = _wrapped_shapes(lora_shapes, True, trunk, width, rank)
    return {name: size for name, size in shapes.items() if not name.endswith("base_layer.weight")}


def adalora(trunk: "Trunk", linears: Linears, spec: AdapterSpec) -> dict[str, Any]:
    """What AdaLoRA plans its pruning by.

    Raises:
        TuneshotError: too few steps.
    """
    steps = spec.total_steps
    if steps < 2:
        raise TuneshotError(
            f"adalora prunes itself step by step and needs at least 2, not {steps}; train for more "
            "epochs, or choose lora"
        )
    first_rank = spec.rank + (spec.rank + 1) // 2
    return {"target_r": spec.rank, "init_r": first_rank, "lora_alpha": first_rank,
            "total_step": steps, "tinit": steps // 10, "tfinal": 3 * steps // 10}  # fmt: skip


def boft(trunk: "Trunk", linears: Linears, spec: AdapterSpec) -> dict[str, Any]:
    """Blocks of the largest size that fits; without peft's compiled extension."""
    from peft.tuners.boft import layer

    layer._FBD_CUDA = False  # peft would try to compile it even so
    return {"boft_block_size": block_size(linears, spec)}


def fourierft(trunk: "Trunk", linears: Linears, spec: AdapterSpec) -> dict[str, Any]:
    """As many coefficients as the rank says, or as the smallest layer has weights."""
    fewest_weights = min(linear.weight.numel() for linear in linears.values())
    return {
        "n_frequency": min(_FREQUENCIES_PER_RANK * spec.rank, fewest_weights),
        "init_weights": True,  # zeros
        "random_loc_seed": spec.seed,
    }


def hra(trunk: "Trunk", linears: Linears, spec: AdapterSpec) -> dict[str, Any]:
    """Reflections, which come in pairs.

    Raises:
        TuneshotError: an odd rank.
    """
    if spec.rank % 2:
        raise TuneshotError(f"hra reflects in pairs and needs an even rank, not {spec.rank}")
    return {"r": spec.rank}


def miss(trunk: "Trunk", linears: Linears, spec: AdapterSpec) -> dict[str, Any]:
    """The rows of a block.

    Raises:
        TuneshotError: more of them than the narrowest layer has features.
    """
    narrowest = min(linear.in_features for linear in linears.values())
    if spec.rank > narrowest:
        raise TuneshotError(
            f"miss repeats a block of {spec.rank} rows, but a layer reads {narrowest} features; "
            f"choose a rank up to {narrowest}"
        )
    return {"r": spec.rank}


def block_size(linears: Linears, spec: AdapterSpec) -> int:
    """The largest number up to the rank that divides the width of every layer.

    Raises:
        TuneshotError: there is none.
    """
    common = math.gcd(*(linear.in_features for linear in linears.values()))
    sizes = [size for size in range(2, common + 1) if common % size == 0]
    if not sizes or spec.rank < sizes[0]:
        hint = f"choose a rank from {sizes[0]} on" if sizes else "choose another adapter"
        raise TuneshotError(
            f"{spec.name} cuts the features of a layer into equal blocks, and none of up to "
            f"{spec.rank} fits all layers; {hint}"
        )
    return max(size for size in sizes if size <= spec.rank)
