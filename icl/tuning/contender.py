"""A prompt that is tried: what it has read, and its answers in every way that costs no more."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from icl.answering import Reading
from icl.few_shot import FewShot
from icl.lm.base import LM
from icl.pool.embed import Embedder
from icl.pool.pool import Pool
from icl.prompt.calibration import CALIBRATIONS, Prior
from icl.prompt.scoring import log_softmax
from icl.prompt.tasks import Task
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig
from icl.tuning.candidates import ways_to_answer
from icl.tuning.questions import Questions

# With these, ``FewShot`` reads each prompt once, and nothing else; see ``ways_to_answer``.
ONE_READ = {"scoring": "sum", "calibration": "none"}


class Contender:
    """A classifier with certain settings, which predicts each of its own messages from the others.

    Args:
        settings: those of the prompt; of the answer, all ways are tried.
        task: labels and prompt format.
        pool: the labelled messages.
        lm: the language model.
        embedder: finds similar messages.

    Attributes:
        settings: as given.
        votes: whether it asks no language model.
        readings: of the first questions, as many as it was asked.
    """

    def __init__(
        self, settings: FewShotConfig, task: Task, pool: Pool, lm: LM, embedder: Embedder
    ) -> None:
        self.settings = settings
        self.votes = SELECTORS[settings.selector].votes
        self.readings: list[Reading] = []
        values = {each.name: getattr(settings, each.name) for each in fields(FewShotConfig)}
        self._few_shot = FewShot(task, lm=lm, embedder=embedder, **{**values, **ONE_READ}).fit(pool)

    def read(self, texts: Sequence[str]) -> None:
        """Asks about the next questions."""
        self.readings += self._few_shot.read(texts)

    def ways(self, default: FewShotConfig) -> list[dict[str, Any]]:
        """The settings of an answer that can be tried on what was read, see ``ways_to_answer``."""
        return ways_to_answer(default, scores=bool(self.readings[0].scored))

    def answers(self, ways: Sequence[Mapping[str, Any]], questions: Questions) -> np.ndarray:
        """What it answers in each of some ways.

        Args:
            ways: W of them.
            questions: the M that it was asked.

        Returns:
            (W, M, C) float64 probabilities.
        """
        few_shot = self._few_shot
        if not self.readings[0].scored:  # a vote, or answers in words: one way
            own = [few_shot.answering.answer(reading).probabilities for reading in self.readings]
            return np.array([[[each[name] for name in few_shot.labels] for each in own]])
        scores = {name: self._scores(name) for name in {way["scoring"] for way in ways}}
        return np.exp(
            [
                _without_prior(scores[way["scoring"]], questions.for_prior)
                if CALIBRATIONS[way["calibration"]].batch
                else log_softmax(scores[way["scoring"]])
                for way in ways
            ]
        )

    def _scores(self, scoring: str) -> np.ndarray:
        """Label scores in nats, (M, C)."""
        config = replace(self._few_shot.config, scoring=scoring)
        answering = replace(self._few_shot.answering, config=config)
        return np.array([answering.label_scores(reading) for reading in self.readings])


def _without_prior(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Batch calibration, the prior of each message being the mean answer to all others.

    Args:
        scores: (M, C) label scores in nats.
        weights: (M,) how much each answer counts in that mean.

    Returns:
        (M, C) log-probabilities.
    """
    p = np.exp(log_softmax(scores)) * weights[:, None]  # (M, C)
    others = (p.sum(axis=0) - p) / (weights.sum() - weights)[:, None]  # (M, C)
    return Prior(np.log(np.maximum(others, np.finfo(float).tiny))).calibrate(scores)
