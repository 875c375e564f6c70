"""The language model itself, tuned to write the labels, on the labelled messages only."""

from dataclasses import replace

from clfcore.data.split import spare_some
from clfcore.scratch import scratch_folder
from clfcore.training.instruction.settings import instruction_settings
from clfcore.types import Classifier
from icl.compare.learn import fine_tuning
from icl.compare.learn.inputs import MethodInput
from icl.compare.learn.prompting import few_shot
from icl.lm.open import without_dtype


def instruction_tuned(selector: str, inputs: MethodInput) -> Classifier:
    """The language model, tuned by the prompts that it is then asked with.

    As in ``fine_tune``, a part to validate on is spared, and few messages are shown more often.

    Args:
        selector: of the examples, both in tuning and in the answers; ``zero``: none.
        inputs: with two labels at least.

    Raises:
        TuneshotError: the language model is behind an API.
    """
    from clfcore.training.instruction.folder import save_tuned
    from icl.instruction import instruct

    learned, val = spare_some(list(inputs.labelled), inputs.seed)
    config = instruction_settings(seed=inputs.seed, least_steps=fine_tuning.LEAST_STEPS)
    # In tuning, a message's examples are the others.
    inputs = replace(inputs, k=min(inputs.k, len(learned) - 1))
    asking = few_shot(selector, replace(inputs, labelled=tuple(learned)))
    name = without_dtype(inputs.lm)
    tuned = instruct(asking, name, learned, val, config)
    with scratch_folder("tuned") as scratch:
        # What was stored answers, in the number format of the other methods.
        folder = scratch / "tuned"
        save_tuned(folder, tuned, config, {})
        return few_shot(selector, replace(inputs, lm=inputs.lm.removesuffix(name) + str(folder)))
