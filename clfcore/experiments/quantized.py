"""A classifier before and after its weights are quantized, and a control.

Spam is easy: many a damage changes no answer. So beside the answers stand how far weights and
probabilities have moved, and what a model answers whose weights are the same numbers in another
order.
"""

import copy
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clfcore.errors import TuneshotError
from clfcore.evaluation.evaluate import Evaluation, evaluate
from clfcore.fine_tuned import FineTuned
from clfcore.quantization.schemes import SCOPES
from clfcore.types import Example, OnProgress, ignore
from clfcore.weights.checkpoint import save_checkpoint
from clfcore.weights.meta import FLOAT32, read_meta
from clfcore.weights.storage import Storage

WEIGHTS = "model.safetensors"
_TIMED = 50  # messages whose latency is measured, one at a time


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of one of the three models.

    Attributes:
        bytes: size of its weights on disk; ``None``: it is on no disk.
        weight_error: ‖W' − W‖ / ‖W‖ over all weights in scope, W' its own, W those before.
        probability_change: mean over messages of the largest change of a label's probability.
        answers_changed: messages that it answers otherwise.
        accuracy: share answered correctly.
        auc: of the second of two labels; ``None`` with more.
        p50_ms: median time of one message alone, in milliseconds.
    """

    bytes: int | None
    weight_error: float
    probability_change: float
    answers_changed: int
    accuracy: float
    auc: float | None
    p50_ms: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What quantizing did.

    Attributes:
        model: its name.
        scheme: key of ``SCHEMES``.
        scope: key of ``SCOPES``.
        baseline: how the weights were stored before: ``float32``, or already ``int8``.
        messages: on how many messages.
        data_sha256: ``content_hash`` of these.
        models: ``before``, ``after``, and ``shuffled``, the weights in scope in another order.
    """

    model: str
    scheme: str
    scope: str
    baseline: str
    messages: int
    data_sha256: str
    models: Mapping[str, Measured]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def check_can_quantize(path: Path) -> str:
    """How the weights of a checkpoint are stored: ``float32`` or ``int8``. No weight is read.

    Raises:
        TuneshotError: they are quantized already, or do not lie in the checkpoint.
    """
    if path.suffix == ".pth":
        return FLOAT32
    record = read_meta(path)
    if record.get("source") or record.get("adapter"):
        raise TuneshotError(
            f"{path} holds only what was trained, and not its trunk; quantize a GPT-2 that is "
            "stored whole, as clf train --layers all makes it, or clf merge of an adapter"
        )
    stored = str(record["weights"]["storage"])
    if stored not in (FLOAT32, "int8"):
        raise TuneshotError(f"{path} is quantized already, as {stored}; give what it was made of")
    return stored


def quantize_checkpoint(path: Path, scheme: str, scope: str, out: Path) -> FineTuned:
    """Writes a checkpoint in codes, and loads what was written.

    Args:
        path: of a checkpoint, see ``check_can_quantize``.
        scheme: key of ``SCHEMES``.
        scope: key of ``SCOPES``; what is outside is stored as it was.
        out: folder of the new one.

    Raises:
        TuneshotError: it cannot be quantized, or ``out`` cannot be written.
    """
    stored, model = check_can_quantize(path), FineTuned.load(path)
    about = {**model.meta.about, "quantized": {"scheme": scheme, "scope": scope, "from": stored}}
    meta = replace(model.meta, name=f"{model.name} {scheme}", about=about)
    save_checkpoint(out, model.model, meta, Storage(scheme, scope, rest=stored))
    return FineTuned.load(out)


def compare(
    path: Path, out: Path, examples: Sequence[Example], on_progress: OnProgress = ignore
) -> Comparison:
    """Asks the model before, the one after, and one with shuffled weights the same messages.

    Args:
        path: of the checkpoint before.
        out: what ``quantize_checkpoint`` made of it.
        examples: labelled messages, the fewer of which it was trained on the better.
        on_progress: called with (stage, done, total, figures).

    Raises:
        TuneshotError: no messages, or labels that the model does not know.
    """
    before, after = FineTuned.load(path), FineTuned.load(out)
    made = after.meta.about["quantized"]
    names = matrices(before, made["scope"])
    models = {"before": before, "after": after, "shuffled": shuffled(before, names)}
    files = {"before": path / WEIGHTS if path.is_dir() else path, "after": out / WEIGHTS}
    measured: dict[str, Measured] = {}
    first: Evaluation | None = None
    for name, model in models.items():
        found = evaluate(model, examples, partial(_told, on_progress, name, len(examples)))
        first = first or found
        auc = found.metrics.figures["auc"]
        measured[name] = Measured(
            bytes=files[name].stat().st_size if name in files else None,
            weight_error=weight_error(_weights(before), _weights(model), names),
            probability_change=_probability_change(first, found),
            answers_changed=sum(
                a.label != b.label
                for a, b in zip(first.predictions, found.predictions, strict=True)
            ),
            accuracy=found.metrics.accuracy.value,
            auc=None if auc != auc else auc,
            p50_ms=_p50(model, [example.text for example in examples[:_TIMED]]),
        )
    assert first is not None
    return Comparison(
        before.name, made["scheme"], made["scope"], made["from"], len(examples),
        first.data_sha256, measured,
    )  # fmt: skip


def _told(on_progress: OnProgress, stage: str, total: int, done: int) -> None:
    on_progress(stage, done, total, "")


def matrices(model: FineTuned, scope: str) -> list[str]:
    """The names of the weight matrices in ``scope``."""
    return [
        name
        for name, weight in _weights(model).items()
        if weight.dim() == 2 and name.startswith(SCOPES[scope])
    ]


def weight_error(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], names: Sequence[str]
) -> float:
    """‖W' − W‖ / ‖W‖, of all these matrices as one vector."""
    wrong = sum(float((after[name] - before[name]).square().sum()) for name in names)
    return float((wrong / sum(float(before[name].square().sum()) for name in names)) ** 0.5)


@torch.no_grad()
def shuffled(model: FineTuned, names: Sequence[str], seed: int = 0) -> FineTuned:
    """The same with the weights of each of these matrices in another order."""
    made = copy.deepcopy(model.model)
    generator = torch.Generator().manual_seed(seed)
    for name in names:
        weight = made.trunk.get_parameter(name)
        order = torch.randperm(weight.numel(), generator=generator)
        weight.copy_(weight.flatten()[order].view_as(weight))
    return FineTuned(made, model.meta, model.encode)


def _weights(model: FineTuned) -> dict[str, Tensor]:
    return model.model.trunk.state_dict()


def _probability_change(before: Evaluation, after: Evaluation) -> float:
    return statistics.fmean(
        max(abs(p - new.probabilities[label]) for label, p in old.probabilities.items())
        for old, new in zip(before.predictions, after.predictions, strict=True)
    )


def _p50(model: FineTuned, texts: Sequence[str]) -> float:
    """After three that are not counted."""
    for text in texts[:3]:
        model.predict([text])
    return statistics.median(model.predict([text])[0].ms for text in texts)
