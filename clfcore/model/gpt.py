"""GPT-2 in one file, top to bottom, with the lecture's module names.

Radford et al. 2019, "Language Models are Unsupervised Multitask Learners": a pre-norm decoder
with learned positions, GELU and causal self-attention. ``print(GPTModel(cfg))`` matches the
slides, so a state dict saved by the book's chapter 6 loads without renaming.

A classifier reads one position, so the last block need not compute the others: the ``at``
methods give its output at one position for a small part of the price.

Shapes: B messages, T tokens, C = emb_dim, H heads of width D = C / H, V = vocab_size.
``seen`` is a (B, T) bool mask of the tokens that may be looked at where the mask is not causal.
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clfcore.model.spec import GPTConfig

if TYPE_CHECKING:
    from clfcore.model.soft_prompts import SoftPrompt


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
    """Self-attention: causal, or over all tokens that are ``seen``."""

    def __init__(self, cfg: GPTConfig) -> None:
        super().__init__()
        self.num_heads = cfg.n_heads
        self.drop_rate = cfg.drop_rate
        self.W_query = nn.Linear(cfg.emb_dim, cfg.emb_dim, bias=cfg.qkv_bias)
        self.W_key = nn.Linear(cfg.emb_dim, cfg.emb_dim, bias=cfg.qkv_bias)
        self.W_value = nn.Linear(cfg.emb_dim, cfg.emb_dim, bias=cfg.qkv_bias)
        self.out_proj = nn.Linear(cfg.emb_dim, cfg.emb_dim)

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """Every token looks at itself and what came before; or, given ``seen``, at all of those."""
        B, T, C = x.shape
        q, k, v = (self._heads(W(x)) for W in (self.W_query, self.W_key, self.W_value))
        context = self._mix(q, k, v, seen)  # (B, H, T, D)
        return self.out_proj(context.transpose(1, 2).reshape(B, T, C))

    def weights(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """Which token looks at which, and how much: (B, T, C) -> (B, H, T, T); rows sum to 1.

        The kernel below shows only what it mixes. Of unit vectors the mixture is the weights.
        """
        q, k = self._heads(self.W_query(x)), self._heads(self.W_key(x))  # (B, H, T, D)
        units = torch.eye(x.shape[1], dtype=q.dtype, device=q.device)  # (T, T)
        return self._mix(q, k, units.expand(*q.shape[:2], -1, -1), seen)

    def _mix(self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None) -> Tensor:
        # PyTorch's fused kernel: never builds the (T, T) score matrix, and the causal mask also
        # hides right padding from every real token.
        return F.scaled_dot_product_attention(
            q, k, v,
            attn_mask=None if seen is None else seen[:, None, None, :],  # (B, 1, 1, T)
            is_causal=seen is None,
            dropout_p=self.drop_rate if self.training else 0.0,
        )  # (B, H, T, width of v)  # fmt: skip

    def at(self, x: Tensor, where: Tensor, seen: Tensor) -> Tensor:
        """What ``forward`` gives at one position of each message: (B, T, C) -> (B, C).

        With a single query nothing but the stream itself is needed of the other tokens:
        q · (W_key x) = (W_keyᵀ q) · x, and a weighted sum of W_value x is W_value of the weighted
        sum. Two projections of T tokens become two of one (DeepSeek-V2 2024, section 2.1.2, calls
        it absorbing). A key's bias adds the same to every score, so softmax drops it.

        Args:
            x: (B, T, C), normalised.
            where: (B,) int64, the position to compute.
            seen: (B, T) bool, the tokens it may look at.
        """
        B, _, C = x.shape
        H, D = self.num_heads, C // self.num_heads
        q = self.W_query(x[torch.arange(B, device=x.device), where]).view(B, H, D)
        if not (type(self.W_key) is type(self.W_value) is nn.Linear):  # an adapter sits on them
            mask = seen[:, None, None, :]  # (B, 1, 1, T)
            k, v = self._heads(self.W_key(x)), self._heads(self.W_value(x))  # (B, H, T, D)
            one = F.scaled_dot_product_attention(
                q[:, :, None], k, v, attn_mask=mask,
                dropout_p=self.drop_rate if self.training else 0.0,
            )  # (B, H, 1, D)  # fmt: skip
            return self.out_proj(one.reshape(B, C))
        W_key, W_value = (W.weight.view(H, D, C) for W in (self.W_key, self.W_value))
        look = torch.einsum("bhd,hdc->bhc", q, W_key)  # (B, H, D) -> (B, H, C)
        scores = look @ x.transpose(1, 2) / D**0.5  # (B, H, C) @ (B, C, T) -> (B, H, T)
        scores = scores.masked_fill(~seen[:, None, :], float("-inf"))
        weights = F.dropout(scores.softmax(dim=-1), self.drop_rate, self.training)
        mixed = weights @ x  # (B, H, T) @ (B, T, C) -> (B, H, C)
        context = torch.einsum("bhc,hdc->bhd", mixed, W_value).reshape(B, C)  # -> (B, C)
        if self.W_value.bias is not None:
            # Weights sum to 1, so a value's bias comes through whole.
            context = context + self.W_value.bias
        return self.out_proj(context)

    def _heads(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        return x.view(B, T, self.num_heads, C // self.num_heads).transpose(1, 2)  # (B, H, T, D)


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

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        x = x + self.drop_resid(self.att(self.norm1(x), seen))
        return x + self.drop_resid(self.ff(self.norm2(x)))  # (B, T, C)

    def at(self, x: Tensor, where: Tensor, seen: Tensor) -> Tensor:
        """The same at one position of each message: (B, T, C) -> (B, C)."""
        here = x[torch.arange(len(x), device=x.device), where]  # (B, T, C) -> (B, C)
        here = here + self.drop_resid(self.att.at(self.norm1(x), where, seen))
        return here + self.drop_resid(self.ff(self.norm2(here)))


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
        self.soft_prompt: SoftPrompt | None = None  # see clfcore/model/adapters.py
        self.tok_emb = nn.Embedding(cfg.vocab_size, cfg.emb_dim)
        self.pos_emb = nn.Embedding(cfg.context_length, cfg.emb_dim)
        self.drop_emb = nn.Dropout(cfg.drop_rate)
        self.trf_blocks = nn.Sequential(*[TransformerBlock(cfg) for _ in range(cfg.n_layers)])
        self.final_norm = LayerNorm(cfg.emb_dim)
        self.out_head: nn.Module = nn.Linear(
            cfg.emb_dim, num_classes or cfg.vocab_size, bias=num_classes is not None
        )
        self.apply(_gpt2_init)
        # GPT-2 shrinks what each block adds, so the stream's variance does not grow with depth.
        for name, weight in self.named_parameters():
            if name.endswith(("att.out_proj.weight", "ff.layers.2.weight")):
                nn.init.normal_(weight, std=0.02 / (2 * cfg.n_layers) ** 0.5)
        if num_classes is None:
            self.out_head.weight = self.tok_emb.weight

    @property
    def context_length(self) -> int:
        """Most tokens a message may have."""
        return self.cfg.context_length - self.virtual_tokens

    @property
    def virtual_tokens(self) -> int:
        """Vectors of a soft prompt, which stand in front of every message."""
        return 0 if self.soft_prompt is None else self.soft_prompt.tokens

    @property
    def emb_dim(self) -> int:
        """Width of the stream."""
        return self.cfg.emb_dim

    def depth_below(self, depth: int) -> int:
        """The largest depth up to ``depth`` at which ``lower`` and ``upper`` may be cut: any."""
        return depth

    def lower(self, ids: Tensor, depth: int, seen: Tensor | None = None) -> Tensor:
        """The stream after the embeddings and the first ``depth`` blocks.

        Args:
            ids: (B, T) int64 token ids, T at most ``context_length``.
            depth: from 0 to ``cfg.n_layers``.
            seen: (B, T) bool for attention without the causal mask.

        Returns:
            (B, T, C), not normalised. A soft prompt makes T larger by ``virtual_tokens``, here and
            in ``seen``.
        """
        x = self.tok_emb(ids)  # (B, T) -> (B, T, C)
        if self.soft_prompt is not None:
            x = self.soft_prompt(x)
        T = x.shape[1]
        assert T <= self.cfg.context_length, f"{T} tokens > context {self.cfg.context_length}"
        positions = torch.arange(T, device=ids.device)
        x = self.drop_emb(x + self.pos_emb(positions))  # (B, T, C) + (T, C) -> (B, T, C)
        for block in list(self.trf_blocks)[:depth]:
            x = block(x, seen)
        return x

    def attention(self, ids: Tensor, block: int, seen: Tensor | None = None) -> Tensor:
        """How much each token looks at each, by the heads of a block (from 0): (B, H, T, T).

        A soft prompt makes T larger by ``virtual_tokens``.
        """
        of: TransformerBlock = self.trf_blocks[block]  # type: ignore[assignment]
        return of.att.weights(of.norm1(self.lower(ids, block, seen)), seen)

    def upper(self, x: Tensor, depth: int, seen: Tensor | None = None) -> Tensor:
        """The rest of the way: blocks from ``depth`` on and the final norm, (B, T, C)."""
        for block in list(self.trf_blocks)[depth:]:
            x = block(x, seen)
        return self.final_norm(x)

    def upper_at(self, x: Tensor, depth: int, where: Tensor, seen: Tensor, causal: bool) -> Tensor:
        """``upper`` at one position of each message: (B, T, C) -> (B, C).

        Args:
            x: what ``lower`` gave for this ``depth``.
            depth: less than ``cfg.n_layers``.
            where: (B,) int64, the position to read.
            seen: (B, T) bool, the tokens that position may look at.
            causal: whether the blocks before the last one use the causal mask.
        """
        for block in list(self.trf_blocks)[depth:-1]:
            x = block(x, None if causal else seen)
        last: TransformerBlock = list(self.trf_blocks)[-1]  # type: ignore[assignment]
        return self.final_norm(last.at(x, where, seen))

    def hidden(self, ids: Tensor) -> Tensor:
        """The normalised stream before the head: (B, T) int64 -> (B, T, C)."""
        return self.upper(self.lower(ids, 0), 0)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits at every position: (B, T) int64 -> (B, T, V), or (B, T, classes)."""
        return self.out_head(self.hidden(ids))


def _gpt2_init(module: nn.Module) -> None:
    """Normal(0, 0.02) weights and zero biases, as GPT-2 (positions included)."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
