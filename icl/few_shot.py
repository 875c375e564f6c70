"""The few-shot classifier: select, balance, arrange, prompt, read, and answer what was read."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np

from clfcore.data.draw import generator
from clfcore.data.labels import unknown_labels
from clfcore.errors import TuneshotError, unknown_choice
from clfcore.types import Example
from icl.answering import Answering, FewShotPrediction, Reading, in_place_of_message
from icl.lm.base import LM, PromptTooLongError, Scored
from icl.lm.open import open_lm
from icl.pool.embed import Embedder, SentenceEmbedder
from icl.pool.pool import Pool
from icl.prompt.calibration import CALIBRATIONS, Prior
from icl.prompt.prompt import Arrange, Prompt, build_prompt
from icl.prompt.scoring import SCORINGS, ScoringRequest, continuations
from icl.prompt.tasks import TASKS, Task
from icl.prompt.template import Demonstration
from icl.selectors.arrange import (
    ARRANGEMENTS,
    BALANCES,
    demonstration_hints,
    in_order,
    too_few,
)
from icl.selectors.base import PassedOver, Selection
from icl.selectors.filters import Filters
from icl.selectors.reader import PromptReader
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig
from icl.shared import shared

LEAST_MESSAGE_TOKENS = 16  # room for a message's two ends
_BATCH_PRIOR_MESSAGES = 32  # of the pool; their mean answer is batch calibration's prior


class FewShot:
    """Classifies by showing a language model a few labelled messages.

    ``FewShot("sms_spam", "topk", lm="gpt2", k=4).fit(examples).predict(texts)``

    Args:
        task: labels and prompt format; or the name of one of ``TASKS``.
        selector: a key of ``SELECTORS``. The random ones and the vote have a balance of their
            own, which wins; one that arranges has its order, too.
        lm: what scores the labels, or what ``open_lm`` makes it of; default: the bundled model.
            A selector that votes needs none.
        base_url: of the server that has the model named ``lm``, see ``open_lm``.
        embedder: embeds pool and queries; default: the bundled one.
        settings: further fields of ``FewShotConfig``.

    Attributes:
        config: all settings.
        selector: fitted; see its class for what can be inspected.
        prompt_limit: tokens that a prompt may have; 0 of a vote.
        chat: whether the prompt is a chat: as the settings say, else as the model prefers.

    Raises:
        TuneshotError: settings that are not allowed.
    """

    selector: Any
    pool: Pool

    def __init__(
        self,
        task: Task | str = "sms_spam",
        selector: str = "topk",
        *,
        lm: LM | str | None = None,
        base_url: str | None = None,
        embedder: Embedder | None = None,
        **settings: Any,  # noqa: ANN401
    ) -> None:
        if isinstance(task, str) and task not in TASKS:
            raise unknown_choice("task", task, TASKS)
        self.task = TASKS[task] if isinstance(task, str) else task
        self.config = FewShotConfig(selector=selector, **settings)
        self.embedder = embedder or shared(SentenceEmbedder)
        self.votes = SELECTORS[selector].votes
        self.balance = SELECTORS[selector].balance or self.config.balance
        self.lm: LM | None = None
        self.prompt_limit, self.chat = 0, False
        if not self.votes:
            self.lm = _opened(lm, base_url, self.config.chat)
            self.prompt_limit = self.lm.prompt_limit(self.config.prompt_tokens)
            chat = self.config.chat
            self.chat = self.lm.prefers_chat if chat is None else chat
        self._prior: Prior | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        return self.task.labels

    # --- fit ------------------------------------------------------------------------------------

    def fit(self, pool: Pool | Sequence[Example]) -> Self:
        """Takes ``pool`` as what may be shown. Nothing is trained.

        Raises:
            TuneshotError: labels the task does not have; a pool, or a language model, that the
                settings do not allow.
        """
        self.pool = pool if isinstance(pool, Pool) else Pool.build(pool, self.embedder)
        if unknown := set(self.pool.label_names) - set(self.labels):
            raise unknown_labels(unknown, self.labels, "the task", "the pool")
        self._counts = Counter(self.pool.labels)
        config = self.config
        calibration = CALIBRATIONS[config.calibration]
        probes = calibration.probes
        self._probes = probes(self.pool.texts, config.seed) if probes else []
        reader = None
        if self.lm is not None:
            self._check_language_model(self.lm)
            if self.lm.scores:
                reader = PromptReader(self.task.template, self.pool, self.lm, self._fit_prompt)
        make = SELECTORS[config.selector]
        filters = Filters(config.near)
        if self.lm is not None:
            filters = Filters(config.near, config.longest, self.lm.count_tokens)
        selector = make(seed=config.seed, **config.options)
        self.selector = selector.fit(self.pool, reader, filters)
        if calibration.batch and not self.votes:
            self._prior = self._batch_prior()
        return self

    def _check_language_model(self, lm: LM) -> None:
        """Refuses, before any work, a model that cannot do what the settings say."""
        template, config = self.task.template, self.config
        query = self.pool.texts[0]
        render = template.render_chat if self.chat else template.render
        prompt = render([], query)
        words = continuations(prompt, template.words_for(query))
        least = lm.count_tokens(render([], "")) + LEAST_MESSAGE_TOKENS
        if self.prompt_limit < least:
            raise TuneshotError(
                f"prompt_tokens must be {least} or more here, not {self.prompt_limit}: the prompt "
                f"has {least - LEAST_MESSAGE_TOKENS} tokens before there is a message"
            )
        if template.choices and CALIBRATIONS[config.calibration].probes is not None:
            raise TuneshotError(
                f"calibration {config.calibration} reads messages without content, and "
                f"{self.task.name} has choices in every message; choose none or batch"
            )
        if lm.scores:
            lm.check(prompt, words)
            if not template.choices:  # else the words differ from message to message
                lm.read(prompt, words)  # a server says only now that it gives no scores
            return
        for setting, default in (("scoring", "sum"), ("calibration", "none")):
            if getattr(config, setting) != default:
                raise TuneshotError(
                    f"{lm.name} answers in words and gives no log-probabilities, so {setting} "
                    f"{getattr(config, setting)} cannot be computed; leave it out, or choose a "
                    "local model"
                )

    def _batch_prior(self) -> Prior:
        """The mean answer to some messages of the pool; their labels are not looked at."""
        rng = np.random.default_rng(self.config.seed)
        rows = rng.permutation(self.pool.representatives)[:_BATCH_PRIOR_MESSAGES]
        return self.answering.prior_of(self.read([self.pool.texts[row] for row in rows]))

    # --- predict --------------------------------------------------------------------------------

    def predict(self, texts: Sequence[str]) -> list[FewShotPrediction]:
        """Answers for ``texts``, in input order.

        Raises:
            TuneshotError: the pool has fewer than k messages to offer; an API that fails.
        """
        answering = self.answering
        return [answering.answer(reading) for reading in self.read(texts)]

    @property
    def answering(self) -> Answering:
        """What makes an answer of a reading; costs no language model's time."""
        return Answering(self.task, self.config, self._counts, self._prior)

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """What is shown for each of ``texts``, in input order, and what the model says to it.

        Raises:
            TuneshotError: as ``predict``.
        """
        if not texts:
            return []
        start = time.perf_counter()
        selections = self._select(texts)
        selecting = 1000 * (time.perf_counter() - start) / len(texts)
        return [
            self._read(text, selection, selecting)
            for text, selection in zip(texts, selections, strict=True)
        ]

    def prompt(self, text: str) -> Prompt:
        """What the language model would read for ``text``; raises as ``predict`` does."""
        (selection,) = self._select([text])
        return self._build(text, selection)

    def select(self, text: str) -> tuple[list[Demonstration], tuple[PassedOver, ...]]:
        """What would be shown for ``text``, best first, and what was passed over."""
        (selection,) = self._select([text])
        return self._shown(selection)

    def _select(self, texts: Sequence[str]) -> list[Selection]:
        needed = self.selector.needs_vectors
        vectors = self.embedder.embed(texts) if needed else np.empty((len(texts), 0), np.float32)
        return list(self.selector.select(texts, vectors, self.config.k))

    # --- what is shown --------------------------------------------------------------------------

    def _shown(self, selection: Selection) -> tuple[list[Demonstration], tuple[PassedOver, ...]]:
        """The demonstrations, best first."""
        rows = selection.rows
        similarities: Sequence[float | None] = selection.similarities or [None] * len(rows)
        scores: Sequence[float | None] = selection.scores or [None] * len(rows)
        ranked = [
            Demonstration(self.pool.texts[row], self.pool.labels[row], similarity, row, score)
            for row, similarity, score in zip(rows, similarities, scores, strict=True)
        ]
        if selection.order is not None:
            return ranked, selection.passed_over
        return BALANCES[self.balance](ranked, self.config.k, self._counts), selection.passed_over

    def _build(self, text: str, selection: Selection, limit: int | None = None) -> Prompt:
        def arrange(ranked: Sequence[Demonstration]) -> list[Demonstration]:
            # A new generator at every call: the order depends on the message, not on the calls.
            return ARRANGEMENTS[self.config.order](ranked, generator(self.config.seed, text))

        given = selection.order
        ranked, _ = self._shown(selection)
        return self._fit_prompt(ranked, text, arrange if given is None else in_order(given), limit)

    def _fit_prompt(
        self,
        ranked: Sequence[Demonstration],
        text: str,
        arrange: Arrange,
        limit: int | None = None,
    ) -> Prompt:
        """As much of ``ranked``, best first, as the language model has room for.

        There is room for the message and for each probe that is read in its place.
        """
        assert self.lm is not None
        build = partial(
            build_prompt,
            self.task.template,
            arrange=arrange,
            count_tokens=self.lm.count_tokens,
            max_tokens=self.prompt_limit if limit is None else limit,
            chat=self.chat,
            as_read=SCORINGS[self.config.scoring].as_read,
        )
        fitting = list(ranked)
        for asked in (*self._probes, text):
            prompt = build(fitting, asked)
            fitting = [shown for shown in fitting if shown in prompt.demonstrations]
        return replace(prompt, dropped=len(ranked) - len(fitting))

    # --- what the language model says -------------------------------------------------------------

    def _read(self, text: str, selection: Selection, selecting: float) -> Reading:
        start = time.perf_counter()
        ranked, passed_over = self._shown(selection)
        limit = self.prompt_limit
        if self.lm is None:
            prompt = Prompt("", 0, tuple(ranked[::-1]), dropped=0, query=text)
            reading = Reading(text, tuple(ranked), passed_over, prompt)
        else:
            reading, limit = self._ask(self.lm, text, selection)
        notes = tuple(self._notes(text, ranked, reading.prompt, limit))
        return replace(reading, notes=notes, ms=selecting + 1000 * (time.perf_counter() - start))

    def _ask(self, lm: LM, text: str, selection: Selection) -> tuple[Reading, int]:
        """What was asked and what came back, and how long the prompt was allowed to be.

        Only a server knows how many tokens it makes of a prompt. One that it finds too long loses
        its least similar examples, as any other does.
        """
        ranked, passed_over = self._shown(selection)
        limit = self.prompt_limit
        while True:
            prompt = self._build(text, selection, limit)
            reading = Reading(text, tuple(ranked), passed_over, prompt)
            try:
                if lm.scores:
                    scored = self._score(lm, text, prompt)
                    return replace(reading, probes=tuple(self._probes), scored=scored), limit
                return replace(reading, reply=lm.generate(prompt.text, stop=("\n",))), limit
            except PromptTooLongError as error:
                limit = int(min(limit, prompt.tokens) * error.share)
                if limit < LEAST_MESSAGE_TOKENS:
                    raise

    def _score(self, lm: LM, text: str, prompt: Prompt) -> dict[ScoringRequest, Scored]:
        """All that the scoring asks, of the message and of the probes, each once."""
        template, scoring = self.task.template, SCORINGS[self.config.scoring]
        words = template.words_for(text)
        said: dict[ScoringRequest, Scored] = {}
        probed = (in_place_of_message(template, prompt, probe) for probe in self._probes)
        for asked in (prompt, *probed):
            for request in scoring.requests(template, asked, words):
                if request not in said:
                    said[request] = lm.read(*request)
        return said

    def _notes(
        self, text: str, ranked: Sequence[Demonstration], prompt: Prompt, limit: int
    ) -> Iterator[str]:
        ranked_labels = [shown.label for shown in ranked]
        counts = {label: ranked_labels.count(label) for label in self.labels}
        if self.balance == "equal" and max(counts.values()) - min(counts.values()) > 1:
            short = min(counts, key=counts.__getitem__)
            if where := too_few(self.selector, text, short, counts[short]):
                shares = ", ".join(f"{count} {label}" for label, count in counts.items())
                yield f"{where} {short} messages for an equal share: {shares}"
        filters = str(self.selector.filters)
        if filters and len(ranked) < self.config.k and self.config.selector != "zero":
            yield f"{len(ranked)} examples: no more messages qualify ({filters})"
        if not self.votes:
            vectors = self.pool.vectors[[shown.row for shown in prompt.demonstrations]]
            yield from demonstration_hints(
                prompt.demonstrations, self.labels, self.task.template, vectors
            )
        if prompt.dropped:
            yield (
                f"{prompt.dropped} of {len(ranked)} examples were left out: "
                f"the prompt may have {limit} tokens"
            )
        if prompt.query_cut:
            yield "the message is long: the language model read its two ends only"


def _opened(lm: LM | str | None, base_url: str | None, chat: bool | None) -> LM:
    if lm is None or isinstance(lm, str):
        return open_lm(lm, base_url, chat=chat)
    if base_url is not None:
        raise TuneshotError(
            f"{lm.name} is a model that was made already, and base_url says where a named one is; "
            "give lm a name, such as api:openai/local, or make the model with its base_url"
        )
    return lm
