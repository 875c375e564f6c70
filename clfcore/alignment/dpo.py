"""Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290): the loss, and no more.

A language model π is taught that y_w is a better answer to x than y_l, without a reward model:
how far it has moved from the reference π_ref is the reward.

    reward(x, y) = β (log π(y | x) - log π_ref(y | x))               eq. 5, up to a term of x alone
    loss         = -log σ(reward(x, y_w) - reward(x, y_l))                                    eq. 7
    ∇ loss       = -β σ(reward(x, y_l) - reward(x, y_w)) (∇ log π(y_w | x) - ∇ log π(y_l | x))
"""

import torch.nn.functional as F
from torch import Tensor


def dpo_losses(policy: Tensor, reference: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """The loss of each of B pairs, and the margin between its rewards; both (B,), in nats.

    Args:
        policy: (B, 2) log π of the better and the worse answer, summed over their tokens, in nats.
        reference: (B, 2) log π_ref of them; no gradient.
        beta: β, above 0.
    """
    rewards = beta * (policy - reference)  # (B, 2)
    margins = rewards[:, 0] - rewards[:, 1]  # (B,)
    return -F.logsigmoid(margins), margins  # (B,), (B,)
