"""A language model that is shown some of the labelled messages; and the vote of the nearest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clfcore.types import Classifier, Example, Prediction
from icl.compare.learn.embedding import embedder, pool_of
from icl.compare.learn.inputs import MethodInput
from icl.few_shot import FewShot
from icl.lm.open import open_lm
from icl.recipe import Recipe
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig
from icl.tuning.candidates import TUNED
from icl.tuning.tune import tune


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


@dataclass(frozen=True)
class TunedFewShot:
    """A few-shot classifier whose settings were chosen by its labelled messages."""

    few_shot: FewShot
    chosen: Mapping[str, Any]

    @property
    def labels(self) -> tuple[str, ...]:
        return self.few_shot.labels

    def predict(self, texts: Sequence[str]) -> Sequence[Prediction]:
        return self.few_shot.predict(texts)


def tuned_few_shot(vote: bool, inputs: MethodInput) -> Classifier:
    """As ``few_shot`` with top-k, unless the labelled messages say that other settings are better.

    Args:
        vote: whether the vote of the nearest may answer, or have a share in the answer.
        inputs: what may be learned from.
    """
    lm = open_lm(inputs.lm, chat=inputs.chat, **inputs.connection.given)
    pool = pool_of(inputs.labelled, inputs.embedder)
    default = FewShotConfig(
        k=min(inputs.k, len(pool)), chat=inputs.chat, prompt_tokens=inputs.prompt_tokens,
        seed=inputs.seed,
    )  # fmt: skip
    chosen = inputs.chosen or _choice(
        tune(pool, inputs.task, lm, embedder(inputs.embedder), default=default, vote=vote).recipe
    )
    settings = {**default.to_dict(), **chosen["settings"]}
    if inputs.order != MethodInput.order:
        settings["order"] = inputs.order
    made = FewShot(inputs.task, lm=lm, embedder=embedder(inputs.embedder), **settings)
    return TunedFewShot(made.fit(pool), chosen)


def _choice(recipe: Recipe) -> dict[str, Any]:
    """What a record says of it; ``vote_share`` is 1 where no language model answers."""
    settings = {name: getattr(recipe.settings, name) for name in TUNED}
    asks_lm = SELECTORS[recipe.settings.selector].asks_lm
    share = recipe.settings.vote if asks_lm else 1.0
    return {"settings": settings, "vote_share": share, **recipe.basis}
