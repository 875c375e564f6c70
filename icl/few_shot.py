"""The few-shot classifier: select, balance, arrange, prompt, score."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np

from clfcore.data.draw import generator
from clfcore.data.labels import unknown_labels
from clfcore.errors import TuneshotError, unknown_choice
from clfcore.types import NO_ANSWER, Example, Prediction
from icl.lm.base import LM, PromptTooLongError, total_dollars
from icl.lm.open import open_lm
from icl.pool.embed import Embedder, SentenceEmbedder
from icl.pool.pool import Pool
from icl.prompt.calibration import CALIBRATIONS, Prior
from icl.prompt.prompt import Arrange, Prompt, as_text, build_prompt
from icl.prompt.replies import parse_label
from icl.prompt.reply_scores import CERTAIN, FIRST_TOKENS, OWN_TOKENS, reply_scores
from icl.prompt.scoring import (
    SCORINGS,
    continuations,
    log_softmax,
    neighbour_vote,
    scoring_hint,
    softmax,
)
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


class _Outcome(NamedTuple):
    """A label, or none, the probabilities, their price, and where they come from."""

    label: str | None
    probabilities: Mapping[str, float]
    dollars: float | None = 0.0
    completion: str = ""
    notes: tuple[str, ...] = ()
    prompt_tokens: int = 0  # by the model's own count; 0: it does not say


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
        self._hint: str | None = None

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
                self._hint = scoring_hint(config.scoring, template.words, lm.read(prompt, words))
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
        texts = [self.pool.texts[row] for row in rows]
        return Prior.of(
            [
                self._label_scores(text, self._build(text, selection))[0]
                for text, selection in zip(texts, self._select(texts), strict=True)
            ]
        )

    # --- predict --------------------------------------------------------------------------------

    def predict(self, texts: Sequence[str]) -> list[FewShotPrediction]:
        """Answers for ``texts``, in input order.

        Raises:
            TuneshotError: the pool has fewer than k messages to offer; an API that fails.
        """
        if not texts:
            return []
        start = time.perf_counter()
        selections = self._select(texts)
        selecting = (time.perf_counter() - start) / len(texts)
        return [
            self._answer(text, selection, selecting)
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

    def _answer(self, text: str, selection: Selection, selecting: float) -> FewShotPrediction:
        start = time.perf_counter()
        ranked, passed_over = self._shown(selection)
        limit = self.prompt_limit
        if self.lm is None:
            prompt = Prompt("", 0, tuple(ranked[::-1]), dropped=0, query=text)
            similarities = [shown.similarity or 0.0 for shown in ranked]
            votes = neighbour_vote(self.labels, [shown.label for shown in ranked], similarities)
            outcome = _Outcome(_most_probable(votes), votes)
        else:
            prompt, outcome, limit = self._ask(self.lm, text, selection)
        return FewShotPrediction(
            label=outcome.label,
            probabilities=outcome.probabilities,
            ms=1000 * (selecting + time.perf_counter() - start),
            notes=(*outcome.notes, *self._notes(text, ranked, prompt, limit)),
            demonstrations=prompt.demonstrations,
            passed_over=passed_over,
            prompt=as_text(prompt.text),
            prompt_tokens=outcome.prompt_tokens or prompt.tokens,
            dropped=prompt.dropped,
            completion=outcome.completion,
            dollars=outcome.dollars,
        )

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

    # --- the answer -----------------------------------------------------------------------------

    def _ask(self, lm: LM, text: str, selection: Selection) -> tuple[Prompt, _Outcome, int]:
        """What was asked, what came back, and how long the prompt was allowed to be.

        Only a server knows how many tokens it makes of a prompt. One that it finds too long loses
        its least similar examples, as any other does.
        """
        limit = self.prompt_limit
        while True:
            prompt = self._build(text, selection, limit)
            try:
                ask = self._score if lm.scores else self._generate
                return prompt, ask(text, prompt), limit
            except PromptTooLongError as error:
                limit = int(min(limit, prompt.tokens) * error.share)
                if limit < LEAST_MESSAGE_TOKENS:
                    raise

    def _score(self, text: str, prompt: Prompt) -> _Outcome:
        """From the scores of the labels, without the prompt's own bias."""
        scores, dollars, read = self._label_scores(text, prompt)
        prior = self._prior
        if self._probes:
            template, shown = self.task.template, prompt.demonstrations
            render = template.render_chat if self.chat else template.render
            probed = [
                self._label_scores(probe, replace(prompt, text=render(shown, probe), query=probe))
                for probe in self._probes
            ]
            prior = Prior.of([scores for scores, _, _ in probed])
            dollars = total_dollars([dollars, *(price for _, price, _ in probed)])
        if prior is None:
            log_p = log_softmax(scores)
        elif self.config.shares == "equal":
            log_p = prior.calibrate(scores)
        else:
            counts = np.array([self._counts[label] for label in self.labels])  # (C,)
            log_p = prior.calibrate(scores, counts / counts.sum())
        probabilities = softmax(dict(zip(self.labels, log_p.tolist(), strict=True)))
        label = _most_probable(probabilities)
        return _Outcome(label, probabilities, dollars, prompt_tokens=read)

    def _label_scores(self, text: str, prompt: Prompt) -> tuple[np.ndarray, float | None, int]:
        """Label scores in nats, (C,), what they cost in dollars, and the tokens of the prompt."""
        assert self.lm is not None
        template, scoring = self.task.template, SCORINGS[self.config.scoring]
        words = template.words_for(text)
        results = [self.lm.read(*each) for each in scoring.requests(template, prompt, words)]
        scores = scoring.combine(results, words)
        dollars = total_dollars(result.dollars for result in results)
        return scores, dollars, max(result.prompt_tokens for result in results)

    def _generate(self, text: str, prompt: Prompt) -> _Outcome:
        """From a reply in words: these say which label it is, the tokens how probable it is."""
        assert self.lm is not None
        reply = self.lm.generate(prompt.text, stop=("\n",))
        words = self.task.template.words_for(text)
        label = parse_label(reply.text, words)
        if label is None:
            probabilities = dict.fromkeys(self.labels, 1 / len(self.labels))
            note = f"{NO_ANSWER}: the model said {reply.text[:60]!r} where a label was asked for"
        elif found := reply_scores(reply.written, reply.text, label, words):
            probabilities = softmax(found.scores)
            note = FIRST_TOKENS if found.begun else OWN_TOKENS
        else:
            probabilities = {each: float(each == label) for each in self.labels}
            note = CERTAIN
        return _Outcome(
            label, probabilities, reply.dollars, reply.text, (note,), reply.prompt_tokens
        )

    def _notes(
        self, text: str, ranked: Sequence[Demonstration], prompt: Prompt, limit: int
    ) -> Iterator[str]:
        if self._hint:
            yield self._hint
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


def _most_probable(probabilities: Mapping[str, float]) -> str:
    """The likeliest label; of a tie, the earlier one."""
    return max(probabilities, key=probabilities.__getitem__)


def _opened(lm: LM | str | None, base_url: str | None, chat: bool | None) -> LM:
    if lm is None or isinstance(lm, str):
        return open_lm(lm, base_url, chat=chat)
    if base_url is not None:
        raise TuneshotError(
            f"{lm.name} is a model that was made already, and base_url says where a named one is; "
            "give lm a name, such as api:openai/local, or make the model with its base_url"
        )
    return lm
