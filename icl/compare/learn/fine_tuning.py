"""Fine-tuning on the labelled messages, and on nothing else."""

from typing import TYPE_CHECKING

from clfcore.data.split import content_hash, spare_some
from clfcore.training.settings import settings_for
from clfcore.types import Classifier
from icl.compare.learn.inputs import MethodInput

if TYPE_CHECKING:
    from clfcore.training.recipe import TrainingResult

LEAST_STEPS = 100  # of gradient descent, however few the messages; see ``fine_tune``
STEPS_OF_A_LABEL = 4  # at least, as every label has to be learned
FEW = 30  # messages of a label, on average


def fine_tune(layers: str, inputs: MethodInput) -> Classifier:
    """Fine-tunes the base on the labelled messages.

    Nothing but these may be used, so the part to calibrate on is taken from them, see
    ``spare_some``. Where none can be spared, the model is calibrated on what it has learned from,
    which Platt's targets, (n + 1) / (n + 2) of n messages, keep from being too sure. Few messages
    are shown more often, as so few steps would teach nothing (Mosbach et al. 2021). Where a label
    has few, the head is fitted before the trunk learns (LP-FT, Kumar et al. 2022).
    """
    return fine_tune_with_history(layers, inputs).classifier


def fine_tune_with_history(layers: str, inputs: MethodInput) -> "TrainingResult":
    """As ``fine_tune``, with the history; needs two labels at least."""
    from clfcore.training.recipe import fine_tune_on
    from clfcore.weights.bases import load_base

    examples, labels = list(inputs.labelled), inputs.seen
    train, val = spare_some(examples, inputs.seed)
    # Undersampling, the lecture's way, would throw away labels that were paid for.
    config = settings_for(
        inputs.base, layers=layers, seed=inputs.seed, balance="oversample", balance_ratio=0.5,
        least_steps=max(LEAST_STEPS, STEPS_OF_A_LABEL * len(labels)),
        fit_head_first=len(train) < FEW * len(labels),
    )  # fmt: skip
    start = load_base(inputs.base, len(labels), config.weights, seed=inputs.seed)
    data = {"labelled": {"messages": len(examples), "sha256": content_hash(examples)}}
    return fine_tune_on(
        start, train, val, labels, config, about={"base": inputs.base, "data": data}
    )
