"""Soft prompts: trained vectors in front of a message. They know no trunk."""

from typing import Any

import torch
from torch import Tensor, nn

from clfcore.model.spec import VIRTUAL_TOKENS


class SoftPrompt(nn.Module):
    """Trained vectors in front of every message, which are read as if they were tokens.

    Args:
        encoder: of peft, (P,) numbers -> (P, C) vectors.
    """

    tokens = VIRTUAL_TOKENS

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) embeddings -> (B, P + T, C)."""
        vectors = self.encoder(torch.arange(self.tokens, device=x.device))  # (P, C)
        return torch.cat([vectors.to(x.dtype).expand(len(x), -1, -1), x], dim=1)


class OneTask(nn.Module):
    """A prompt for many tasks (Wang et al. 2023) as a classifier needs it: for its only one.

    Args:
        prompts: of peft, (1, P) numbers and a task -> (1, P, C) vectors.
    """

    def __init__(self, prompts: nn.Module) -> None:
        super().__init__()
        self.prompts = prompts

    def forward(self, numbers: Tensor) -> Tensor:
        """(P,) numbers -> (P, C) vectors."""
        return self.prompts(numbers[None], torch.zeros_like(numbers[:1]))[0]


class Prefix(nn.Module):
    """Trained keys and values in front of those of every block (Li & Liang 2021).

    Args:
        config: of the transformers model.
        hidden: width of the network that makes them.
    """

    tokens = VIRTUAL_TOKENS

    def __init__(self, config: Any, hidden: int) -> None:  # noqa: ANN401
        from peft import PrefixEncoder, PrefixTuningConfig

        super().__init__()
        self.config = config
        self.heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        self.width = getattr(config, "head_dim", None) or (
            config.hidden_size // config.num_attention_heads
        )
        self.encoder = PrefixEncoder(
            PrefixTuningConfig(
                num_virtual_tokens=VIRTUAL_TOKENS, num_layers=config.num_hidden_layers,
                token_dim=self.heads * self.width, encoder_hidden_size=hidden,
                prefix_projection=True,
            )
        )  # fmt: skip

    def forward(self, batch: int) -> Any:  # noqa: ANN401
        """A cache for ``batch`` messages, as if their beginning had been read already."""
        from transformers import DynamicCache

        numbers = torch.arange(self.tokens, device=self.encoder.embedding.weight.device)
        flat = self.encoder(numbers)  # (P, blocks · 2 · H · D)
        shaped = flat.view(self.tokens, -1, 2, self.heads, self.width)
        pairs = shaped.permute(1, 2, 3, 0, 4)[:, :, None]  # -> (blocks, 2, 1, H, P, D)
        return DynamicCache(
            [tuple(pair.expand(-1, batch, -1, -1, -1)) for pair in pairs], config=self.config
        )
