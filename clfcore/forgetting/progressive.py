"""Progressive networks (Rusu et al. 2016): a new column learns beside an old one that is frozen."""

import torch
from torch import Tensor, nn

from clfcore.model.gpt import GPTModel


class ProgressiveTrunk(GPTModel):
    """Two GPTs side by side; each block of the new one also reads what the old one's block reads.

    Rusu et al. start the new column at random. Here it starts as a copy of the old one, and the
    links between them at zero, so that at the start it says what the old one says. Between
    ``lower`` and ``upper`` the two streams are one beside the other: (B, T, 2 C).

    Args:
        old: the column that stays, to the bit; a part of this trunk from now on.
        classes: outputs of the new head.
    """

    def __init__(self, old: GPTModel, classes: int) -> None:
        super().__init__(old.cfg, classes)
        start = {n: w for n, w in old.state_dict().items() if not n.startswith("out_head")}
        self.load_state_dict(start, strict=False)
        self.old = old.requires_grad_(False)
        C = old.cfg.emb_dim
        self.links = nn.ModuleList(nn.Linear(C, C, bias=False) for _ in self.trf_blocks)
        for weight in self.links.parameters():
            nn.init.zeros_(weight)

    def train(self, mode: bool = True) -> "ProgressiveTrunk":
        super().train(mode)
        self.old.eval()
        return self

    def lower(self, ids: Tensor, depth: int, seen: Tensor | None = None) -> Tensor:
        """Both streams after the embeddings and ``depth`` blocks: (B, T) -> (B, T, 2 C)."""
        both = torch.cat([self.old.lower(ids, 0), super().lower(ids, 0)], dim=-1)  # (B, T, 2 C)
        return self._blocks(both, 0, depth, seen)

    def upper(self, x: Tensor, depth: int, seen: Tensor | None = None) -> Tensor:
        """The other blocks and the new column's norm: (B, T, 2 C) -> (B, T, C)."""
        both = self._blocks(x, depth, len(self.trf_blocks), seen)
        return self.final_norm(both.chunk(2, dim=-1)[1])

    def upper_at(self, x: Tensor, depth: int, where: Tensor, seen: Tensor, causal: bool) -> Tensor:
        """``upper`` at one position of each message: (B, T, 2 C) -> (B, C)."""
        h = self.upper(x, depth, None if causal else seen)  # (B, T, C)
        return h[torch.arange(len(h), device=h.device), where]

    def _blocks(self, both: Tensor, first: int, last: int, seen: Tensor | None) -> Tensor:
        old, new = both.chunk(2, dim=-1)  # (B, T, C) each
        for i in range(first, last):
            new = self.trf_blocks[i](new + self.links[i](old), seen)
            old = self.old.trf_blocks[i](old, seen)
        return torch.cat([old, new], dim=-1)  # (B, T, 2 C)
