"""Any causal language model of transformers as a trunk, among them the one in our wheel.

Few-shot asks a language model; fine-tuning may train the same one, so that the two methods
can be compared on equal terms.
"""

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from clfcore.errors import TuneshotError

if TYPE_CHECKING:
    from clfcore.model.soft_prompts import Prefix, SoftPrompt


_FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "norm_f")


def positions_of(config: Any) -> int:  # noqa: ANN401
    """Most tokens that a model of this transformers configuration reads."""
    return int(getattr(config.get_text_config(), "max_position_embeddings", 1024))


class HuggingFaceTrunk(nn.Module):
    """A transformers decoder without its language-model head, with a classification head.

    Args:
        body: what ``AutoModel`` loads: embeddings, a list of blocks, a final norm.
        num_classes: labels.

    Raises:
        TuneshotError: the blocks or the final norm are not where causal models have them.
    """

    def __init__(self, body: Any, num_classes: int) -> None:  # noqa: ANN401
        super().__init__()
        self.body = body
        self.soft_prompt: SoftPrompt | None = None  # see clfcore/model/adapters.py
        self.prefix: Prefix | None = None
        config = body.config.get_text_config()
        self.emb_dim: int = config.hidden_size
        self._positions = positions_of(config)
        children = dict(body.named_children())
        lists = [name for name, child in children.items() if isinstance(child, nn.ModuleList)
                 and len(child) == config.num_hidden_layers]  # fmt: skip
        norms = [name for name in _FINAL_NORMS if name in children]
        if not lists or not norms:
            raise TuneshotError(
                f"{type(body).__name__} is not a decoder this program can read; its parts are: "
                + ", ".join(children)
            )
        self._blocks_name, self._norm_name = lists[0], norms[0]
        self.out_head: nn.Module = nn.Linear(self.emb_dim, num_classes)
        self._splits = self._may_be_cut()

    @property
    def context_length(self) -> int:
        """Most tokens a message may have."""
        in_prefix = 0 if self.prefix is None else self.prefix.tokens
        return self._positions - self.virtual_tokens - in_prefix

    @property
    def virtual_tokens(self) -> int:
        """Vectors of a soft prompt, which stand in front of every message."""
        return 0 if self.soft_prompt is None else self.soft_prompt.tokens

    @property
    def tok_emb(self) -> nn.Module:
        """The token embedding."""
        return self.body.get_input_embeddings()

    @property
    def trf_blocks(self) -> nn.ModuleList:
        """The decoder's blocks."""
        return self.body.get_submodule(self._blocks_name)

    @property
    def final_norm(self) -> nn.Module:
        """The norm after the last block."""
        return self.body.get_submodule(self._norm_name)

    def depth_below(self, depth: int) -> int:
        """The largest depth up to ``depth`` at which ``lower`` and ``upper`` may be cut.

        Some decoders treat their blocks differently by number, and then a part of them is not a
        complete decoder.
        """
        return depth if self._splits or depth == len(self.trf_blocks) else 0

    def lower(self, ids: Tensor, depth: int, seen: Tensor | None = None) -> Tensor:
        """The stream after the embeddings and the first ``depth`` blocks: (B, T) -> (B, T, C).

        A soft prompt makes T larger by ``virtual_tokens``.

        Raises:
            TuneshotError: ``seen`` is given; the causal mask is built into these models.
        """
        if seen is not None:
            raise TuneshotError(
                "the causal mask can only be taken off a GPT-2 base; leave it on for this one"
            )
        x = self.tok_emb(ids)
        if self.soft_prompt is not None:
            x = self.soft_prompt(x)
        if depth == 0:
            return x
        part = self._part(0, depth, nn.Identity())
        return part(inputs_embeds=x, use_cache=False).last_hidden_state

    def upper(self, x: Tensor, depth: int, seen: Tensor | None = None) -> Tensor:
        """The blocks from ``depth`` on and the final norm: (B, T, C) -> (B, T, C)."""
        if depth == len(self.trf_blocks):
            return self.final_norm(x)
        part = self._part(depth, None, self.final_norm)
        # Only the whole decoder is run with a prefix: nothing below it is frozen.
        return part(inputs_embeds=x, use_cache=False, **self._past(len(x))).last_hidden_state

    def upper_at(self, x: Tensor, depth: int, where: Tensor, seen: Tensor, causal: bool) -> Tensor:
        """``upper`` at one position of each message: (B, T, C) -> (B, C)."""
        return self.upper(x, depth)[torch.arange(len(x), device=x.device), where]

    def attention(self, ids: Tensor, block: int, seen: Tensor | None = None) -> Tensor:
        """How much each token looks at each, by the heads of a block (from 0): (B, H, T, P + T).

        A soft prompt makes T larger by ``virtual_tokens``; a prefix has P tokens, which are looked
        at and look at nothing.

        Raises:
            TuneshotError: this decoder does not tell.
        """
        x, usual = self.lower(ids, 0, seen), self.body.config._attn_implementation
        self.body.set_attn_implementation("eager")  # the only one that keeps its weights
        try:
            told = self.body(
                inputs_embeds=x, use_cache=False, output_attentions=True, **self._past(len(x))
            ).attentions
        finally:
            self.body.set_attn_implementation(usual)
        if not told or told[block] is None:
            raise TuneshotError(
                f"{type(self.body).__name__} does not tell its attention; choose another base"
            )
        return told[block]

    def _past(self, batch: int) -> dict[str, Any]:
        return {} if self.prefix is None else {"past_key_values": self.prefix(batch)}

    def _part(self, first: int, last: int | None, norm: nn.Module) -> nn.Module:
        """A decoder of some of the blocks; the weights are shared, not copied."""
        part = copy.copy(self.body)
        blocks = nn.ModuleList(list(self.trf_blocks)[first:last])
        part._modules = {**self.body._modules, self._blocks_name: blocks, self._norm_name: norm}
        return part

    @torch.inference_mode()
    def _may_be_cut(self) -> bool:
        """Whether two parts, one after the other, give what the whole gives; two tokens show it."""
        ids, middle = torch.tensor([[1, 2]]), len(self.trf_blocks) // 2
        whole = self.upper(self.lower(ids, 0), 0)
        parts = self.upper(self.lower(ids, middle), middle)
        return torch.allclose(whole, parts, rtol=1e-4, atol=1e-4)
