"""Text from a language model: one token after the other, each drawn from what the model expects."""

from collections.abc import Callable, Iterator, Sequence

import torch

from clfcore.model.classifier import Trunk
from clfcore.pretraining.language_model import WritingBase
from clfcore.pretraining.settings import SampleConfig

_CUT = "�"  # what the bytes of half a character are decoded to


@torch.no_grad()
def next_tokens(trunk: Trunk, ids: Sequence[int], end: int, config: SampleConfig) -> Iterator[int]:
    """Token ids that follow ``ids``, until ``end`` is drawn (it is not among them).

    Of a longer text the model reads the last tokens that it has positions for.

    Args:
        trunk: its head has an output for each token; in evaluation mode.
        ids: at least one.
        end: the end-of-text token.
        config: the settings.
    """
    random = torch.Generator().manual_seed(config.seed)  # nobody else's numbers change
    device = next(trunk.parameters()).device
    written = list(ids)
    for _ in range(config.tokens):
        seen = torch.tensor([written[-trunk.context_length :]], device=device)  # (1, T)
        h = trunk.upper(trunk.lower(seen, 0), 0)[0, -1]  # (C,)
        logits = trunk.out_head(h.float()).cpu()  # (V,)
        token = choose(logits, config.temperature, config.top_k, random)
        if token == end:
            return
        written.append(token)
        yield token


def choose(logits: torch.Tensor, temperature: float, top_k: int, random: torch.Generator) -> int:
    """One token, drawn from softmax(logits / temperature) of the ``top_k`` likeliest.

    Args:
        logits: (V,) float32.
        temperature: 0 takes the likeliest.
        top_k: 0: all.
        random: where the numbers come from.
    """
    if temperature == 0:
        return int(logits.argmax())
    likeliest, tokens = logits.topk(min(top_k or len(logits), len(logits)))  # (k,) each
    # From the likeliest on: divided by a tiny temperature, no difference becomes 0/0.
    p = ((likeliest - likeliest[0]) / temperature).softmax(dim=-1)  # (k,)
    return int(tokens[torch.multinomial(p, 1, generator=random)])


def write(base: WritingBase, beginning: str, config: SampleConfig) -> Iterator[str]:
    """What ``base`` writes after ``beginning``, in pieces as they come.

    A piece is whole characters: of one that several tokens make, nothing is given before the last.

    Args:
        base: a language model.
        beginning: may be empty: it then begins a new text.
        config: the settings.
    """
    base.trunk.eval()
    start = base.encode(beginning) if beginning else [base.end]
    return _whole_characters(next_tokens(base.trunk, start, base.end, config), base.decode)


def _whole_characters(
    tokens: Iterator[int], decode: Callable[[Sequence[int]], str]
) -> Iterator[str]:
    ids: list[int] = []
    given = 0
    for token in tokens:
        ids.append(token)
        text = decode(ids)
        if len(text) > given and not text.endswith(_CUT):
            yield text[given:]
            given = len(text)
    if rest := decode(ids)[given:]:
        yield rest
