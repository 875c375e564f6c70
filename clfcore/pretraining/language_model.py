"""Bases as language models: a trunk whose head says which token comes next, and its tokenizer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clfcore.model.classifier import Trunk, TrunkModel
from clfcore.model.gpt import GPTModel
from clfcore.model.spec import END_OF_TEXT
from clfcore.model.tokenizer import gpt2_encoding
from clfcore.training.instruction.model import LanguageModel
from clfcore.weights.bases import load_base, text_ids, written_as_gpt2
from clfcore.weights.language_model import load_transformer
from clfcore.weights.pretrained import save_gpt2


class NextTokenModel(TrunkModel):
    """(B, T) int64 token ids -> (B, T, V) float32 logits of the token after each."""

    def forward(self, ids: Tensor) -> Tensor:
        h = self.trunk.upper(self.trunk.lower(ids, 0), 0)  # (B, T, C)
        # bfloat16 has steps of 0.06 where logits are.
        with torch.autocast(h.device.type, enabled=False):
            return self.trunk.out_head(h.float())


@dataclass(frozen=True, slots=True)
class WritingBase:
    """A base that writes.

    Attributes:
        name: what to call it.
        trunk: its head has an output for each token.
        encode: text -> token ids, never empty.
        decode: token ids -> text; bytes that are no whole character become U+FFFD.
        end: the end-of-text token.
        save: writes the files of a model that ``load_base`` reads into a new folder.
    """

    name: str
    trunk: Trunk
    encode: Callable[[str], list[int]]
    decode: Callable[[Sequence[int]], str]
    end: int
    save: Callable[[Path], None]


def load_writing_base(
    base: str, weights: str = "pretrained", seed: int = 0, network: bool = True
) -> WritingBase:
    """``base`` with its vocabulary head; GPT-2's is the token embedding once more (tied weights).

    Args:
        base: see ``clfcore.weights.bases.load_base``.
        weights: ``pretrained``; or ``random`` ones in the shape of a GPT-2.
        seed: of the random weights.
        network: whether it may be downloaded.

    Raises:
        TuneshotError: as ``load_base``; or a model that is more than a trunk and a head.
    """
    if weights == "random" or written_as_gpt2(base, network):
        start = load_base(base, 1, weights, seed=seed, network=network)
        trunk = start.trunk
        assert isinstance(trunk, GPTModel)
        tie_head(trunk)
        decode = gpt2_encoding().decode
        return WritingBase(
            start.name, trunk, start.encode, decode, END_OF_TEXT, partial(save_gpt2, model=trunk)
        )
    tokenizer, network_ = load_transformer(base, "AutoModelForCausalLM", network=network)
    end = tokenizer.eos_token_id
    return WritingBase(
        Path(base).name,
        LanguageModel(network_).trunk,
        partial(text_ids, tokenizer),
        tokenizer.decode,
        0 if end is None else end,
        partial(_save_transformer, tokenizer=tokenizer, network=network_),
    )


def tie_head(trunk: GPTModel) -> None:
    """Gives ``trunk`` GPT-2's vocabulary head: logits are h · (token embedding), no bias."""
    with torch.device("meta"):
        head = nn.Linear(trunk.cfg.emb_dim, trunk.cfg.vocab_size, bias=False)
    head.weight = trunk.tok_emb.weight
    trunk.out_head = head


def _save_transformer(folder: Path, tokenizer: Any, network: Any) -> None:  # noqa: ANN401
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for weights in folder.glob("*.safetensors"):  # written for their owner's eyes only
        weights.chmod((folder / "config.json").stat().st_mode)
