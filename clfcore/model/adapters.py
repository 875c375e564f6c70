"""Adapters: a few new weights are trained, and the trunk stays as it was.

Most of them change what the linear layers of the blocks compute, and can be merged into their
weights afterwards. Bottlenecks are small layers of their own between those of a block. Soft
prompts put trained vectors in front of the message instead. Most methods are peft's; the head is
trained beside every one of them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from clfcore.errors import TuneshotError, missing_extra_explained, unknown_choice
from clfcore.model.methods import inside, linears, prompts
from clfcore.model.methods.kind import Adapter
from clfcore.model.methods.linears import around_linears
from clfcore.model.spec import MAKING, VIRTUAL_TOKENS, AdapterSpec
from clfcore.types import ignore

if TYPE_CHECKING:  # settings choose from this table, and a wrong choice is refused without torch
    from clfcore.model.classifier import TrunkModel

ADAPTERS: dict[str, Adapter] = {
    # W + B A (Hu et al. 2021). Rank: of the update.
    "lora": around_linears("LoraConfig", linears.lora, beside=linears.lora_shapes),
    # The same around weights that lie in memory as NF4 codes (Dettmers et al. 2023). It is trained
    # for what these weights are, and merged into them, not into those they were made of.
    "qlora": Adapter(linears.qlora, shapes=linears.qlora_shapes),
    # W + P Λ Q, where unimportant entries of Λ are set to zero (Zhang et al. 2023). Rank: the
    # average that is left at the end; it starts with half as much again. The paper's penalty on P
    # and Q that are not orthogonal is left out. The importances are not among its weights.
    "adalora": around_linears("AdaLoraConfig", linears.adalora, resumable=False),
    # Each feature times a trained number (IA³, Liu et al. 2022). No rank. The output of a layer is
    # scaled; or, if it does not read the stream, its input, as the paper does in a feed-forward.
    "ia3": around_linears(
        "IA3Config",
        lambda trunk, layers, _: {
            "feedforward_modules": [
                name for name, layer in layers.items() if layer.in_features != trunk.emb_dim
            ]
        },
        beside=lambda rows, columns, width, _: {
            "ia3_l.default": (rows, 1) if columns == width else (1, columns)
        },
    ),
    # W + (B₁ A₁) ⊙ (B₂ A₂) (Hyeon-Woo et al. 2022). Rank: of each factor, so rank² of both.
    "loha": around_linears(
        "LoHaConfig",
        lambda _, __, spec: {"r": spec.rank, "alpha": spec.rank},
        beside=lambda rows, columns, _, rank: {
            "hada_w1_a.default": (rows, rank),
            "hada_w1_b.default": (rank, columns),
            "hada_w2_a.default": (rows, rank),
            "hada_w2_b.default": (rank, columns),
        },
    ),
    # W + A ⊗ B (Edalati et al. 2022, Yeh et al. 2024). Rank: at most, of the larger factor B. peft
    # divides every width into two factors near its square root, so any width will do.
    "lokr": around_linears("LoKrConfig", lambda _, __, spec: {"r": spec.rank, "alpha": spec.rank}),
    # W R, where R rotates blocks of features (Qiu et al. 2023). Rank: features a block, at most.
    "oft": around_linears(
        "OFTConfig",
        lambda _, layers, spec: {
            "r": 0,
            "oft_block_size": linears.block_size(layers, spec),
            "use_cayley_neumann": False,
        },
    ),
    # W R times a trained number for each output (Liu et al. 2024). Rank: as for OFT. One butterfly
    # factor, because peft needs a compiled CUDA extension for more.
    "boft": around_linears("BOFTConfig", linears.boft, wide=False),
    # W + Λ B Λ' A, where A and B are random and shared (Kopiczko et al. 2024). Rank: of A and B,
    # which cost nothing to keep: the seed gives them. The paper has 256 and more.
    "vera": around_linears(
        "VeraConfig",
        lambda _, __, spec: {
            "r": spec.rank,
            "projection_prng_key": spec.seed,
            "save_projection": False,
        },
        beside=lambda rows, _, __, rank: {
            "vera_lambda_b.default": (rows,),
            "vera_lambda_d.default": (rank,),
        },
    ),
    # W + the inverse Fourier transform of a few trained coefficients (Gao et al. 2024). Rank: 64
    # coefficients each. They start at zero and not at random, so that nothing changes.
    "fourierft": around_linears("FourierFTConfig", linears.fourierft),
    # W H₁ H₂ …, a chain of reflections (Yuan et al. 2024). Rank: how many; even, as they undo each
    # other in pairs at the start. peft multiplies full matrices, one reflection at a time: ten
    # times slower than the others.
    "hra": around_linears(
        "HRAConfig",
        linears.hra,
        wide=False,
        beside=lambda _, columns, __, rank: {"hra_u.default": (columns, rank)},
    ),
    # W + one small block, repeated (MiSS, formerly Bone; Kang & Yin 2024). Rank: its rows.
    "miss": around_linears(
        "MissConfig",
        linears.miss,
        beside=lambda rows, _, __, rank: {"miss_block.default": (rank, rows)},
    ),
    "ln_tuning": Adapter(inside.ln_tuning, shapes=lambda trunk, _, __: trunk),
    "bitfit": Adapter(inside.bitfit, shapes=lambda trunk, _, __: trunk),
    # h + W₂ f(W₁ h), a small layer of its own behind attention and behind the feed-forward
    # (Houlsby et al. 2019), or behind the latter only (Pfeiffer et al. 2021). Rank: its width. The
    # norms, which both papers train too, stay as they were.
    "houlsby": inside.bottlenecks(behind_attention=True),
    "pfeiffer": inside.bottlenecks(behind_attention=False),
    "prompt": Adapter(
        prompts.prompt,
        merges=False,
        shapes=prompts.prompt_shapes,
        virtual_tokens=VIRTUAL_TOKENS,
    ),
    "multitask_prompt": Adapter(
        prompts.multitask_prompt,
        merges=False,
        shapes=prompts.multitask_prompt_shapes,
        virtual_tokens=VIRTUAL_TOKENS,
    ),
    "adaption_prompt": Adapter(prompts.adaption_prompt, merges=False),
    "prefix": Adapter(prompts.prefix, merges=False, virtual_tokens=VIRTUAL_TOKENS),
    "p_tuning": Adapter(
        prompts.p_tuning,
        merges=False,
        shapes=prompts.p_tuning_shapes,
        virtual_tokens=VIRTUAL_TOKENS,
    ),
}

# What peft has as well and a classifier cannot use -> why, and what it can use instead.
UNSUITED = {
    "xlora": "xlora mixes LoRA adapters that were trained before, on other tasks, and there are "
    "none here; choose lora",
    "poly": "poly chooses among low-rank skills by the number of the task, and a classifier has "
    "one task, for which their mixture is a LoRA of a larger rank; choose lora with that rank",
}


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
            of hra its reflections; of miss the rows of its block; of houlsby and pfeiffer their
            width; of multitask_prompt the rank of its matrix; of adaption_prompt its vectors in a
            block; of prefix the width of the network behind it; ia3, ln_tuning, bitfit, prompt and
            p_tuning have none.
        total_steps: optimiser steps of the run, which adalora plans by.
        seed: of everything that is random in it.

    Raises:
        TuneshotError: unknown ``name``; a rank or a number of steps the method cannot use; a trunk
            that cannot take it; a model that has an adapter.
    """
    if name in UNSUITED:
        raise TuneshotError(UNSUITED[name])
    if name not in ADAPTERS:
        raise unknown_choice("adapter", name, ADAPTERS)
    if model.adapter is not None:
        raise TuneshotError(
            f"the model has an adapter ({model.adapter.spec.name}) already; merge that first, or "
            "start from the model it was made for"
        )
    front = ADAPTERS[name].virtual_tokens
    if model.trunk.context_length <= front:
        raise TuneshotError(
            f"{front} virtual tokens leave no room for a message in a context of "
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
        TuneshotError: there is no adapter, or it is a soft prompt or a bottleneck.
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
