"""Adapters: a few new weights are trained, and the trunk stays as it was.

Most of them change what the linear layers of the blocks compute, and can be merged into their
weights afterwards. Soft prompts put trained vectors in front of the message instead. The methods
themselves are those of peft; the head is trained beside every one of them.
"""

import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from clfcore.errors import TuneshotError, missing_extra_explained, unknown_choice
from clfcore.model.spec import MAKING, VIRTUAL_TOKENS, AdapterSpec
from clfcore.types import ignore

if TYPE_CHECKING:  # settings choose from this table, and a wrong choice is refused without torch
    from torch import nn

    from clfcore.model.classifier import Trunk, TrunkModel

Linears = Mapping[str, "nn.Linear"]  # layers by their name in the trunk
Settings = Callable[["Trunk", Linears, AdapterSpec], dict[str, Any]]
Shapes = dict[str, tuple[int, ...]]  # of tensors, by name
# Rows and columns of a layer's matrix, width of the stream, rank -> what peft keeps beside it.
Beside = Callable[[int, int, int, int], Shapes]

_FREQUENCIES_PER_RANK = 64  # of FourierFT: rank 16 has about as many as the paper's 1000


@dataclass(frozen=True, slots=True)
class Adapter:
    """A kind of adapter.

    Attributes:
        apply: puts it into a trunk; returns peft's object that did it, if there is one.
        merges: whether it can become part of the trunk's weights.
        resumable: whether the trained weights are all that a stopped run needs to continue.
        shapes: of a trunk's tensors before, the width of its stream, a rank -> of all its tensors
            with the adapter; ``None``: only peft, which takes seconds to import, knows them.
    """

    apply: Callable[["Trunk", AdapterSpec], Any]
    merges: bool = True
    resumable: bool = True
    shapes: Callable[[Shapes, int, int], Shapes] | None = None


# --- methods that change what the linear layers compute ------------------------------------------


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


def _linears(
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


def _lora(trunk: "Trunk", linears: Linears, spec: AdapterSpec) -> dict[str, Any]:
    return {"r": spec.rank, "lora_alpha": spec.rank}


def _lora_shapes(rows: int, columns: int, width: int, rank: int) -> Shapes:
    return {"lora_A.default.weight": (rank, columns), "lora_B.default.weight": (rows, rank)}


def _qlora_shapes(trunk: Shapes, width: int, rank: int) -> Shapes:
    shapes = _wrapped_shapes(_lora_shapes, True, trunk, width, rank)
    return {name: size for name, size in shapes.items() if not name.endswith("base_layer.weight")}


def _qlora(trunk: "Trunk", spec: AdapterSpec) -> Any:  # noqa: ANN401
    from clfcore.quantization.frozen import freeze_in_nf4

    freeze_in_nf4(trunk.trf_blocks)
    return _wrap("LoraConfig", _lora, True, trunk, spec)


def _adalora(trunk: "Trunk", linears: Linears, spec: AdapterSpec) -> dict[str, Any]:
    steps = spec.total_steps
    if steps < 2:
        raise TuneshotError(
            f"adalora prunes itself step by step and needs at least 2, not {steps}; train for more "
            "epochs, or choose lora"
        )
    first_rank = spec.rank + (spec.rank + 1) // 2
    return {"target_r": spec.rank, "init_r": first_rank, "lora_alpha": first_rank,
            "total_step": steps, "tinit": steps // 10, "tfinal": 3 * steps // 10}  # fmt: skip


def _boft(trunk: "Trunk", linears: Linears, spec: AdapterSpec) -> dict[str, Any]:
    from peft.tuners.boft import layer

    layer._FBD_CUDA = False  # peft would try to compile it even so
    return {"boft_block_size": _block_size(linears, spec)}


def _fourierft(trunk: "Trunk", linears: Linears, spec: AdapterSpec) -> dict[str, Any]:
    fewest_weights = min(linear.weight.numel() for linear in linears.values())
    return {
        "n_frequency": min(_FREQUENCIES_PER_RANK * spec.rank, fewest_weights),
        "init_weights": True,  # zeros
        "random_loc_seed": spec.seed,
    }


def _hra(trunk: "Trunk", linears: Linears, spec: AdapterSpec) -> dict[str, Any]:
    if spec.rank % 2:
        raise TuneshotError(f"hra reflects in pairs and needs an even rank, not {spec.rank}")
    return {"r": spec.rank}


def _miss(trunk: "Trunk", linears: Linears, spec: AdapterSpec) -> dict[str, Any]:
    narrowest = min(linear.in_features for linear in linears.values())
    if spec.rank > narrowest:
        raise TuneshotError(
            f"miss repeats a block of {spec.rank} rows, but a layer reads {narrowest} features; "
            f"choose a rank up to {narrowest}"
        )
    return {"r": spec.rank}


def _block_size(linears: Linears, spec: AdapterSpec) -> int:
    """The largest number up to the rank that divides the width of every layer."""
    common = math.gcd(*(linear.in_features for linear in linears.values()))
    sizes = [size for size in range(2, common + 1) if common % size == 0]
    if not sizes or spec.rank < sizes[0]:
        hint = f"choose a rank from {sizes[0]} on" if sizes else "choose another adapter"
        raise TuneshotError(
            f"{spec.name} cuts the features of a layer into equal blocks, and none of up to "
            f"{spec.rank} fits all layers; {hint}"
        )
    return max(size for size in sizes if size <= spec.rank)


def _ln_tuning(trunk: "Trunk", spec: AdapterSpec) -> None:
    """Only the norms are trained (Zhao et al. 2023). No rank.

    The one method that changes the trunk itself; there is nothing to merge.
    """
    for module in (*trunk.trf_blocks.modules(), trunk.final_norm):
        is_leaf = not list(module.children())
        if is_leaf and all(weight.dim() == 1 for weight in module.parameters()):
            module.requires_grad_(True)


# --- soft prompts -------------------------------------------------------------------------------


def _prompt(trunk: "Trunk", spec: AdapterSpec) -> None:
    """Virtual tokens that start as tokens of the vocabulary (Lester et al. 2021). No rank."""
    from peft import PromptEmbedding, PromptTuningConfig

    from clfcore.model.soft_prompts import SoftPrompt

    config = PromptTuningConfig(
        num_virtual_tokens=VIRTUAL_TOKENS, token_dim=trunk.emb_dim, num_transformer_submodules=1,
        prompt_tuning_init="SAMPLE_VOCAB",
    )  # fmt: skip
    trunk.soft_prompt = SoftPrompt(PromptEmbedding(config, trunk.tok_emb))


def _p_tuning(trunk: "Trunk", spec: AdapterSpec) -> None:
    """Virtual tokens made by a small network, as wide as the stream (Liu et al. 2021). No rank."""
    from peft import PromptEncoder, PromptEncoderConfig

    from clfcore.model.soft_prompts import SoftPrompt

    config = PromptEncoderConfig(
        num_virtual_tokens=VIRTUAL_TOKENS, token_dim=trunk.emb_dim, num_transformer_submodules=1,
        encoder_hidden_size=trunk.emb_dim,
    )  # fmt: skip
    trunk.soft_prompt = SoftPrompt(PromptEncoder(config))


def _prefix(trunk: "Trunk", spec: AdapterSpec) -> None:
    """Keys and values made by a small network (Li & Liang 2021). Rank: its width.

    Raises:
        TuneshotError: the trunk has no cache of keys and values to put them into.
    """
    from clfcore.model.huggingface import HuggingFaceTrunk
    from clfcore.model.soft_prompts import Prefix

    if not isinstance(trunk, HuggingFaceTrunk) or (
        "past_key_values" not in inspect.signature(trunk.body.forward).parameters
    ):
        raise TuneshotError(
            "prefix writes into a cache of keys and values, and this base has none; choose prompt "
            "or p_tuning, or another base"
        )
    trunk.prefix = Prefix(trunk.body.config.get_text_config(), spec.rank)


def _prompt_shapes(trunk: Shapes, width: int, rank: int) -> Shapes:
    return trunk | {"soft_prompt.encoder.embedding.weight": (VIRTUAL_TOKENS, width)}


def _p_tuning_shapes(trunk: Shapes, width: int, rank: int) -> Shapes:
    layers = [f"soft_prompt.encoder.mlp_head.{i}" for i in (0, 2, 4)]
    return (
        _prompt_shapes(trunk, width, rank)
        | {f"{layer}.weight": (width, width) for layer in layers}
        | {f"{layer}.bias": (width,) for layer in layers}
    )


# --- the table ----------------------------------------------------------------------------------

ADAPTERS: dict[str, Adapter] = {
    # W + B A (Hu et al. 2021). Rank: of the update.
    "lora": _linears("LoraConfig", _lora, beside=_lora_shapes),
    # The same around weights that lie in memory as NF4 codes (Dettmers et al. 2023). It is trained
    # for what these weights are, and merged into them, not into those they were made of.
    "qlora": Adapter(_qlora, shapes=_qlora_shapes),
    # W + P Λ Q, where unimportant entries of Λ are set to zero (Zhang et al. 2023). Rank: the
    # average that is left at the end; it starts with half as much again. The paper's penalty on P
    # and Q that are not orthogonal is left out. The importances are not among its weights.
    "adalora": _linears("AdaLoraConfig", _adalora, resumable=False),
    # Each feature times a trained number (IA³, Liu et al. 2022). No rank. The output of a layer is
    # scaled; or, if it does not read the stream, its input, as the paper does in a feed-forward.
    "ia3": _linears(
        "IA3Config",
        lambda trunk, linears, _: {"feedforward_modules": [
            name for name, linear in linears.items() if linear.in_features != trunk.emb_dim
        ]},
        beside=lambda rows, columns, width, _: {
            "ia3_l.default": (rows, 1) if columns == width else (1, columns)
        },
    ),
    # W + (B₁ A₁) ⊙ (B₂ A₂) (Hyeon-Woo et al. 2022). Rank: of each factor, so rank² of both.
    "loha": _linears(
        "LoHaConfig",
        lambda _, __, spec: {"r": spec.rank, "alpha": spec.rank},
        beside=lambda rows, columns, _, rank: {
            "hada_w1_a.default": (rows, rank), "hada_w1_b.default": (rank, columns),
            "hada_w2_a.default": (rows, rank), "hada_w2_b.default": (rank, columns),
        },
    ),
    # W + A ⊗ B (Edalati et al. 2022, Yeh et al. 2024). Rank: at most, of the larger factor B. peft
    # divides every width into two factors near its square root, so any width will do.
    "lokr": _linears("LoKrConfig", lambda _, __, spec: {"r": spec.rank, "alpha": spec.rank}),
    # W R, where R rotates blocks of features (Qiu et al. 2023). Rank: features a block, at most.
    "oft": _linears(
        "OFTConfig",
        lambda _, linears, spec: {
            "r": 0, "oft_block_size": _block_size(linears, spec), "use_cayley_neumann": False,
        },
    ),
    # W R times a trained number for each output (Liu et al. 2024). Rank: as for OFT. One butterfly
    # factor, because peft needs a compiled CUDA extension for more.
    "boft": _linears("BOFTConfig", _boft, wide=False),
    # W + Λ B Λ' A, where A and B are random and shared (Kopiczko et al. 2024). Rank: of A and B,
    # which cost nothing to keep: the seed gives them. The paper has 256 and more.
    "vera": _linears(
        "VeraConfig",
        lambda _, __, spec: {
            "r": spec.rank, "projection_prng_key": spec.seed, "save_projection": False,
        },
        beside=lambda rows, _, __, rank: {
            "vera_lambda_b.default": (rows,), "vera_lambda_d.default": (rank,),
        },
    ),
    # W + the inverse Fourier transform of a few trained coefficients (Gao et al. 2024). Rank: 64
    # coefficients each. They start at zero and not at random, so that nothing changes.
    "fourierft": _linears("FourierFTConfig", _fourierft),
    # W H₁ H₂ …, a chain of reflections (Yuan et al. 2024). Rank: how many; even, as they undo each
    # other in pairs at the start. peft multiplies full matrices, one reflection at a time: ten
    # times slower than the others.
    "hra": _linears(
        "HRAConfig", _hra, wide=False,
        beside=lambda _, columns, __, rank: {"hra_u.default": (columns, rank)},
    ),
    # W + one small block, repeated (MiSS, formerly Bone; Kang & Yin 2024). Rank: its rows.
    "miss": _linears(
        "MissConfig", _miss, beside=lambda rows, _, __, rank: {"miss_block.default": (rank, rows)}
    ),
    "ln_tuning": Adapter(_ln_tuning, shapes=lambda trunk, _, __: trunk),
    "prompt": Adapter(_prompt, merges=False, shapes=_prompt_shapes),
    "prefix": Adapter(_prefix, merges=False),
    "p_tuning": Adapter(_p_tuning, merges=False, shapes=_p_tuning_shapes),
}  # fmt: skip


@missing_extra_explained("an adapter")
def adapt(model: "TrunkModel", name: str, rank: int, total_steps: int, seed: int) -> None:
    """Puts an adapter into ``model``; from then on only the adapter and the head are trained.

    The same arguments give the same adapter. So the weights that require gradients are all that
    has to be kept beside ``adapter_record``.

    Args:
        model: without an adapter; changed in place. Soft prompts take some of its context.
        name: a key of ``ADAPTERS``.
        rank: how large the adapter is. Of lora, qlora, loha and vera the rank of their matrices; of
            adalora the average one left at the end; of lokr the largest of its larger factor; of
            oft and boft the largest block of features; of fourierft one 64th of its coefficients;
            of hra its reflections; of miss the rows of its block; of prefix the width of the
            network behind it; ia3, ln_tuning, prompt and p_tuning have none.
        total_steps: optimiser steps of the run, which adalora plans by.
        seed: of everything that is random in it.

    Raises:
        TuneshotError: unknown ``name``; a rank or a number of steps the method cannot use; a trunk
            that cannot take it; a model that has an adapter.
    """
    if name not in ADAPTERS:
        raise unknown_choice("adapter", name, ADAPTERS)
    if model.adapter is not None:
        raise TuneshotError(
            f"the model has an adapter ({model.adapter.spec.name}) already; merge that first, or "
            "start from the model it was made for"
        )
    # What cannot be merged is a soft prompt, and takes some of the context.
    if not ADAPTERS[name].merges and model.trunk.context_length <= VIRTUAL_TOKENS:
        raise TuneshotError(
            f"{VIRTUAL_TOKENS} virtual tokens leave no room for a message in a context of "
            f"{model.trunk.context_length}; choose lora, or another base"
        )
    import torch

    from clfcore.model.classifier import AppliedAdapter

    spec = AdapterSpec(name, rank, total_steps, seed)
    model.requires_grad_(False)
    with MAKING, torch.random.fork_rng(devices=[]):  # torch's own generator is left alone
        torch.manual_seed(seed)
        tuner = ADAPTERS[name].apply(model.trunk, spec)
    model.trunk.out_head.requires_grad_(True)
    model.adapter = AppliedAdapter(spec, tuner)


def adapter_record(model: "TrunkModel") -> dict[str, Any]:
    """What ``adapt`` needs, as plain values, to make the adapter of ``model`` again."""
    assert model.adapter is not None
    return asdict(model.adapter.spec)


def after_step(model: "TrunkModel") -> Callable[[int], None]:
    """What to call with the number of each optimiser step, from 1, while its gradients are there.

    Does something for adalora only: it prunes itself.
    """
    return getattr(model.adapter and model.adapter.tuner, "update_and_allocate", ignore)


@contextmanager
def adapter_off(model: "TrunkModel") -> Iterator[None]:
    """Inside it, ``model`` computes what it did before it had an adapter, with the same bits.

    Args:
        model: with an adapter around its linear layers. What can be trained stays as it was.
    """
    assert model.adapter is not None
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    model.adapter.tuner.disable_adapter_layers()  # and peft freezes the adapter
    try:
        yield
    finally:
        model.adapter.tuner.enable_adapter_layers()
        for weight in trained:
            weight.requires_grad_(True)


def merge(model: "TrunkModel") -> None:
    """Makes the adapter a part of the trunk's weights: a plain trunk again, with equal logits.

    Raises:
        TuneshotError: there is no adapter, or it is a soft prompt.
    """
    if model.adapter is None:
        raise TuneshotError("the model has no adapter to merge; it can be used as it is")
    name = model.adapter.spec.name
    if not ADAPTERS[name].merges:
        raise TuneshotError(
            f"{name} is no change of weights and cannot be merged; use the model as it is, or "
            "train another adapter"
        )
    if model.adapter.tuner is not None:
        from clfcore.quantization.frozen import thaw

        thaw(model.trunk.trf_blocks)
        model.adapter.tuner.merge_and_unload()
    model.adapter = None
