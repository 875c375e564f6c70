"""Soft prompts: trained vectors stand in front of the message."""

import inspect
from typing import TYPE_CHECKING

from clfcore.errors import TuneshotError
from clfcore.model.methods.kind import Shapes
from clfcore.model.spec import VIRTUAL_TOKENS, AdapterSpec

if TYPE_CHECKING:
    from clfcore.model.classifier import Trunk


def prompt(trunk: "Trunk", spec: AdapterSpec) -> None:
    """Virtual tokens that start as tokens of the vocabulary (Lester et al. 2021). No rank."""
    from peft import PromptEmbedding, PromptTuningConfig

    from clfcore.model.soft_prompts import SoftPrompt

    config = PromptTuningConfig(
        num_virtual_tokens=VIRTUAL_TOKENS, token_dim=trunk.emb_dim, num_transformer_submodules=1,
        prompt_tuning_init="SAMPLE_VOCAB",
    )  # fmt: skip
    trunk.soft_prompt = SoftPrompt(PromptEmbedding(config, trunk.tok_emb))


def p_tuning(trunk: "Trunk", spec: AdapterSpec) -> None:
    """Virtual tokens made by a small network, as wide as the stream (Liu et al. 2021). No rank."""
    from peft import PromptEncoder, PromptEncoderConfig

    from clfcore.model.soft_prompts import SoftPrompt

    config = PromptEncoderConfig(
        num_virtual_tokens=VIRTUAL_TOKENS, token_dim=trunk.emb_dim, num_transformer_submodules=1,
        encoder_hidden_size=trunk.emb_dim,
    )  # fmt: skip
    trunk.soft_prompt = SoftPrompt(PromptEncoder(config))


def multitask_prompt(trunk: "Trunk", spec: AdapterSpec) -> None:
    """Virtual tokens times a matrix of low rank (Wang et al. 2023). Rank: of that matrix.

    In the paper many tasks share the tokens, and each has its own matrix; here is one task.
    """
    from peft import MultitaskPromptTuningConfig
    from peft.tuners.multitask_prompt_tuning import MultitaskPromptEmbedding

    from clfcore.model.soft_prompts import OneTask, SoftPrompt

    config = MultitaskPromptTuningConfig(
        num_virtual_tokens=VIRTUAL_TOKENS, token_dim=trunk.emb_dim, num_transformer_submodules=1,
        num_tasks=1, num_ranks=spec.rank,
    )  # fmt: skip
    trunk.soft_prompt = SoftPrompt(OneTask(MultitaskPromptEmbedding(config, trunk.tok_emb)))


def adaption_prompt(trunk: "Trunk", spec: AdapterSpec) -> None:
    """Vectors that every block's attention reads as well (LLaMA-Adapter, Zhang et al. 2023).

    What is read of them counts as much as a trained gate says, which starts at zero. Rank: how
    many vectors a block has.

    Raises:
        TuneshotError: attention is not that of a Llama, whose queries peft computes again.
    """
    from peft import PEFT_TYPE_TO_TUNER_MAPPING, AdaptionPromptConfig, PeftType

    from clfcore.model.huggingface import HuggingFaceTrunk

    kind = trunk.body.config.model_type if isinstance(trunk, HuggingFaceTrunk) else None
    if kind not in ("llama", "mistral"):
        raise TuneshotError(
            "adaption_prompt is made for the attention of Llama and Mistral, and this base has "
            "another; choose prompt or p_tuning, or such a base (SmolLM2-135M-Instruct is one)"
        )
    config = AdaptionPromptConfig(adapter_len=spec.rank, adapter_layers=len(trunk.trf_blocks))
    PEFT_TYPE_TO_TUNER_MAPPING[PeftType.ADAPTION_PROMPT](trunk.body, {"default": config}, "default")


def prefix(trunk: "Trunk", spec: AdapterSpec) -> None:
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


def prompt_shapes(trunk: Shapes, width: int, rank: int) -> Shapes:
    """The tensors of a trunk with virtual tokens."""
    return trunk | {"soft_prompt.encoder.embedding.weight": (VIRTUAL_TOKENS, width)}


def multitask_prompt_shapes(trunk: Shapes, width: int, rank: int) -> Shapes:
    """The tensors of a trunk with virtual tokens and the matrix of low rank."""
    prompts = "soft_prompt.encoder.prompts"
    return trunk | {
        f"{prompts}.embedding.weight": (VIRTUAL_TOKENS, width),
        f"{prompts}.prefix_task_cols": (1, VIRTUAL_TOKENS, rank),
        f"{prompts}.prefix_task_rows": (1, rank, width),
    }


def p_tuning_shapes(trunk: Shapes, width: int, rank: int) -> Shapes:
    """The tensors of a trunk with virtual tokens and the network that makes them."""
    layers = [f"soft_prompt.encoder.mlp_head.{i}" for i in (0, 2, 4)]
    return (
        prompt_shapes(trunk, width, rank)
        | {f"{layer}.weight": (width, width) for layer in layers}
        | {f"{layer}.bias": (width,) for layer in layers}
    )
