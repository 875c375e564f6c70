"""The few-shot classifier: select, balance, arrange, prompt, read, and answer what was read."""

import copy
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from clfcore.data.labels import unknown_labels
from clfcore.errors import TuneshotError, unknown_choice
from clfcore.types import Example, OnProgress, ignore
from icl.answering import Answering, FewShotPrediction, Reading, in_place_of_message
from icl.considered import Considered
from icl.lm.base import LM, PromptTooLongError, Scored
from icl.lm.open import open_lm
from icl.pool.embed import Embedder, SentenceEmbedder
from icl.pool.pool import Pool
from icl.priors.batch import PRIOR_MESSAGES, BatchPrior, about_prior
from icl.prompt.calibration import CALIBRATIONS
from icl.prompt.orders import ENTROPIES, ORDER_MESSAGES, ORDERS_TRIED, different_orders
from icl.prompt.prompt import Prompt
from icl.prompt.scoring import SCORINGS, ScoringRequest, continuations
from icl.prompt.tasks import TASKS, Task
from icl.prompt.template import Demonstration, Verbalizer
from icl.reader import PromptReader
from icl.recipe import HasRecipe, Recipe, Tuner
from icl.selectors.base import PassedOver, Selection
from icl.selectors.filters import Filters
from icl.selectors.similar import KNN
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig
from icl.shared import shared
from icl.showing import Showing, demonstrations_of

LEAST_MESSAGE_TOKENS = 16  # room for a message's two ends


class FewShot:
    """Classifies by showing a language model a few labelled messages.

    ``FewShot("sms_spam", "topk", lm="gpt2", k=4).fit(examples).predict(texts)``

    Args:
        task: labels and prompt format; or the name of one of ``TASKS``.
        selector: a key of ``SELECTORS``; default: the recipe's, or ``topk``. The random ones and
            the vote have a balance of their own, which wins; one that arranges has its order, too.
        lm: what scores the labels, or what ``open_lm`` makes it of; default: the bundled model.
            ``knn`` needs none.
        base_url: of the server that has the model named ``lm``, see ``open_lm``.
        embedder: embeds pool and queries; default: the bundled one.
        tune: a recipe, or its file: settings that were chosen; those that are given here win. Or
            what chooses them in ``fit``, by the pool, and keeps these without evidence:
            ``icl.tuning.tune.tune``.
        settings: further fields of ``FewShotConfig``.

    Attributes:
        config: all settings.
        tuned: what came of tuning in ``fit``.
        selector: fitted; see its class for what can be inspected.
        prompt_limit: tokens that a prompt may have; 0 without a language model.
        chat: whether the prompt is a chat: as the settings say, else as the model prefers.
        batch_prior: of batch calibration; ``None`` of any other.

    Raises:
        TuneshotError: settings that are not allowed, or not for this task; no recipe, or one for
            other labels.
    """

    selector: Any
    pool: Pool
    tuned: HasRecipe | None = None
    batch_prior: BatchPrior | None
    _orders: list[tuple[int, ...]]
    _voters: KNN | None
    _considered: Considered | None

    def __init__(
        self,
        task: Task | str = "sms_spam",
        selector: str | None = None,
        *,
        lm: LM | str | None = None,
        base_url: str | None = None,
        embedder: Embedder | None = None,
        tune: Recipe | Path | str | Tuner | None = None,
        **settings: Any,  # noqa: ANN401
    ) -> None:
        if isinstance(task, str) and task not in TASKS:
            raise unknown_choice("task", task, TASKS)
        self.task = TASKS[task] if isinstance(task, str) else task
        if selector is not None:
            settings["selector"] = selector
        self._tune = None
        if isinstance(tune, str | Path):
            tune = Recipe.read(Path(tune))
        if isinstance(tune, Recipe):
            tune.check_labels(self.task.labels)
            settings = tune.settings_with(settings)
        else:
            self._tune = tune
        self._default = FewShotConfig(**settings)
        self.embedder = embedder or shared(SentenceEmbedder)
        self._lm: LM | None = None
        if self._tune or SELECTORS[self._default.selector].asks_lm:
            self._lm = _opened(lm, base_url, self._default.chat)
        self._use(self._default)

    def _use(self, config: FewShotConfig) -> None:
        """Takes these settings."""
        config.check_task(self.task)
        self.config = config
        selector = SELECTORS[config.selector]
        self.votes = selector.votes
        self.lm = self._lm if selector.asks_lm else None
        self.prompt_limit, self.chat = 0, False
        if self.lm is not None:
            self.prompt_limit = self.lm.prompt_limit(config.prompt_tokens)
            self.chat = self.lm.prefers_chat if config.chat is None else config.chat

    @property
    def labels(self) -> tuple[str, ...]:
        return self.task.labels

    # --- fit ------------------------------------------------------------------------------------

    def fit(
        self,
        pool: Pool | Sequence[Example],
        on_progress: OnProgress = ignore,
        *,
        prior: BatchPrior | None = None,
        read_prior: bool = True,
    ) -> Self:
        """Takes ``pool`` as what may be shown. Nothing is trained; settings may be chosen by it.

        Args:
            pool: the labelled messages.
            on_progress: called while messages are read before the first answer, with (stage, done,
                total, figures).
            prior: that of another pool, for batch calibration; default: this one's own.
            read_prior: whether a prior that is not remembered is read now. Else the caller reads
                it; until then answers are not calibrated, and say so.

        Raises:
            TuneshotError: labels the task does not have; a pool, or a language model, that the
                settings do not allow.
        """
        self.pool = pool if isinstance(pool, Pool) else Pool.build(pool, self.embedder)
        if unknown := set(self.pool.label_names) - set(self.labels):
            raise unknown_labels(unknown, self.labels, "the task", "the pool")
        self._counts = Counter(self.pool.labels)
        if self._tune and self._lm:
            self.tuned = self._tune(
                self.pool, self.task, self._lm, self.embedder,
                default=self._default, on_progress=on_progress,
            )  # fmt: skip
            self._use(self.tuned.recipe.settings)
        config = self.config
        calibration = CALIBRATIONS[config.calibration]
        probes = calibration.probes
        self._probes = probes(self.pool.texts, config.seed) if probes else []
        self.batch_prior, self._orders, self._voters = None, [], None
        self._considered = self._considers()
        self.selector = SELECTORS[config.selector](seed=config.seed, **config.options)
        reader = None
        if self.lm is not None:
            self._check_language_model(self.lm)
            if self.lm.scores:
                reader = PromptReader(
                    self.task.template, self.pool, self.lm, self._showing.fit_prompt, self._words,
                    on_progress,
                )  # fmt: skip
        filters = Filters(config.near)
        if self.lm is not None:
            filters = Filters(config.near, config.longest, self.lm.count_tokens)
        self.selector.fit(self.pool, reader, filters)
        if config.vote and SELECTORS[config.selector].asks_lm:
            if len(self.pool.representatives) < 2:
                raise TuneshotError("vote needs two different messages in the pool; leave it out")
            self._voters = KNN().fit(self.pool, filters=filters)
        if config.chooses_order:
            self._orders = self._orders_by_entropy(on_progress)
        if calibration.batch and not self.votes and self._considered is None:
            self.batch_prior = prior or self._batch_prior()
            if read_prior:
                self.batch_prior.read_all(on_progress)
        return self

    def _considers(self) -> Considered | None:
        """What chooses the labels that are considered, where these are not all."""
        template, most = self.task.template, self.config.most_labels
        if self.votes or self.lm is None or not self.lm.scores or template.choices:
            return None
        if not 0 < most < len(self.labels):
            return None
        pool = None if self.config.selector == "zero" else self.pool
        return Considered(template, pool, self.embedder, most)

    def _words(self, text: str) -> Verbalizer:
        """The words of the labels that are considered for a message, whatever is shown."""
        words = self.task.template.words_for(text)
        if self._considered is None:
            return words
        (vector,) = self.embedder.embed([text])
        return {label: words[label] for label in self._considered.labels(text, vector, ())}

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
                lm.read(prompt, words[:1])  # a server says only now that it gives no scores
            return
        for setting, impossible in (
            ("scoring", config.scoring != "sum"),
            ("calibration", config.calibration != "none"),
            ("order", config.order in ENTROPIES),
        ):
            if impossible:
                raise TuneshotError(
                    f"{lm.name} answers in words and gives no log-probabilities, so {setting} "
                    f"{getattr(config, setting)} cannot be computed; leave it out, or choose a "
                    "local model"
                )

    def _batch_prior(self) -> BatchPrior:
        """That of these settings, remembered or still to be read."""
        assert self.lm is not None
        about = about_prior(
            self.lm, self.pool, self.task.template.digest, self.embedder.name, self.config,
            chat=self.chat, prompt_tokens=self.prompt_limit,
        )  # fmt: skip
        texts = self._unlabelled(PRIOR_MESSAGES)
        return BatchPrior(
            about, self.labels, texts, lambda text: self.answering.label_scores(*self.read([text]))
        )

    def _orders_by_entropy(self, on_progress: OnProgress) -> list[tuple[int, ...]]:
        """Orders of k examples, as places in ``similar_last``; the most promising first."""
        config, rng = self.config, np.random.default_rng(self.config.seed)
        tried = different_orders(config.k, max(ORDERS_TRIED, config.orders), rng)
        asked = copy.copy(self)
        asked.config = replace(config, orders=len(tried), calibration="none", vote=0.0)
        asked._orders, asked._probes, asked._voters = tried, [], None
        readings: list[Reading] = []
        for text in (texts := self._unlabelled(ORDER_MESSAGES)):
            readings += asked.read([text])
            on_progress("order: messages read", len(readings), len(texts), "")
        p = [
            [
                np.exp(asked.answering.log_probabilities(replace(reading, prompts=(prompt,))))
                for prompt in reading.prompts
            ]
            for reading in readings
            if len(reading.prompts) == len(tried)  # where all of the examples had room
        ]
        if not p:
            return tried
        promise = ENTROPIES[config.order](np.array(p)).round(9)  # ties stay ties
        return [tried[place] for place in np.argsort(-promise, kind="stable").tolist()]

    def _unlabelled(self, count: int) -> list[str]:
        """Some messages of the pool, of which the labels are not looked at."""
        rng = np.random.default_rng(self.config.seed)
        rows = rng.permutation(self.pool.representatives)[:count]
        return [self.pool.texts[row] for row in rows]

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
        prior = None if self.batch_prior is None else self.batch_prior.value
        return Answering(self.task, self.config, self._counts, prior)

    @property
    def _showing(self) -> Showing:
        return Showing(
            self.task, self.config, self.pool, self._counts, self.selector, self.lm,
            self.prompt_limit, self.chat, self._probes, self._orders,
        )  # fmt: skip

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """What is shown for each of ``texts``, in input order, and what the model says to it.

        Raises:
            TuneshotError: as ``predict``.
        """
        if not texts:
            return []
        start = time.perf_counter()
        vectors = self._vectors(texts)
        selections = self.selector.select(texts, vectors, self.config.k)
        neighbours = self._neighbours(texts, vectors)
        selecting = 1000 * (time.perf_counter() - start) / len(texts)
        return [
            self._read(text, vector, selection, nearest, selecting)
            for text, vector, selection, nearest in zip(
                texts, vectors, selections, neighbours, strict=True
            )
        ]

    def prompt(self, text: str) -> Prompt:
        """What the language model would read for ``text``; raises as ``predict`` does."""
        selection = self._select(text)
        return self._showing.prompts(text, selection)[0]

    def select(self, text: str) -> tuple[list[Demonstration], tuple[PassedOver, ...]]:
        """What would be shown for ``text``, best first, and what was passed over."""
        selection = self._select(text)
        return self._showing.shown(selection), selection.passed_over

    def _select(self, text: str) -> Selection:
        (selection,) = self.selector.select([text], self._vectors([text]), self.config.k)
        return selection

    def _vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Of each message, (Q, d) float32; (Q, 0) where nothing asks for them."""
        if self.selector.needs_vectors or self._voters or self._considered:
            return self.embedder.embed(texts)
        return np.empty((len(texts), 0), np.float32)

    def _neighbours(
        self, texts: Sequence[str], vectors: np.ndarray
    ) -> list[tuple[Demonstration, ...]]:
        """The messages that vote beside the prompt, nearest first; none without such a vote."""
        if self._voters is None:
            return [()] * len(texts)
        count = min(self.config.voters, len(self.pool.representatives) - 1)
        found = self._voters.select(texts, vectors, count)
        return [tuple(demonstrations_of(self.pool, selection)[:count]) for selection in found]

    # --- what the language model says -------------------------------------------------------------

    def _read(
        self,
        text: str,
        vector: np.ndarray,
        selection: Selection,
        neighbours: tuple[Demonstration, ...],
        selecting: float,
    ) -> Reading:
        start = time.perf_counter()
        ranked = tuple(self._showing.shown(selection))
        reading = Reading(text, ranked, selection.passed_over, neighbours=neighbours)
        limit = self.prompt_limit
        if self.lm is None or self.votes:
            vote = Prompt("", 0, ranked[::-1], dropped=0, query=text)
            reading = replace(reading, prompts=(vote,))
        else:
            if self._considered is not None:
                shown = (each.label for each in ranked)
                reading = replace(reading, considered=self._considered.labels(text, vector, shown))
            reading, limit = self._ask(self.lm, reading, selection)
        notes = tuple(self._showing.notes(reading, limit))
        return replace(reading, notes=notes, ms=selecting + 1000 * (time.perf_counter() - start))

    def _ask(self, lm: LM, reading: Reading, selection: Selection) -> tuple[Reading, int]:
        """What was asked and what came back, and how long a prompt was allowed to be.

        Only a server knows how many tokens it makes of a prompt. One that it finds too long loses
        its least similar examples, as any other does.
        """
        limit = self.prompt_limit
        while True:
            prompts = self._showing.prompts(reading.text, selection, limit)
            reading = replace(reading, prompts=prompts)
            try:
                if lm.scores:
                    scored = self._score(lm, reading)
                    return replace(reading, probes=tuple(self._probes), scored=scored), limit
                replies = tuple(lm.generate(prompt.text, stop=("\n",)) for prompt in prompts)
                return replace(reading, replies=replies), limit
            except PromptTooLongError as error:
                limit = int(min(limit, prompts[0].tokens) * error.share)
                if limit < LEAST_MESSAGE_TOKENS:
                    raise

    def _score(self, lm: LM, reading: Reading) -> dict[ScoringRequest, Scored]:
        """All that the scoring asks, of the message and of the probes, each once."""
        template, scoring = self.task.template, SCORINGS[self.config.scoring]
        words = reading.words(template)
        said: dict[ScoringRequest, Scored] = {}
        for prompt in reading.prompts:
            probed = (in_place_of_message(template, prompt, probe) for probe in self._probes)
            for asked in (prompt, *probed):
                for request in scoring.requests(template, asked, words):
                    if request not in said:
                        said[request] = lm.read(*request)
        return said


def _opened(lm: LM | str | None, base_url: str | None, chat: bool | None) -> LM:
    if lm is None or isinstance(lm, str):
        return open_lm(lm, base_url, chat=chat)
    if base_url is not None:
        raise TuneshotError(
            f"{lm.name} is a model that was made already, and base_url says where a named one is; "
            "give lm a name, such as api:openai/local, or make the model with its base_url"
        )
    return lm
