"""What a language model writes, and how well it predicts texts: before and after."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from clfcore.data.draw import draw
from clfcore.data.messages import sample_messages
from clfcore.model.batching import by_length

_BATCH = 8  # texts; each has a probability of every word of the vocabulary at every token
SAMPLE = 200  # messages


@torch.inference_mode()
def reply(network: Any, tokenizer: Any, prompt: Sequence[int], most: int = 60) -> str:  # noqa: ANN401
    """What the model writes after ``prompt``, the likeliest token each time.

    Args:
        network: a causal language model of transformers.
        tokenizer: its own.
        prompt: token ids.
        most: tokens; it may end before.
    """
    device = next(network.parameters()).device
    ids, cache = list(prompt), None
    written: list[int] = []
    while len(written) < most:
        out = network(torch.tensor([ids], device=device), past_key_values=cache, use_cache=True)
        token = int(out.logits[0, -1].argmax())
        if token == tokenizer.eos_token_id:
            break
        written.append(token)
        ids, cache = [token], out.past_key_values
    return tokenizer.decode(written, skip_special_tokens=True).strip()


@torch.inference_mode()
def perplexity(network: Any, tokenizer: Any, texts: Sequence[str]) -> float:  # noqa: ANN401
    """Of all texts, e to the mean -log P of a token after those before it.

    The first token of a text has none before it and does not count.

    Args:
        network: a causal language model of transformers.
        tokenizer: its own.
        texts: at least one of two tokens.
    """
    device = next(network.parameters()).device
    tokens = [tokenizer(text, split_special_tokens=True)["input_ids"] for text in texts]
    nats, count = 0.0, 0
    for cpu_batch in by_length([ids for ids in tokens if len(ids) > 1], _BATCH):
        batch = cpu_batch.to(device)
        logits = network(batch.ids).logits[:, :-1].float()  # (B, T - 1, V)
        following = batch.ids[:, 1:]  # (B, T - 1)
        by_token = F.cross_entropy(logits.transpose(1, 2), following, reduction="none")  # (B, T-1)
        real = torch.arange(1, batch.ids.shape[1], device=device) < batch.lengths[:, None]
        nats += float(by_token[real].sum())  # (B, T - 1) -> ()
        count += int(real.sum())
    return math.exp(nats / count)


def sample_perplexity(network: Any, tokenizer: Any) -> float:  # noqa: ANN401
    """``perplexity`` on 200 of the bundled sample messages, always the same."""
    drawn = draw(sample_messages().examples, SAMPLE, balanced=False, seed=0)
    return perplexity(network, tokenizer, [example.text for example in drawn])
