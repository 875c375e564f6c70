"""GPT-2 in one file, top to bottom, with the lecture's module names.

Radford et al. 2019, "Language Models are Unsupervised Multitask Learners": a pre-norm decoder
with learned positions, GELU and causal self-attention. ``print(GPTModel(cfg))`` matches the
slides, so a state dict saved by the book's chapter 6 loads without renaming.

Shapes: B messages, T tokens, C = emb_dim, H heads of width D = C / H, V = vocab_size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clfcore.config import GPTConfig


class LayerNorm(nn.Module):
    """Normalise the last dimension, then scale and shift."""

    def __init__(self, emb_dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(emb_dim))
        self.shift = nn.Parameter(torch.zeros(emb_dim))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.scale.shape, self.scale, self.shift, eps=1e-5)


class GELU(nn.Module):
    """GPT-2 was trained with the tanh approximation, so we keep it."""

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x, approximate="tanh")


class MultiHeadAttention(nn.Module):
    """Causal self-attention: each token looks at itself and what came before."""

    def __init__(self, cfg: GPTConfig) -> None:
        super().__init__()
        self.num_heads = cfg.n_heads
        self.drop_rate = cfg.drop_rate
        self.W_query = nn.Linear(cfg.emb_dim, cfg.emb_dim, bias=cfg.qkv_bias)
        self.W_key = nn.Linear(cfg.emb_dim, cfg.emb_dim, bias=cfg.qkv_bias)
        self.W_value = nn.Linear(cfg.emb_dim, cfg.emb_dim, bias=cfg.qkv_bias)
        self.out_proj = nn.Linear(cfg.emb_dim, cfg.emb_dim)

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        q, k, v = (
            W(x).view(B, T, self.num_heads, C // self.num_heads).transpose(1, 2)
            for W in (self.W_query, self.W_key, self.W_value)
        )  # each (B, T, C) -> (B, H, T, D)
        dropout = self.drop_rate if self.training else 0.0
        # PyTorch's fused kernel: never builds the (T, T) score matrix, and the causal mask also
        # hides right padding from every real token.
        context = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)
        context = context.transpose(1, 2).reshape(B, T, C)  # (B, H, T, D) -> (B, T, C)
        return self.out_proj(context)


class FeedForward(nn.Module):
    """Widen four times, bend, narrow."""

    def __init__(self, cfg: GPTConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(cfg.emb_dim, 4 * cfg.emb_dim),
            GELU(),
            nn.Linear(4 * cfg.emb_dim, cfg.emb_dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class TransformerBlock(nn.Module):
    """Attention, then feed-forward; each reads a normalised copy and adds to the stream."""

    def __init__(self, cfg: GPTConfig) -> None:
        super().__init__()
        self.att = MultiHeadAttention(cfg)
        self.ff = FeedForward(cfg)
        self.norm1 = LayerNorm(cfg.emb_dim)
        self.norm2 = LayerNorm(cfg.emb_dim)
        self.drop_resid = nn.Dropout(cfg.drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_resid(self.att(self.norm1(x)))
        return x + self.drop_resid(self.ff(self.norm2(x)))  # (B, T, C)


class GPTModel(nn.Module):
    """GPT-2 with one output head.

    Args:
        cfg: the shape.
        num_classes: ``None`` for the language-model head (V logits a token, weights tied to the
            token embedding as in GPT-2), or the number of labels for a classification head.
    """

    def __init__(self, cfg: GPTConfig, num_classes: int | None = None) -> None:
        super().__init__()
        self.cfg = cfg
        self.tok_emb = nn.Embedding(cfg.vocab_size, cfg.emb_dim)
        self.pos_emb = nn.Embedding(cfg.context_length, cfg.emb_dim)
        self.drop_emb = nn.Dropout(cfg.drop_rate)
        self.trf_blocks = nn.Sequential(*[TransformerBlock(cfg) for _ in range(cfg.n_layers)])
        self.final_norm = LayerNorm(cfg.emb_dim)
        self.out_head = nn.Linear(
            cfg.emb_dim, num_classes or cfg.vocab_size, bias=num_classes is not None
        )
        self.apply(_gpt2_init)
        # GPT-2 shrinks what each block adds, so the stream's variance does not grow with depth.
        for name, weight in self.named_parameters():
            if name.endswith(("att.out_proj.weight", "ff.layers.2.weight")):
                nn.init.normal_(weight, std=0.02 / (2 * cfg.n_layers) ** 0.5)
        if num_classes is None:
            self.out_head.weight = self.tok_emb.weight

    def hidden(self, ids: Tensor) -> Tensor:
        """The normalised stream before the head.

        Args:
            ids: (B, T) int64 token ids, T at most ``cfg.context_length``.

        Returns:
            (B, T, C) in the model's dtype.
        """
        _, T = ids.shape
        assert T <= self.cfg.context_length, f"{T} tokens > context {self.cfg.context_length}"
        positions = torch.arange(T, device=ids.device)
        x = self.tok_emb(ids) + self.pos_emb(positions)  # (B, T, C) + (T, C) -> (B, T, C)
        x = self.trf_blocks(self.drop_emb(x))
        return self.final_norm(x)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits at every position: (B, T) int64 -> (B, T, V), or (B, T, classes)."""
        return self.out_head(self.hidden(ids))


def _gpt2_init(module: nn.Module) -> None:
    """Normal(0, 0.02) weights and zero biases, as GPT-2 (positions included)."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
