"""A language model that is shown some of the labelled messages; and the vote of the nearest."""

from clfcore.types import Example
from icl.compare.learn.embedding import embedder, pool_of
from icl.compare.learn.inputs import MethodInput
from icl.few_shot import FewShot
from icl.lm.open import open_lm
from icl.selectors.table import SELECTORS


def few_shot(selector: str, inputs: MethodInput) -> FewShot:
    """Shows the language model some of the labelled messages, chosen by a selector."""
    lm = None
    if SELECTORS[selector].asks_lm:
        lm = open_lm(inputs.lm, chat=inputs.chat, **inputs.connection.given)
    # A pool is never empty; zero-shot shows nothing of it.
    labelled = inputs.labelled or (Example("-", inputs.task.labels[0]),)
    k = 0 if selector == "zero" else min(inputs.k, len(inputs.labelled))
    return FewShot(
        inputs.task, selector, lm=lm, embedder=embedder(inputs.embedder), k=k, order=inputs.order,
        chat=inputs.chat, prompt_tokens=inputs.prompt_tokens, seed=inputs.seed,
    ).fit(pool_of(labelled, inputs.embedder))  # fmt: skip
