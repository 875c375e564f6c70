"""What fine-tuning starts from: a trunk, its tokenizer, and the source of its weights."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from clfcore.config import DEFAULT_LM
from clfcore.errors import TuneshotError
from clfcore.model.classifier import Trunk
from clfcore.model.gpt import GPTModel
from clfcore.model.huggingface import HuggingFaceTrunk, positions_of
from clfcore.model.spec import GPT_PRESETS, MAKING, MINI, GPTConfig
from clfcore.model.tokenizer import encode, gpt2_encoding
from clfcore.paths import TRUNK, atomic_write
from clfcore.types import OnProgress, ignore, without_lone_surrogates
from clfcore.weights.kept import kept_tensors
from clfcore.weights.language_model import CONFIG, load_transformer
from clfcore.weights.pretrained import empty_gpt2, gpt2_config, is_gpt2, load_gpt2
from clfcore.weights.source import check_start
from clfcore.weights.storage import COMPACT, from_stored, to_stored

_DISTILLATION_VERSION = 1  # of distill.py, so that no old trunk is taken from the cache


@dataclass(frozen=True, slots=True)
class Base:
    """A trunk with a fresh head.

    Attributes:
        name: what to call it.
        trunk: the model.
        encode: text -> token ids, never empty.
        source: the name by which ``load_base`` loads the trunk again; ``None`` if it cannot.
    """

    name: str
    trunk: Trunk
    encode: Callable[[str], list[int]]
    source: str | None


def load_base(
    base: str,
    classes: int,
    weights: str = "pretrained",
    texts: Sequence[str] = (),
    texts_seed: int = 0,
    seed: int = 0,
    on_progress: OnProgress = ignore,
    network: bool = True,
) -> Base:
    """``base`` with a fresh classification head, which starts undecided.

    Args:
        base: ``gpt2-mini`` (bundled), ``gpt2`` … ``gpt2-xl``, the few-shot side's
            ``SmolLM2-135M-Instruct``, another Hugging Face repository, or a folder.
        classes: labels.
        weights: ``pretrained``; ``random`` ones in the same shape; or ``distilled``, a
            ``gpt2-mini`` made of ``texts``, which takes minutes and is kept. The pretrained
            ``gpt2-mini`` was made of the sample messages, without their labels.
        texts: unlabelled training messages, to distil from.
        texts_seed: of the distillation.
        seed: of the random weights.
        on_progress: called with (stage, done, total, figures).
        network: whether it may be downloaded.

    Raises:
        TuneshotError: the base cannot be loaded, is no causal language model, or has no such
            weights.
    """
    check_start(base, weights, network)
    torch.manual_seed(seed)
    random = weights == "random"
    if base == MINI:
        # Dropout, because it is small enough to memorise its few messages.
        cfg = replace(GPT_PRESETS[MINI], drop_rate=0.1)
        if weights == "distilled":
            trunk = _gpt2(cfg, classes, _distilled(texts, texts_seed, on_progress))
        else:
            trunk = _gpt2(cfg, classes, None if random else _bundled())
        start = Base(base, trunk, encode, source=base if weights == "pretrained" else None)
    elif random and base in GPT_PRESETS:
        start = Base(base, _gpt2(GPT_PRESETS[base], classes, None), encode, source=None)
    elif base != DEFAULT_LM and is_gpt2(base, network):
        cfg, state = load_gpt2(base, network)
        trunk = _gpt2(cfg, classes, None if random else state)
        start = Base(Path(base).name, trunk, encode, source=None if random else base)
    elif random:
        raise TuneshotError(
            f"random weights are for the shapes of GPT-2, not for {base}; choose from "
            f"{', '.join(GPT_PRESETS)}"
        )
    else:
        tokenizer, body = load_transformer(base, "AutoModel", network=network)
        with MAKING:
            headed = HuggingFaceTrunk(body, classes)
        start = Base(Path(base).name, headed, partial(text_ids, tokenizer), base)
    with torch.no_grad():
        for weight in start.trunk.out_head.parameters():
            weight.zero_()  # the first loss is ln(classes)
    return start


def written_as_gpt2(base: str, network: bool = True) -> bool:
    """Whether ``base`` is computed by our own GPT, and not by a model of transformers.

    Raises:
        TuneshotError: its ``config.json`` cannot be loaded.
    """
    return base in GPT_PRESETS or (base != DEFAULT_LM and is_gpt2(base, network))


def reading_of(base: str) -> tuple[Callable[[str], list[int]], int]:
    """How ``base`` reads a message, without loading a weight.

    Args:
        base: see ``load_base``.

    Returns:
        What makes token ids of a text, and how many of them are read at most.

    Raises:
        TuneshotError: there is no such base, or it is no causal language model.
    """
    if base in GPT_PRESETS:
        return encode, GPT_PRESETS[base].context_length
    if base != DEFAULT_LM and is_gpt2(base):
        return encode, gpt2_config(base).context_length
    tokenizer, config = load_transformer(base, CONFIG)
    return partial(text_ids, tokenizer), positions_of(config)


def text_ids(tokenizer: Any, text: str) -> list[int]:  # noqa: ANN401
    """Token ids of ``text`` by a tokenizer of transformers; never empty."""
    # A message that contains "<|im_end|>" means those characters, not the control token.
    encoding = tokenizer(without_lone_surrogates(text), split_special_tokens=True)
    return encoding["input_ids"] or [tokenizer.eos_token_id or 0]


def spelled(encode: Callable[[str], list[int]], ids: Sequence[int]) -> list[str]:
    """The text of each token, with its white space; "�" where it is a part of a character.

    Args:
        encode: of a ``Base``, which made the token ids.
        ids: token ids.
    """
    tokenizer = encode.args[0] if isinstance(encode, partial) else gpt2_encoding()
    return [tokenizer.decode([token]) for token in ids]


def fingerprint(trunk: nn.Module) -> str:
    """A hash that tells one set of weights from another: of the first values of each tensor."""
    digest = hashlib.sha256()
    for name, weight in trunk.named_parameters():
        if not name.startswith("out_head"):
            first = weight.detach().flatten()[:16].float().cpu().numpy().tobytes()
            digest.update(f"{name} {tuple(weight.shape)}".encode() + first)
    return digest.hexdigest()


def _distilled(texts: Sequence[str], seed: int, on_progress: OnProgress) -> dict[str, Tensor]:
    """gpt2-mini before fine-tuning, made of ``texts``: once, and kept in the user's cache."""
    if not any(text.strip() for text in texts):
        raise TuneshotError(f"{MINI} is distilled from messages, and there is none with a word")
    digest = hashlib.sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
    name = f"{MINI}-trunk-{_DISTILLATION_VERSION}-{digest[:16]}-{seed}"
    return kept_tensors(name, lambda: _distil(texts, seed, on_progress))


def _distil(texts: Sequence[str], seed: int, on_progress: OnProgress) -> dict[str, Tensor]:
    from clfcore.weights.distill import distilled_gpt2  # brings sentence-transformers: seconds

    model = distilled_gpt2(
        GPT_PRESETS[MINI], texts, practice=24_000, epochs=3, seed=seed, on_progress=on_progress
    )
    return {n: t for n, t in model.state_dict().items() if not n.startswith("out_head")}


def bundle_trunk(
    texts: Sequence[str], path: Path = TRUNK, on_progress: OnProgress = ignore
) -> None:
    """Makes the bundled trunk again, on one machine bit for bit: ``make trunk``, ten minutes.

    ``texts`` are those of the sample messages.
    """
    with atomic_write(path) as new:
        new.write_bytes(save(to_stored(_distil(texts, 0, on_progress), COMPACT)))


def _bundled() -> dict[str, Tensor]:
    return from_stored(TRUNK, load_file(TRUNK), COMPACT.scheme)


def _gpt2(cfg: GPTConfig, classes: int, state: dict[str, Tensor] | None) -> GPTModel:
    """With the weights of ``state``, its head aside; names and shapes were checked before."""
    with MAKING:
        if state is None:
            return GPTModel(cfg, classes)
        trunk = empty_gpt2(cfg, classes)
        state = {name: tensor for name, tensor in state.items() if not name.startswith("out_head")}
        trunk.load_state_dict(state, strict=False, assign=True)
        trunk.out_head = nn.Linear(cfg.emb_dim, classes)
        return trunk
