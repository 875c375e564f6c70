"""From messages to a checkpoint: split, base, fine-tune, calibrate, judge, save."""

import platform
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clfcore.calibrate import platt_scale
from clfcore.checkpoint import Meta, save_checkpoint
from clfcore.config import GPT_PRESETS
from clfcore.data import Source, content_hash, grouped_stratified_split
from clfcore.distill import TEACHER, Say, distilled_gpt2
from clfcore.errors import TuneshotError
from clfcore.evaluate import Evaluation, evaluate
from clfcore.gpt import GPTModel
from clfcore.predict import FineTuned
from clfcore.pretrained import load_gpt2
from clfcore.tokenizer import encode
from clfcore.train import Encoded, Step, TrainConfig, fit
from clfcore.types import Example

MINI = "gpt2-mini"
_PRACTICE_TEXTS = 24_000
_PRACTICE_EPOCHS = 3
_DROP_RATE = 0.1
_FINE_TUNED_SHARE = 0.6

# The lecture's settings for a pretrained GPT-2, and ours for the small one. See docs/gpt2-mini.md.
LECTURE = TrainConfig()
SETTINGS = {
    MINI: TrainConfig(
        epochs=4,
        batch_size=32,
        learning_rate=6e-4,
        embedding_learning_rate=2e-4,
        weight_decay=0.05,
        label_smoothing=0.02,
        layers="all",
        balance="oversample",
    )
}


def settings_for(base: str) -> TrainConfig:
    """The training settings that suit ``base``."""
    return SETTINGS.get(base, LECTURE)


def train_classifier(
    base: str,
    source: Source,
    config: TrainConfig,
    threshold: float,
    out: Path,
    compact: bool,
    say: Say,
) -> Evaluation:
    """Fine-tunes ``base`` on the training part of ``source`` and saves a checkpoint at ``out``.

    The validation part calibrates, the test part is only ever looked at by the evaluation that
    is returned and stored.

    Args:
        base: ``gpt2-mini`` (made here, offline), a published GPT-2, a repository or a folder.
        source: labelled messages with two labels.
        config: how to fine-tune; its seed also splits.
        threshold: probability of the second label from which it is answered.
        out: folder of the checkpoint.
        compact: store int8 rows. The evaluation is of the stored weights.
        say: hears (stage, done, total, figures).

    Raises:
        TuneshotError: unusable data, base or ``out``.
    """
    examples = source.examples
    labels = two_labels(examples)
    split = grouped_stratified_split(examples, config.seed)
    train, val, test = (
        [examples[row] for row in rows] for rows in (split.train, split.val, split.test)
    )
    model = _classifier(base, [example.text for example in train], len(labels), config.seed, say)
    encoded_train, encoded_val = (encoded(part, labels, model.cfg.context_length)
                                  for part in (train, val))  # fmt: skip

    def on_step(step: Step) -> None:
        figures = f"loss {step.loss:.3f}"
        if step.val_accuracy is not None:
            figures = f"validation loss {step.val_loss:.3f}, accuracy {step.val_accuracy:.4f}"
        say("fine-tune", step.step, step.steps, figures)

    share = _FINE_TUNED_SHARE if base == MINI else 1.0
    # A second copy of the weights, only where it will be mixed in: gpt2-xl has 6 GB of them.
    before = deepcopy(model.state_dict()) if share < 1 else {}
    history = fit(model, encoded_train, encoded_val, config, on_step)
    if share < 1:
        mix_with(model, before, share)
    slope, shift = platt_scale(model, encoded_val)

    about: dict[str, Any] = {
        "base": base,
        "teacher": TEACHER if base == MINI else None,
        "data": {
            "source": source.name,
            "sha256": content_hash(examples),
            "split_seed": config.seed,
            "train": {"messages": len(train), "sha256": content_hash(train)},
            "val": {"messages": len(val), "sha256": content_hash(val)},
            "test": {"messages": len(test), "sha256": content_hash(test)},
        },
        "train": {**config.to_dict(), "history": [asdict(step) for step in history]},
        "fine_tuned_share": share,
        "calibration": {"slope": round(slope, 4), "shift": round(shift, 4)},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    meta = Meta(Path(base).name, model.cfg, labels, threshold, about=about)
    save_checkpoint(out, model, meta, compact)
    # What was stored is judged, not what was in memory: int8 rows round a little.
    stored = FineTuned.load(out)
    result = evaluate(stored, test, lambda done: say("judge", done, len(test), ""))
    about["test_metrics"] = result.to_dict()
    save_checkpoint(out, model, meta, compact)
    return result


@torch.no_grad()
def mix_with(model: GPTModel, before: dict[str, Tensor], share: float) -> None:
    """Moves the trunk back towards what it was before fine-tuning; the head stays.

    ``share`` of the fine-tuned weights, the rest of the old ones (WiSE-FT, Wortsman et al. 2022,
    eq. 1): nearly all of what was learnt from the corpus stays, and more of what the teacher
    knew of other messages.
    """
    for name, weight in model.state_dict().items():
        if not name.startswith("out_head"):
            weight.lerp_(before[name], 1 - share)


def two_labels(examples: Sequence[Example]) -> tuple[str, ...]:
    """The labels in alphabetical order: of ham and spam, spam is the second, the positive one.

    Raises:
        TuneshotError: there are not exactly two.
    """
    labels = tuple(sorted({example.label for example in examples}))
    if len(labels) != 2:
        raise TuneshotError(f"training needs exactly 2 labels, found {len(labels)}: {labels}")
    return labels


def encoded(examples: Sequence[Example], labels: Sequence[str], limit: int) -> Encoded:
    """Token ids, cut to ``limit``, and label numbers."""
    return Encoded(
        tokens=[encode(example.text)[:limit] for example in examples],
        labels=[labels.index(example.label) for example in examples],
    )


def _classifier(base: str, texts: Sequence[str], classes: int, seed: int, say: Say) -> GPTModel:
    """``base`` with a fresh classification head."""
    if base == MINI:
        cfg = replace(GPT_PRESETS[MINI], drop_rate=_DROP_RATE)
        state = distilled_gpt2(
            GPT_PRESETS[MINI], texts, _PRACTICE_TEXTS, _PRACTICE_EPOCHS, seed, say
        ).state_dict()
    else:
        cfg, state = load_gpt2(base)
    torch.manual_seed(seed)
    model = GPTModel(cfg, classes)
    nn.init.zeros_(model.out_head.weight)  # starts undecided: the first loss is ln(classes)
    trunk = {name: tensor for name, tensor in state.items() if name != "out_head.weight"}
    model.load_state_dict(trunk, strict=False)  # all but the head; names were checked before
    return model
