"""The methods that are compared: one literal table.

All of them get a ``MethodInput`` and return a ``Classifier`` of all labels of the task, even if the
few messages that were labelled show only some of them. How each family learns stands in ``learn``.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from clfcore.types import Classifier
from icl.compare.learn.fine_tuning import fine_tune
from icl.compare.learn.inputs import MethodInput
from icl.compare.learn.instruction import instruction_tuned
from icl.compare.learn.labels import MajorityClass, from_seen
from icl.compare.learn.others import setfit, tfidf, vectors_and_regression
from icl.compare.learn.prompting import few_shot, tuned_few_shot
from icl.selectors.table import SELECTORS


@dataclass(frozen=True)
class Method:
    """A way to make a classifier of labelled messages.

    Attributes:
        name: for people.
        family: ``fine_tuned``, ``few_shot``, ``other`` or ``baseline``.
        learn: makes a classifier. One that chooses something for itself, such as settings by
            cross-validation, says so in its attribute ``chosen``: plain values for JSON, which
            stand in the record of the cell.
        chooses: what picks the messages to label: ``random``, ``votek``, or ``""`` if none
            are needed.
        asks_lm: whether a language model reads prompts.
        embeds: whether it uses vectors of the labelled messages.
        most: labelled messages with which it is still run.
        tunes_settings: whether it chooses the settings of a prompt by tuning.
        ordered: whether it shows examples, whose order may matter.
        votes: whether it answers by the labels of similar messages alone.
    """

    name: str
    family: str
    learn: Callable[[MethodInput], Classifier]
    chooses: str = "random"
    asks_lm: bool = False
    embeds: bool = False
    most: int = sys.maxsize
    tunes_settings: bool = False
    ordered: bool = False
    votes: bool = False

    @property
    def tunes_lm(self) -> bool:
        """Whether the language model's own weights learn."""
        return self.asks_lm and self.family == "fine_tuned"

    @property
    def tunes_base(self) -> bool:
        """Whether it starts from the base of ``clf train``."""
        return self.family == "fine_tuned" and not self.asks_lm

    @property
    def uses_vectors(self) -> bool:
        """Whether sentence vectors decide what it learns from, shows or answers."""
        return self.embeds or self.chooses == "votek"


# Names of selectors where their keys are not words.
_SELECTOR_NAMES = {
    "topk": "top-k",
    "balanced_random": "balanced random",
    "votek": "one list by vote-k",
    "votek_two_stage": "two-stage vote-k",
    "mmr": "MMR",
    "dpp": "DPP",
    "bm25": "BM25",
    "mdl": "MDL",
    "knn_prompting": "kNN prompting",
    "cone": "ConE",
    "kcenter": "k-center",
}

METHODS: dict[str, Method] = {
    "fine_tuned": Method(
        "fine-tuned, last block", "fine_tuned", partial(from_seen, partial(fine_tune, "last_block"))
    ),
    "fine_tuned_all": Method(
        "fine-tuned, all layers", "fine_tuned", partial(from_seen, partial(fine_tune, "all"))
    ),
    "fine_tuned_lora": Method(
        "fine-tuned, LoRA", "fine_tuned", partial(from_seen, partial(fine_tune, "lora"))
    ),
    "features": Method(
        "feature-based, frozen trunk", "fine_tuned", partial(from_seen, partial(fine_tune, "none"))
    ),
    # To see which methods gain from the messages that vote-k picks to be labelled.
    "fine_tuned_votek": Method(
        "fine-tuned, last block, labels by vote-k",
        "fine_tuned",
        partial(from_seen, partial(fine_tune, "last_block")),
        chooses="votek",
    ),
    "instruction_tuned": Method(
        "instruction-tuned, no examples",
        "fine_tuned",
        partial(from_seen, partial(instruction_tuned, "zero")),
        asks_lm=True,
    ),
    "fine_tuned_icl": Method(
        "instruction-tuned, top-k examples",
        "fine_tuned",
        partial(from_seen, partial(instruction_tuned, "topk")),
        asks_lm=True,
        embeds=True,
    ),
    **{
        f"few_shot_{selector}": Method(
            f"few-shot, {_SELECTOR_NAMES.get(selector, selector)}",
            "few_shot",
            partial(few_shot, selector),
            asks_lm=True,
            embeds=True,
            ordered=not SELECTORS[selector].votes,
            votes=SELECTORS[selector].votes,
        )
        for selector in SELECTORS
        if selector not in ("zero", "knn", "votek_pool")
    },
    "few_shot_tuned": Method(
        "few-shot, tuned on its own labels",
        "few_shot",
        partial(tuned_few_shot, True),
        asks_lm=True,
        embeds=True,
        tunes_settings=True,
        ordered=True,
    ),
    "few_shot_tuned_no_vote": Method(
        "few-shot, tuned, prompts only",
        "few_shot",
        partial(tuned_few_shot, False),
        asks_lm=True,
        embeds=True,
        tunes_settings=True,
        ordered=True,
    ),
    "few_shot_votek_pool": Method(
        "few-shot, top-k, labels by vote-k",
        "few_shot",
        partial(few_shot, "topk"),
        chooses="votek",
        asks_lm=True,
        embeds=True,
        ordered=True,
    ),
    "knn": Method(
        "vote of the nearest", "other", partial(few_shot, "knn"), embeds=True, votes=True
    ),
    "knn_votek": Method(
        "vote of the nearest, labels by vote-k",
        "other",
        partial(few_shot, "knn"),
        chooses="votek",
        embeds=True,
        votes=True,
    ),
    "tfidf": Method("tf-idf, logistic regression", "other", partial(from_seen, tfidf)),
    "tfidf_votek": Method(
        "tf-idf, labels by vote-k", "other", partial(from_seen, tfidf), chooses="votek"
    ),
    "vectors": Method(
        "sentence vectors, logistic regression",
        "other",
        partial(from_seen, vectors_and_regression),
        embeds=True,
    ),
    # Its pairs of messages grow with their number: 256 take minutes.
    "setfit": Method("SetFit", "other", partial(from_seen, setfit), most=256),
    "zero": Method("zero-shot", "baseline", partial(few_shot, "zero"), chooses="", asks_lm=True),
    "majority": Method("always the commonest label", "baseline", MajorityClass),
}
