"""A causal language model of transformers, cut in two as a classifier's trunk is."""

from typing import Any

import torch
from torch import Tensor

from clfcore.errors import TuneshotError
from clfcore.model.adapters import ADAPTERS, adapt
from clfcore.model.classifier import TrunkModel
from clfcore.model.huggingface import HuggingFaceTrunk
from clfcore.model.trainable import freeze_all_but
from clfcore.training.instruction.settings import InstructionConfig


class LanguageModel(TrunkModel):
    """A trunk and its vocabulary head: what comes next, at the positions that are asked for.

    It shares the weights of ``network``: what it learns, that has learned.

    Args:
        network: a causal language model of transformers.

    Raises:
        TuneshotError: the network does more than a trunk and a head do.
    """

    def __init__(self, network: Any) -> None:  # noqa: ANN401
        trunk = HuggingFaceTrunk(network.base_model, num_classes=1)
        trunk.out_head = network.get_output_embeddings()
        super().__init__(trunk)
        with torch.inference_mode():  # two tokens show it
            ids, both = torch.tensor([[1, 2]]), torch.tensor([0, 1])
            own = self(ids, torch.zeros_like(both), both)  # (2, V)
            if not torch.allclose(own, network(ids).logits[0].float(), rtol=1e-3, atol=1e-3):
                raise TuneshotError(
                    f"{type(network).__name__} changes what its vocabulary head says, and cannot "
                    "be tuned here; choose another language model"
                )

    def forward(self, ids: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Logits of the token after each of P positions: (P, V) float32.

        Args:
            ids: (B, T) int64, padded on the right, where causal attention cannot see.
            rows: (P,) int64, of ``ids``.
            columns: (P,) int64, of ``ids``.
        """
        return self.above(self.trunk.lower(ids, 0), 0, rows, columns)

    def above(self, x: Tensor, depth: int, rows: Tensor, columns: Tensor) -> Tensor:
        """``forward`` from the stream after ``depth`` blocks on: (B, T, C) -> (P, V) float32."""
        h = self.trunk.upper(x, depth)[rows, columns]  # (P, C)
        # bfloat16 has steps of 0.06 where logits are.
        with torch.autocast(h.device.type, enabled=False):
            return self.trunk.out_head(h.float())


def choose_weights(model: LanguageModel, config: InstructionConfig, steps: int) -> None:
    """Marks the weights that learn, or puts an adapter into ``model``.

    The vocabulary head learns only with all layers: it has long learned, and is often the token
    embedding itself.

    Args:
        model: changed in place.
        config: the settings.
        steps: of the run, for an adapter that plans by them.

    Raises:
        TuneshotError: an adapter that does not suit the model.
    """
    if config.layers in ADAPTERS:
        adapt(model, config.layers, config.rank, steps, config.seed)
    else:
        freeze_all_but(model.trunk, config.layers)
    if config.layers != "all":
        model.trunk.out_head.requires_grad_(False)
