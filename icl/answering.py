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
from dataclasses import dataclass, field, replace
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
from icl.prompt.template import Demonstration, Template, Verbalizer
from icl.selectors.base import PassedOver
from icl.selectors.table import SELECTORS
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
        provisional: whether the same question will soon have another answer: what calibrates it
            has not been read yet.
    """

    demonstrations: tuple[Demonstration, ...]
    prompt: str
    prompt_tokens: int
    dropped: int
    passed_over: tuple[PassedOver, ...] = ()
    completion: str = ""
    dollars: float | None = 0.0
    provisional: bool = False


NOT_CALIBRATED = (
    "not calibrated yet: what the language model says on average under these settings is still "
    "being read; ask again in some seconds"
)
CALIBRATES_ALL = (
    "not calibrated: batch calibration compares the answers to many messages, and not all labels "
    "are considered for each; none, contextual and domain need no other messages"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was selected and shown for one message, and what the language model said to it.

    Attributes:
        text: the message.
        ranked: what was selected, best first; where these vote, they are the answer.
        passed_over: what ranked high enough and was not selected, and why.
        prompts: what was shown, one for each order of the examples; empty text for a vote.
        probes: what was read with the same demonstrations in the message's place.
        scored: what a model that scores was asked, and what it said; of the probes, too.
        replies: of a model that only answers in words, one to each prompt.
        neighbours: the most similar messages, nearest first, where their vote has a share.
        considered: the labels that were asked about, where these are not all.
        notes: what is unusual about the prompt.
        ms: wall-clock time of selecting and reading, in milliseconds.
    """

    text: str
    ranked: tuple[Demonstration, ...]
    passed_over: tuple[PassedOver, ...]
    prompts: tuple[Prompt, ...] = ()
    probes: tuple[str, ...] = ()
    scored: Mapping[ScoringRequest, Scored] = field(default_factory=dict)
    replies: tuple[Generation, ...] = ()
    neighbours: tuple[Demonstration, ...] = ()
    considered: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    ms: float = 0.0

    def words(self, template: Template) -> Verbalizer:
        """The words of the labels that were asked about."""
        words = template.words_for(self.text)
        return {label: words[label] for label in self.considered} if self.considered else words

    @property
    def dollars(self) -> float | None:
        """What it cost; 0 for a local model, ``None`` if a price is unknown."""
        return total_dollars(
            [*(each.dollars for each in self.scored.values()), *(r.dollars for r in self.replies)]
        )


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
    provisional: bool = False


@dataclass(frozen=True)
class Answering:
    """How readings become answers.

    Attributes:
        task: labels and prompt format.
        config: its settings under the heading "The answer" decide; the others did when reading.
        counts: how many messages of each label the pool has.
        prior: of batch calibration, see ``BatchPrior``; without it, answers are as with none, and
            say so.
    """

    task: Task
    config: FewShotConfig
    counts: Mapping[str, int]
    prior: Prior | None = None

    def answer(self, reading: Reading) -> FewShotPrediction:
        """The answer to the message of a reading.

        Raises:
            TuneshotError: the scoring, the calibration or the vote needs what was not read.
        """
        start = time.perf_counter()
        if reading.replies:
            outcome = self._from_words(reading)
        elif reading.scored:
            outcome = self._from_scores(reading)
        else:
            votes = self._vote(reading.ranked)
            outcome = _Outcome(_most_probable(votes), votes)
        is_knn = not SELECTORS[self.config.selector].asks_lm
        if self.config.vote and outcome.label is not None and not is_knn:
            outcome = self._with_vote(outcome, reading)
        prompt = reading.prompts[0]
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
            completion="\n".join(dict.fromkeys(reply.text for reply in reading.replies)),
            dollars=reading.dollars,
            provisional=outcome.provisional,
        )

    def label_scores(self, reading: Reading) -> np.ndarray:
        """Label scores in nats, not calibrated: (C,) float64; raises as ``answer``.

        Of several prompts, the logarithms of the mean probabilities.
        """
        return self._over_prompts(reading, reading.prompts)

    def log_probabilities(self, reading: Reading) -> np.ndarray:
        """Log-probabilities of the labels in nats, as the calibration has them: (C,) float64.

        Raises:
            TuneshotError: as ``answer``.
        """
        scores, prior = self.label_scores(reading), self._prior(reading)
        if prior is None:
            return log_softmax(scores)
        if self.config.shares == "equal":
            return prior.calibrate(scores)
        counts = np.array([self.counts.get(label, 0) for label in self.task.labels])  # (C,)
        return prior.calibrate(scores, counts / counts.sum())

    def neighbours_vote(self, reading: Reading) -> dict[str, float]:
        """What the most similar messages vote, beside the prompt.

        Raises:
            TuneshotError: they were not looked for.
        """
        if not reading.neighbours:
            raise TuneshotError(
                "a vote needs the most similar messages, which were not looked for; read again "
                "with vote above 0"
            )
        return self._vote(reading.neighbours[: self.config.voters])

    # --- an answer of each kind -------------------------------------------------------------------

    def _from_scores(self, reading: Reading) -> _Outcome:
        """From the scores of the labels, without the prompts' own bias."""
        log_p = self.log_probabilities(reading)  # (C,)
        probabilities = softmax(dict(zip(self.task.labels, log_p.tolist(), strict=True)))
        _, results = self._combined(reading, reading.prompts[0])
        notes: tuple[str, ...] = ()
        template = self.task.template
        if not template.choices:  # else the words differ from message to message
            hint = scoring_hint(self.config.scoring, reading.words(template), results[0])
            notes = (hint,) if hint else ()
        is_batch = CALIBRATIONS[self.config.calibration].batch
        if is_batch and reading.considered:
            notes = (*notes, CALIBRATES_ALL)
        provisional = is_batch and self.prior is None and not reading.considered
        if provisional:
            notes = (*notes, NOT_CALIBRATED)
        tokens = max(result.prompt_tokens for result in results)
        return _Outcome(_most_probable(probabilities), probabilities, notes, tokens, provisional)

    def _vote(self, neighbours: Sequence[Demonstration]) -> dict[str, float]:
        similarities = [shown.similarity or 0.0 for shown in neighbours]
        return neighbour_vote(self.task.labels, [shown.label for shown in neighbours], similarities)

    def _with_vote(self, outcome: _Outcome, reading: Reading) -> _Outcome:
        """An answer of which the neighbours' vote has its share."""
        share, votes = self.config.vote, self.neighbours_vote(reading)
        voters = min(self.config.voters, len(reading.neighbours))
        probabilities = {
            label: (1 - share) * p + share * votes[label]
            for label, p in outcome.probabilities.items()
        }
        note = f"{share:.0%} of the probabilities are a vote of similar messages; voters: {voters}"
        return outcome._replace(
            label=_most_probable(probabilities),
            probabilities=probabilities,
            notes=(*outcome.notes, note),
        )

    def _prior(self, reading: Reading) -> Prior | None:
        """What is taken out of the scores of a reading."""
        calibration = CALIBRATIONS[self.config.calibration]
        if calibration.batch:
            return None if reading.considered else self.prior
        if calibration.probes is None:
            return None
        if not reading.probes:
            raise TuneshotError(
                f"calibration {self.config.calibration} needs answers to messages without "
                "content, which were not read; read again with it"
            )
        template = self.task.template
        return Prior.of(
            [
                self._over_prompts(
                    reading,
                    [in_place_of_message(template, prompt, probe) for prompt in reading.prompts],
                )
                for probe in reading.probes
            ]
        )

    def _over_prompts(self, reading: Reading, prompts: Sequence[Prompt]) -> np.ndarray:
        """Label scores in nats, (C,): of one prompt its own, of several those of the mean."""
        scores = [self._combined(reading, prompt)[0] for prompt in prompts]
        if len(scores) == 1:
            return scores[0]
        return np.logaddexp.reduce(log_softmax(scores), axis=0) - np.log(len(scores))

    def _combined(self, reading: Reading, prompt: Prompt) -> tuple[np.ndarray, list[Scored]]:
        """Label scores of one prompt in nats, (C,), and what they are made of."""
        scoring, words = SCORINGS[self.config.scoring], reading.words(self.task.template)
        requests = scoring.requests(self.task.template, prompt, words)
        if any(request not in reading.scored for request in requests):
            raise TuneshotError(
                f"scoring {self.config.scoring} asks the language model something that was not "
                "read; read again with it"
            )
        results = [reading.scored[request] for request in requests]
        scores = scoring.combine(results, words)
        if reading.considered:  # the others are out of the question
            of_label = dict(zip(reading.considered, scores.tolist(), strict=True))
            scores = np.array([of_label.get(label, -np.inf) for label in self.task.labels])  # (C,)
        return scores, results

    def _from_words(self, reading: Reading) -> _Outcome:
        """The mean over the replies that name a label; of one reply, what it says."""
        words = self.task.template.words_for(reading.text)
        outcomes = [self._from_reply(reply, words) for reply in reading.replies]
        answers = [outcome for outcome in outcomes if outcome.label is not None]
        if len(outcomes) == 1 or not answers:
            return outcomes[0]
        probabilities = {
            label: sum(answer.probabilities[label] for answer in answers) / len(answers)
            for label in self.task.labels
        }
        notes = dict.fromkeys(note for outcome in outcomes for note in outcome.notes)
        tokens = outcomes[0].prompt_tokens
        return _Outcome(_most_probable(probabilities), probabilities, tuple(notes), tokens)

    def _from_reply(self, reply: Generation, words: Verbalizer) -> _Outcome:
        """What it says is the label; its tokens say how probable each label is."""
        labels = self.task.labels
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
