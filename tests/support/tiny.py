"""A GPT so small that training it takes a second, and messages it can learn."""

import numpy as np
import torch

from clfcore.fine_tuned import FineTuned
from clfcore.model.batching import Encoded
from clfcore.model.classifier import TextClassifier, class_logits
from clfcore.model.gpt import GPTModel
from clfcore.model.spec import GPTConfig, Reading
from clfcore.weights.meta import Meta

CFG = GPTConfig(context_length=32, emb_dim=32, n_heads=2, n_layers=2)
LABELS = ("ham", "spam")


def tiny(
    seed: int = 0, reading: Reading | None = None, classes: int = 2, cfg: GPTConfig = CFG
) -> TextClassifier:
    torch.manual_seed(seed)
    return TextClassifier(GPTModel(cfg, num_classes=classes), reading or Reading()).eval()


def tiny_classifier(**meta) -> FineTuned:
    return FineTuned(tiny(), Meta("tiny", LABELS, CFG, **meta))


def toy_data(n: int = 40, seed: int = 0) -> Encoded:
    """Token 7 in front means spam; one message in four is spam."""
    rng = np.random.default_rng(seed)
    labels = [int(i % 4 == 0) for i in range(n)]
    tokens = [rng.integers(100, 140, rng.integers(2, 12)).tolist() for _ in labels]
    for row, label in enumerate(labels):
        if label:
            tokens[row][0] = 7
    return Encoded(tokens, labels)


def all_logits(model: TextClassifier, data: Encoded) -> np.ndarray:
    """(N, classes) float64."""
    return class_logits(model, data.tokens).double().numpy()


def loss_and_accuracy(model: TextClassifier, data: Encoded) -> tuple[float, float]:
    """Mean loss in nats, and share of right answers."""
    z, y = torch.tensor(all_logits(model, data)), torch.tensor(data.labels)
    loss = torch.nn.functional.cross_entropy(z, y).item()
    return loss, float((z.argmax(dim=1) == y).double().mean())
