"""What tuning chooses from: literal tables, the simplest first.

A prompt costs reads of the language model. How an answer is made of what was read costs none, so
every prompt is tried with every way to answer.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from clfcore.json_text import to_json
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig

TUNED = ("selector", "options", "k", "balance", "order", "scoring", "calibration", "vote")

# Settings of ``FewShotConfig``; what is not named is as in the settings that are tuned. The votes
# ask no language model.
VOTES: tuple[Mapping[str, Any], ...] = (
    {"selector": "knn", "k": 4},
    {"selector": "knn", "k": 8},
    {"selector": "knn", "k": 16},
)
PROMPTS: tuple[Mapping[str, Any], ...] = (
    {"selector": "zero", "k": 0},
    {"selector": "topk", "k": 4, "balance": "none"},
    {"selector": "topk", "k": 4, "balance": "equal"},
    {"selector": "topk", "k": 8, "balance": "none"},
    {"selector": "topk", "k": 8, "balance": "at_least_one"},
    {"selector": "topk", "k": 2, "balance": "none"},
    {"selector": "topk", "k": 8, "balance": "equal"},
    {"selector": "topk", "k": 16, "balance": "none"},
    {"selector": "balanced_random", "k": 8},
    {"selector": "mmr", "k": 8, "balance": "none"},
    {"selector": "topk", "k": 8, "balance": "none", "order": "similar_first"},
)

# Reads some labelled messages before the first question, and then answers by their vote.
ANCHORED: Mapping[str, Any] = {"selector": "knn_prompting", "k": 4}
ANCHORS_SHARE = 4  # a quarter of the reads may go into them
LEAST_ANCHORS = 48  # fewer hold too little of what there is to compare

# Of these, all that is asked is the prompt followed by each label: one read serves them all.
SCORINGS_OF_ONE_READ = ("sum", "mean", "constrained", "first_token")
CALIBRATIONS_WITHOUT_READS = ("none", "batch")
VOTE_SHARES = (0.0, 0.25, 0.5, 0.75)  # all of it is a prompt of ``VOTES``


def tried() -> str:
    """The same for the same tables only, 16 hex digits; for records."""
    tables = [VOTES, PROMPTS, ANCHORED, SCORINGS_OF_ONE_READ, CALIBRATIONS_WITHOUT_READS,
              VOTE_SHARES]  # fmt: skip
    return hashlib.sha256(to_json(tables, sort_keys=True).encode()).hexdigest()[:16]


def candidate_prompts(default: FewShotConfig, most: int, vote: bool) -> list[FewShotConfig]:
    """The settings that are tried, each once; the default, then the simplest, first.

    Args:
        default: the settings that are tuned.
        most: examples that the labelled messages can offer a question.
        vote: whether the vote of the nearest may answer.
    """
    table = (*VOTES, *PROMPTS) if vote else PROMPTS
    tried = [default, *(replace(default, options={}, **each) for each in table)]
    return [
        settings
        for row, settings in enumerate(tried)
        if settings.k <= most and not any(_alike(settings, other) for other in tried[:row])
    ]


def anchored(default: FewShotConfig, messages: int, reads: int) -> FewShotConfig | None:
    """The settings of kNN prompting with the anchors that the reads allow; ``None`` if too few.

    Args:
        default: the settings that are tuned.
        messages: different labelled ones.
        reads: that tuning may spend.
    """
    anchors = min(messages, reads // ANCHORS_SHARE)
    if anchors < min(messages, LEAST_ANCHORS):
        return None
    return replace(default, options={"anchors": anchors}, **ANCHORED)


def ways_to_answer(
    default: FewShotConfig, *, scores: bool, batch: bool, vote: bool
) -> list[dict[str, Any]]:
    """The settings of an answer that are tried with every prompt; the default's first.

    Args:
        default: the settings that are tuned.
        scores: whether the language model gives log-probabilities, or answers in words.
        batch: whether all labels were read, so that answers to many messages can be compared.
        vote: whether the vote of the nearest may have a share.
    """
    own = {"scoring": default.scoring, "calibration": default.calibration, "vote": default.vote}
    ways = [
        {"scoring": scoring, "calibration": calibration, "vote": share}
        for share, calibration, scoring in product(
            VOTE_SHARES if vote else (0.0,),
            CALIBRATIONS_WITHOUT_READS if scores and batch else ("none",),
            SCORINGS_OF_ONE_READ if scores else ("sum",),
        )
    ]
    return [own, *(way for way in ways if way != own)] if own in ways else ways


def reads_a_message(settings: FewShotConfig) -> int:
    """How often the language model is asked about one message."""
    selector = SELECTORS[settings.selector]
    if selector.votes or settings.k < 2:
        return int(selector.asks_lm)
    return settings.orders


def _alike(a: FewShotConfig, b: FewShotConfig) -> bool:
    """Whether two settings show the same examples in the same order."""
    return _shown(a) == _shown(b)


def _shown(settings: FewShotConfig) -> Sequence[Any]:
    selector = SELECTORS[settings.selector]
    if settings.selector == "zero":
        return (settings.selector,)
    order = "" if selector.votes else settings.order
    return settings.selector, dict(settings.options), settings.k, settings.shown_balance, order
