"""The few-shot classifier: select, balance, arrange, prompt, score."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clfcore.errors import TuneshotError, one_of
from clfcore.types import Prediction
from icl.embed import Embedder
from icl.lm import LM
from icl.pool import Pool
from icl.prompt import ARRANGEMENTS, BALANCES, MANY, Demonstration, Prompt, build_prompt
from icl.scoring import softmax, vote
from icl.selection import Selection, generator
from icl.selectors import SELECTORS
from icl.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class FewShotPrediction(Prediction):
    """An answer, and everything it was based on.

    Attributes:
        demonstrations: as they stand in the prompt; for a vote, the neighbours, nearest last.
        prompt: the exact text the language model read; empty for a vote.
        prompt_tokens: its length in the language model's tokens.
        dropped: how many chosen demonstrations did not fit.
    """

    demonstrations: tuple[Demonstration, ...]
    prompt: str
    prompt_tokens: int
    dropped: int


class FewShot:
    """Classifies by showing a language model a few labelled messages.

    Cheap to construct: pool, embedder and language model are shared, so every change of settings
    may make a new one.

    Args:
        task: labels and prompt format.
        pool: where demonstrations come from.
        embedder: embeds the queries; the one that embedded the pool.
        lm: scores the labels; may be ``None`` for a selector that votes.
        selector, balance, order: keys of ``SELECTORS``, ``BALANCES`` and ``ARRANGEMENTS``. The
            random selectors and the vote have a balance of their own, which wins.
        k: how many demonstrations to show.
        seed: for what is random.

    Raises:
        TuneshotError: an unknown name, a negative k, labels in the pool that the task does not
            have, or a missing or unsuitable language model.
    """

    def __init__(
        self,
        task: Task,
        pool: Pool,
        embedder: Embedder,
        lm: LM | None,
        selector: str = "topk",
        k: int = 4,
        balance: str = "equal",
        order: str = "similar_last",
        seed: int = 0,
    ) -> None:
        for what, name, known in (
            ("selector", selector, SELECTORS),
            ("balance", balance, BALANCES),
            ("order", order, ARRANGEMENTS),
        ):
            if name not in known:
                raise one_of(what, name, known)
        if k < 0:
            raise TuneshotError(f"k must be 0 or more, not {k}")
        if unknown := sorted(set(pool.label_names) - set(task.labels)):
            raise TuneshotError(
                f"the pool has labels the task does not know: {', '.join(map(repr, unknown))}; "
                f"use {', '.join(task.labels)}"
            )
        self.task = task
        self.embedder = embedder
        self.lm = lm
        self.k = k
        self.order = order
        self.seed = seed
        self.selector = SELECTORS[selector](seed=seed).fit(pool)
        self.balance = self.selector.balance or balance
        self.pool = pool
        if self.selector.votes and k == 0:
            raise TuneshotError(f"selector {selector!r} needs at least one neighbour; choose k ≥ 1")
        if not self.selector.votes:
            if lm is None:
                raise TuneshotError(f"selector {selector!r} needs a language model; or choose knn")
            # Before any work: refuse a tokenizer that cannot tell a label from the prompt's end.
            lm.check(task.template.render([], "Hello"), self._continuations)

    @property
    def labels(self) -> tuple[str, ...]:
        return self.task.labels

    def predict(self, texts: Sequence[str]) -> list[FewShotPrediction]:
        """Answers for ``texts``, in input order.

        Raises:
            TuneshotError: the pool has fewer than k messages to offer.
        """
        start = time.perf_counter()
        vectors = self.embedder.embed(texts) if self.selector.needs_vectors and texts else None
        selections = self.selector.select(texts, vectors, self.k)
        selecting = (time.perf_counter() - start) / max(len(texts), 1)
        return [
            self._answer(text, selection, selecting)
            for text, selection in zip(texts, selections, strict=True)
        ]

    def prompt(self, text: str) -> Prompt:
        """What the language model would read for ``text``; raises as ``predict`` does."""
        vectors = self.embedder.embed([text]) if self.selector.needs_vectors else None
        (selection,) = self.selector.select([text], vectors, self.k)
        return self._build(text, self._balanced(selection))

    def _answer(self, text: str, selection: Selection, selecting: float) -> FewShotPrediction:
        start = time.perf_counter()
        ranked = self._balanced(selection)
        if self.selector.votes:
            prompt = Prompt("", 0, tuple(ranked[::-1]), dropped=0, query_cut=False)
            probabilities = vote(
                self.labels,
                [shown.label for shown in ranked],
                [shown.similarity or 0.0 for shown in ranked],
            )
        else:
            assert self.lm is not None  # checked at construction
            prompt = self._build(text, ranked)
            scores = self.lm.log_probabilities(prompt.text, self._continuations)
            probabilities = softmax(dict(zip(self.labels, scores, strict=True)))
        return FewShotPrediction(
            label=max(probabilities, key=probabilities.__getitem__),  # a tie: the earlier label
            probabilities=probabilities,
            ms=1000 * (selecting + time.perf_counter() - start),
            notes=tuple(self._notes(ranked, prompt)),
            demonstrations=prompt.demonstrations,
            prompt=prompt.text,
            prompt_tokens=prompt.tokens,
            dropped=prompt.dropped,
        )

    def _balanced(self, selection: Selection) -> list[Demonstration]:
        """The k demonstrations, best first."""
        rows = selection.rows
        similarities: Sequence[float | None] = selection.similarities or [None] * len(rows)
        ranked = [
            Demonstration(self.pool.texts[row], self.pool.labels[row], similarity, row)
            for row, similarity in zip(rows, similarities, strict=True)
        ]
        return BALANCES[self.balance](ranked, self.k)

    def _build(self, text: str, ranked: Sequence[Demonstration]) -> Prompt:
        assert self.lm is not None
        return build_prompt(
            self.task.template,
            ranked,
            text,
            # A new generator at every call: the order depends on the message, not on the calls.
            lambda kept: ARRANGEMENTS[self.order](kept, generator(self.seed, text)),
            self.lm.count_tokens,
            self.lm.budget,
        )

    @property
    def _continuations(self) -> list[str]:
        return [self.task.template.words[label] for label in self.labels]

    def _notes(self, ranked: Sequence[Demonstration], prompt: Prompt) -> Iterator[str]:
        counts = dict.fromkeys(self.labels, 0)
        for shown in ranked:
            counts[shown.label] += 1
        if self.balance == "equal" and max(counts.values()) - min(counts.values()) > 1:
            shares = ", ".join(f"{count} {label}" for label, count in counts.items())
            short = min(counts, key=counts.__getitem__)
            yield f"the pool has too few {short} messages for an equal share: {shares}"
        if len(ranked) > MANY:
            yield f"{len(ranked)} examples: the usual advice is fewer than {MANY}"
        if prompt.dropped:
            yield (
                f"{prompt.dropped} of {len(ranked)} examples were left out: "
                f"the prompt may have {self.lm.budget if self.lm else 0} tokens"
            )
        if prompt.query_cut:
            yield "the message is long: the language model read its two ends only"
