"""The fine-tuned side: a loaded checkpoint that answers messages."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from clfcore.errors import TuneshotError
from clfcore.model.classifier import TextClassifier, class_logits
from clfcore.model.spec import END_OF_TEXT, Reading
from clfcore.model.tokenizer import encode
from clfcore.types import Prediction
from clfcore.weights.checkpoint import load_checkpoint, packed, unpacked
from clfcore.weights.meta import Meta
from clfcore.weights.pretrained import load_chapter6
from clfcore.weights.unopened import checkpoint_path

# The book pads or cuts every message to the longest of its training set; the last column is read.
_CHAPTER6_PAD_TO = 120  # tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTunedPrediction(Prediction):
    """An answer, and how much of the message was read for it.

    Attributes:
        label: there always is one.
        tokens: how many the model read.
    """

    label: str
    tokens: int


class FineTuned:
    """A language model with a classification head. Use it from one thread at a time.

    Args:
        model: the classifier.
        meta: its description.
        encode: text -> token ids; default: GPT-2's.
    """

    def __init__(
        self, model: TextClassifier, meta: Meta, encode: Callable[[str], list[int]] = encode
    ) -> None:
        self.model = model.eval()
        self.meta = meta
        self.encode = encode

    @classmethod
    def load(cls, path: Path | None = None, trust_source: bool = False) -> "FineTuned":
        """A checkpoint folder, a chapter-6 ``.pth`` file, or by default the bundled gpt2-mini.

        Args:
            path: of the folder or file; it may come from a stranger.
            trust_source: if it names another folder, or a model that is not on this machine, as
                its trunk, load that, too.

        Raises:
            TuneshotError: it does not exist or cannot be used.
        """
        path = checkpoint_path(path, trust_source)
        if path.suffix == ".pth":
            return cls._chapter6(path)
        loaded = load_checkpoint(path, trust_source)
        return cls(loaded.model, loaded.meta, loaded.encode)

    @classmethod
    def _chapter6(cls, path: Path) -> "FineTuned":
        gpt = load_chapter6(path)
        if gpt.cfg.vocab_size <= END_OF_TEXT:
            raise TuneshotError(
                f"{path} knows {gpt.cfg.vocab_size:,} tokens, and GPT-2 has {END_OF_TEXT + 1:,}; "
                "it was trained with another tokenizer"
            )
        classes = len(gpt.state_dict()["out_head.bias"])
        labels = ("ham", "spam") if classes == 2 else tuple(f"class {i}" for i in range(classes))
        reading = Reading("last_column", min(_CHAPTER6_PAD_TO, gpt.cfg.context_length))
        meta = Meta(path.stem, labels, gpt.cfg, reading=reading)
        return cls(TextClassifier(gpt, reading), meta)

    @property
    def name(self) -> str:
        """Its name, e.g. ``gpt2-mini``."""
        return self.meta.name

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the head's outputs."""
        return self.meta.labels

    @property
    def limit(self) -> int:
        """Most tokens of a message that it reads."""
        return self.meta.reading.limit(self.model.trunk.context_length)

    def read(self, text: str) -> list[int]:
        """The token ids of ``text`` that the model reads: cut, or padded where padding is read."""
        return self.meta.reading.tokens(self.encode(text), self.limit)

    def predict(self, texts: Sequence[str], batch_size: int = 32) -> list[FineTunedPrediction]:
        """Answers in input order; padding never changes one.

        Args:
            texts: any strings, empty ones included.
            batch_size: messages per forward pass; similar lengths share one.

        Raises:
            TuneshotError: weights that are not finite numbers.
        """
        start = perf_counter()
        limit = self.limit
        whole = [self.encode(text) for text in texts]
        tokens = [self.meta.reading.tokens(ids, limit) for ids in whole]
        p = class_logits(self.model, tokens, batch_size).log_softmax(dim=-1).exp()  # (N, classes)
        ms = (perf_counter() - start) * 1000 / max(1, len(texts))
        if not bool(p.isfinite().all()):
            raise TuneshotError(
                f"the weights of {self.name} are damaged: its answers are not numbers; choose "
                "another checkpoint, or train it again"
            )
        return [
            FineTunedPrediction(
                label=self._decide(values),
                probabilities=dict(zip(self.labels, values, strict=True)),
                ms=ms,
                notes=tuple(self._notes(text, len(ids), limit, values)),
                tokens=min(len(ids), limit),
            )
            for text, ids, values in zip(texts, whole, p.tolist(), strict=True)
        ]

    def __reduce__(self) -> tuple[Callable[..., "FineTuned"], tuple[Any, ...]]:
        """As a checkpoint has it: plain values and arrays, of a trunk with a source its name."""
        record, state = packed(self.model, self.meta)
        return _unpickled, (record, {name: tensor.cpu().numpy() for name, tensor in state.items()})

    def _decide(self, p: list[float]) -> str:
        if len(p) == 2:
            return self.labels[int(p[1] >= self.meta.threshold)]
        return self.labels[max(range(len(p)), key=p.__getitem__)]

    def _notes(self, text: str, tokens: int, limit: int, p: list[float]) -> Iterator[str]:
        if not text.strip():
            yield "the message is empty"
        if tokens > limit:
            yield f"only the first {limit} of {tokens} tokens were read"
        if len(p) == 2 and 0.5 <= p[1] < self.meta.threshold:
            yield f"it answers {self.labels[1]} from {self.meta.threshold:.0%} on, to be careful"


def _unpickled(record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> FineTuned:
    # Copied, because joblib may have mapped a file that cannot be written.
    state = {name: torch.tensor(array) for name, array in arrays.items()}
    # Whoever opens a pickle trusts it: it could have run any code.
    loaded = unpacked(Meta.from_record(record), state, "the pickled classifier", network=True)
    return FineTuned(loaded.model, loaded.meta, loaded.encode)
