"""A bottleneck adapter: narrow, bend, widen, and add (Houlsby et al. 2019, figure 2)."""

import torch.nn.functional as F
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """A linear layer of width C, and a bottleneck of width r that corrects what it gives.

    It has 2 C r + r + C weights (Hu et al. 2021, section 5.1). The way up starts at zero, so that
    nothing changes. The bend between the two is why no weight of a trunk could take it in.

    Args:
        base_layer: writes to the stream, (…, any) -> (…, C); kept as it is.
        rank: r.
    """

    def __init__(self, base_layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base_layer = base_layer
        device = base_layer.weight.device
        # Drawn on the CPU, whose generator is the one that is seeded.
        self.down = nn.Linear(base_layer.out_features, rank).to(device)
        self.up = nn.Linear(rank, base_layer.out_features).to(device)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(…, any) -> (…, C)."""
        h = self.base_layer(x)  # (…, C)
        return h + self.up(F.gelu(self.down(h)))  # (…, C) -> (…, r) -> (…, C)
