"""A prompt that is tried: what it has read, and its answers in every way that costs no more."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from functools import cache

import numpy as np

from clfcore.types import OnProgress, ignore
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
SOME_VOTE = 0.5  # any share makes it look for the nearest


class Contender:
    """A classifier with certain settings, which predicts each of its own messages from the others.

    Args:
        settings: those of the prompt; of the answer, all ways are tried.
        vote: whether the vote of the nearest may have a share in them.
        task: labels and prompt format.
        pool: the labelled messages.
        lm: the language model.
        embedder: finds similar messages.
        on_progress: as for ``FewShot.fit``.

    Attributes:
        settings: as given.
        readings: of the first questions, as many as it was asked.
    """

    def __init__(
        self,
        settings: FewShotConfig,
        vote: bool,
        task: Task,
        pool: Pool,
        lm: LM,
        embedder: Embedder,
        on_progress: OnProgress = ignore,
    ) -> None:
        self.settings = settings
        self._votes_alone = SELECTORS[settings.selector].votes
        self.readings: list[Reading] = []
        values = {each.name: getattr(settings, each.name) for each in fields(FewShotConfig)}
        values |= {**ONE_READ, "vote": SOME_VOTE if vote and not self._votes_alone else 0.0}
        few_shot = FewShot(task, lm=lm, embedder=embedder, **values)
        self._few_shot = few_shot.fit(pool, on_progress)

    def read(self, texts: Sequence[str]) -> None:
        """Asks about the next questions."""
        self.readings += self._few_shot.read(texts)

    def answers(
        self, default: FewShotConfig, questions: Questions
    ) -> Iterator[tuple[FewShotConfig, np.ndarray]]:
        """What it answers in every way that costs no further read, see ``ways_to_answer``.

        Args:
            default: the settings that are tuned.
            questions: the M that it was asked.

        Yields:
            All settings, and (M, C) float64 probabilities; a vote has one way.
        """
        first = self.readings[0]
        if self._votes_alone:
            yield self.settings, self._probabilities()
            return
        votes = self._votes() if first.neighbours else np.zeros(())
        scores = cache(self._scores)
        for way in ways_to_answer(
            default,
            scores=bool(first.scored),
            batch=not first.considered,
            vote=bool(first.neighbours),
        ):
            if not first.scored:
                p = self._probabilities()
            elif CALIBRATIONS[way["calibration"]].batch and not first.considered:
                p = np.exp(_without_prior(scores(way["scoring"]), questions.for_prior))
            else:
                p = np.exp(log_softmax(scores(way["scoring"])))
            yield replace(self.settings, **way), (1 - way["vote"]) * p + way["vote"] * votes

    def _scores(self, scoring: str) -> np.ndarray:
        """Label scores in nats, (M, C)."""
        config = replace(self._few_shot.config, scoring=scoring)
        answering = replace(self._few_shot.answering, config=config)
        return np.array([answering.label_scores(reading) for reading in self.readings])

    def _probabilities(self) -> np.ndarray:
        """What it answers without a share of the nearest, (M, C)."""
        config = replace(self._few_shot.config, vote=0.0)
        answering = replace(self._few_shot.answering, config=config)
        answers = [answering.answer(reading).probabilities for reading in self.readings]
        return np.array([[each[name] for name in self._few_shot.labels] for each in answers])

    def _votes(self) -> np.ndarray:
        """What the nearest vote, (M, C)."""
        answering = self._few_shot.answering
        votes = [answering.neighbours_vote(reading) for reading in self.readings]
        return np.array([[each[name] for name in self._few_shot.labels] for each in votes])


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
