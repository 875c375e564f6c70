"""GPT-2 as a classifier: a small head, read at the last real token.

In a causal model only the last token has seen the whole message, so that is where the lecture
puts the head. Padding stands to the right of it and is never read.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clfcore.batching import Batch
from clfcore.errors import one_of
from clfcore.gpt import GPTModel


def class_logits(model: GPTModel, batch: Batch) -> Tensor:
    """Logits of the labels: (B, classes), at each message's last real token."""
    h = model.hidden(batch.ids)  # (B, T, C)
    h = h[torch.arange(len(h)), batch.lengths - 1]  # (B, T, C) -> (B, C)
    return model.out_head(h)


def class_log_probs(model: GPTModel, batch: Batch) -> Tensor:
    """Log-probabilities of the labels in nats: (B, classes) float32."""
    return F.log_softmax(class_logits(model, batch).float(), dim=-1)


def _everything(model: GPTModel) -> list[nn.Module]:
    return [model]


def _last_block(model: GPTModel) -> list[nn.Module]:
    """What the lecture trains: the last block, the final norm and the head."""
    return [model.trf_blocks[-1], model.final_norm, model.out_head]


TRAINABLE: dict[str, Callable[[GPTModel], list[nn.Module]]] = {
    "all": _everything,
    "last_block": _last_block,
}


def freeze_all_but(model: GPTModel, layers: str) -> None:
    """Marks which weights learn; the rest keep their values.

    Raises:
        TuneshotError: ``layers`` is not a key of ``TRAINABLE``.
    """
    if layers not in TRAINABLE:
        raise one_of("layers", layers, TRAINABLE)
    model.requires_grad_(False)
    for module in TRAINABLE[layers](model):
        module.requires_grad_(True)
