"""From what was read to an answer: arithmetic only, which asks no language model.

A ``Reading`` holds all that costs time or money. Other scorings, calibrations and label shares make
other answers of the same readings:

    readings = few_shot.read(texts)
    few_shot.answering.answer(readings[0])
    other = replace(few_shot.answering, config=replace(few_shot.config, scoring="mean"))
    other.answer(readings[0])
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from clfcore.errors import TuneshotError
from clfcore.types import NO_ANSWER, Prediction
from icl.lm.base import Generation, Scored, total_dollars
from icl.prompt.calibration import CALIBRATIONS, Prior
from icl.prompt.prompt import Prompt, as_text
from icl.prompt.replies import parse_label
from icl.prompt.reply_scores import CERTAIN, FIRST_TOKENS, OWN_TOKENS, reply_scores
from icl.prompt.scoring import (
    SCORINGS,
    ScoringRequest,
    log_softmax,
    neighbour_vote,
    scoring_hint,
    softmax,
)
from icl.prompt.tasks import Task
from icl.prompt.template import Demonstration, Template
from icl.selectors.base import PassedOver
from icl.settings import FewShotConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class FewShotPrediction(Prediction):
    """An answer, and everything it was based on.

    Attributes:
        demonstrations: as they stand in the prompt; for a vote, the neighbours, nearest last.
        prompt: the exact text the language model read; empty for a vote.
        prompt_tokens: its length in the language model's tokens.
        dropped: how many chosen demonstrations did not fit.
        passed_over: what ranked high enough and is not shown, and why.
        completion: the words of a model that only answers in words.
        dollars: what the answer cost; 0 for a local model, ``None`` if a price is unknown.
    """

    demonstrations: tuple[Demonstration, ...]
    prompt: str
    prompt_tokens: int
    dropped: int
    passed_over: tuple[PassedOver, ...] = ()
    completion: str = ""
    dollars: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What was selected and shown for one message, and what the language model said to it.

    Attributes:
        text: the message.
        ranked: what was selected, best first; a vote's neighbours.
        passed_over: what ranked high enough and was not selected, and why.
        prompt: what was shown; its text is empty for a vote.
        probes: what was read with the same demonstrations in the message's place.
        scored: what a model that scores was asked, and what it said; of the probes, too.
        reply: of a model that only answers in words.
        notes: what is unusual about the prompt.
        ms: wall-clock time of selecting and reading, in milliseconds.
    """

    text: str
    ranked: tuple[Demonstration, ...]
    passed_over: tuple[PassedOver, ...]
    prompt: Prompt
    probes: tuple[str, ...] = ()
    scored: Mapping[ScoringRequest, Scored] | None = None
    reply: Generation | None = None
    notes: tuple[str, ...] = ()
    ms: float = 0.0

    @property
    def dollars(self) -> float | None:
        """What it cost; 0 for a local model, ``None`` if a price is unknown."""
        if self.reply is not None:
            return self.reply.dollars
        return total_dollars(said.dollars for said in (self.scored or {}).values())


def in_place_of_message(template: Template, prompt: Prompt, probe: str) -> Prompt:
    """``prompt`` with a probe where its message stands."""
    render = template.render if isinstance(prompt.text, str) else template.render_chat
    return replace(prompt, text=render(prompt.demonstrations, probe), query=probe)


class _Outcome(NamedTuple):
    """A label, or none, the probabilities, and where they come from."""

    label: str | None
    probabilities: Mapping[str, float]
    notes: tuple[str, ...] = ()
    prompt_tokens: int = 0  # by the model's own count; 0: it does not say


@dataclass(frozen=True)
class Answering:
    """How readings become answers.

    Attributes:
        task: labels and prompt format.
        config: its settings under the heading "The answer" decide; the others did when reading.
        counts: how many messages of each label the pool has.
        prior: of batch calibration, see ``prior_of``; without it, answers are as with none.
    """

    task: Task
    config: FewShotConfig
    counts: Mapping[str, int]
    prior: Prior | None = None

    def answer(self, reading: Reading) -> FewShotPrediction:
        """The answer to the message of a reading.

        Raises:
            TuneshotError: the scoring or the calibration needs what was not read.
        """
        start = time.perf_counter()
        if reading.reply is not None:
            outcome = self._from_words(reading.text, reading.reply)
        elif reading.scored is not None:
            outcome = self._from_scores(reading)
        else:
            outcome = self._from_vote(reading.ranked)
        prompt = reading.prompt
        return FewShotPrediction(
            label=outcome.label,
            probabilities=outcome.probabilities,
            ms=reading.ms + 1000 * (time.perf_counter() - start),
            notes=(*outcome.notes, *reading.notes),
            demonstrations=prompt.demonstrations,
            passed_over=reading.passed_over,
            prompt=as_text(prompt.text),
            prompt_tokens=outcome.prompt_tokens or prompt.tokens,
            dropped=prompt.dropped,
            completion=reading.reply.text if reading.reply else "",
            dollars=reading.dollars,
        )

    def prior_of(self, readings: Sequence[Reading]) -> Prior:
        """Batch calibration's prior: the mean answer to some messages, without their labels.

        Args:
            readings: at least one, of a model that scores.

        Raises:
            TuneshotError: as ``answer``.
        """
        return Prior.of([self.label_scores(reading) for reading in readings])

    def label_scores(self, reading: Reading) -> np.ndarray:
        """Label scores in nats, not calibrated, (C,) float64; raises as ``answer``."""
        return self._combined(reading, reading.prompt)[0]

    # --- an answer of each kind -------------------------------------------------------------------

    def _from_vote(self, ranked: Sequence[Demonstration]) -> _Outcome:
        similarities = [shown.similarity or 0.0 for shown in ranked]
        votes = neighbour_vote(self.task.labels, [shown.label for shown in ranked], similarities)
        return _Outcome(_most_probable(votes), votes)

    def _from_scores(self, reading: Reading) -> _Outcome:
        """From the scores of the labels, without the prompt's own bias."""
        scores, results = self._combined(reading, reading.prompt)
        prior = self._prior(reading)
        if prior is None:
            log_p = log_softmax(scores)
        elif self.config.shares == "equal":
            log_p = prior.calibrate(scores)
        else:
            counts = np.array([self.counts.get(label, 0) for label in self.task.labels])  # (C,)
            log_p = prior.calibrate(scores, counts / counts.sum())
        probabilities = softmax(dict(zip(self.task.labels, log_p.tolist(), strict=True)))
        notes = []
        template = self.task.template
        if not template.choices:  # else the words differ from message to message
            hint = scoring_hint(self.config.scoring, template.words, results[0])
            notes = [hint] if hint else []
        tokens = max(result.prompt_tokens for result in results)
        return _Outcome(_most_probable(probabilities), probabilities, tuple(notes), tokens)

    def _prior(self, reading: Reading) -> Prior | None:
        calibration = CALIBRATIONS[self.config.calibration]
        if calibration.batch:
            return self.prior
        if calibration.probes is None:
            return None
        if not reading.probes:
            raise TuneshotError(
                f"calibration {self.config.calibration} needs answers to messages without "
                "content, which were not read; read again with it"
            )
        probed = [
            in_place_of_message(self.task.template, reading.prompt, probe)
            for probe in reading.probes
        ]
        return Prior.of([self._combined(reading, prompt)[0] for prompt in probed])

    def _combined(self, reading: Reading, prompt: Prompt) -> tuple[np.ndarray, list[Scored]]:
        """Label scores of one prompt in nats, (C,), and what they are made of."""
        scoring, words = SCORINGS[self.config.scoring], self.task.template.words_for(reading.text)
        said = reading.scored or {}
        requests = scoring.requests(self.task.template, prompt, words)
        if any(request not in said for request in requests):
            raise TuneshotError(
                f"scoring {self.config.scoring} asks the language model something that was not "
                "read; read again with it"
            )
        results = [said[request] for request in requests]
        return scoring.combine(results, words), results

    def _from_words(self, text: str, reply: Generation) -> _Outcome:
        """From a reply in words: these say which label it is, the tokens how probable it is."""
        labels, words = self.task.labels, self.task.template.words_for(text)
        label = parse_label(reply.text, words)
        if label is None:
            probabilities = dict.fromkeys(labels, 1 / len(labels))
            note = f"{NO_ANSWER}: the model said {reply.text[:60]!r} where a label was asked for"
        elif found := reply_scores(reply.written, reply.text, label, words):
            probabilities = softmax(found.scores)
            note = FIRST_TOKENS if found.begun else OWN_TOKENS
        else:
            probabilities = {each: float(each == label) for each in labels}
            note = CERTAIN
        return _Outcome(label, probabilities, (note,), reply.prompt_tokens)


def _most_probable(probabilities: Mapping[str, float]) -> str:
    """The likeliest label; of a tie, the earlier one."""
    return max(probabilities, key=probabilities.__getitem__)
