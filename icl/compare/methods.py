"""The methods that are compared, and how each of them learns from some labelled messages.

All of them get the same ``Lesson`` and give back a ``Classifier`` that knows all labels of the
task, even if the few messages that were labelled show only some of them.
"""

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from functools import cached_property, partial
from io import StringIO
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from clfcore.data.split import content_hash, distinct_per_label
from clfcore.errors import TuneshotError
from clfcore.training.settings import settings_for
from clfcore.types import Classifier, Example, Prediction
from icl.few_shot import FewShot
from icl.lm.open import open_lm
from icl.pool.embed import SentenceEmbedder, embed_remembered
from icl.pool.pool import Pool
from icl.prompt.tasks import Task
from icl.selectors.table import SELECTORS

if TYPE_CHECKING:
    from clfcore.training.recipe import TrainingResult


LEAST_STEPS = 100  # of gradient descent, however few the messages; see ``fine_tune``
CALIBRATION_SHARE = 0.1  # of the labelled messages, where there are enough of them
ENOUGH = 10  # of each label


@dataclass(frozen=True)
class Lesson:
    """What a method may learn from, and with.

    Attributes:
        labelled: the messages whose labels it may see, all it may see of the task.
        task: labels and prompt format.
        base: what fine-tuning starts from, see ``load_base``.
        lm: the language model that is shown examples, see ``open_lm``.
        k: how many of them; also the neighbours that vote.
        order: how they stand in the prompt, a key of ``ARRANGEMENTS``.
        seed: of everything random.
    """

    labelled: tuple[Example, ...]
    task: Task
    base: str
    lm: str
    k: int = 4
    order: str = "similar_last"
    seed: int = 0

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels of the task."""
        return self.task.labels

    @cached_property
    def seen(self) -> tuple[str, ...]:
        """Those of them that the labelled messages show, in the task's order."""
        known = {example.label for example in self.labelled}
        return tuple(label for label in self.labels if label in known)


@dataclass(frozen=True)
class Method:
    """One way to learn.

    Attributes:
        name: for people.
        family: ``fine_tuned``, ``few_shot``, ``other`` or ``baseline``.
        learn: makes a classifier.
        chooses: who picks the messages to label: ``random``, ``votek``, or ``""``: none are needed.
        asks_lm: whether a language model reads prompts.
        embeds: whether it wants vectors of the labelled messages.
        most: labelled messages beyond which it is not run.
    """

    name: str
    family: str
    learn: Callable[[Lesson], Classifier]
    chooses: str = "random"
    asks_lm: bool = False
    embeds: bool = False
    most: int = sys.maxsize


# --- what has nothing to learn ------------------------------------------------------------------


class Constant:
    """Always the commonest label; probabilities are the labels' shares, (n + 1) / (N + C)."""

    def __init__(self, labelled: Sequence[Example], labels: tuple[str, ...]) -> None:
        counts = Counter(example.label for example in labelled)
        total = len(labelled) + len(labels)
        self.labels = labels
        self._p = {label: (counts[label] + 1) / total for label in labels}
        self._label = max(labels, key=self._p.__getitem__)  # a tie: the earlier label

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        return [Prediction(self._label, self._p, ms=0.0) for _ in texts]


def majority(lesson: Lesson) -> Classifier:
    """The commonest label of the labelled messages."""
    return Constant(lesson.labelled, lesson.labels)


class Widened:
    """A classifier that knows some of the labels; it never answers the others."""

    def __init__(self, classifier: Classifier, labels: tuple[str, ...]) -> None:
        self.classifier = classifier
        self.labels = labels

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        return [
            replace(said, probabilities={n: said.probabilities.get(n, 0.0) for n in self.labels})
            for said in self.classifier.predict(texts)
        ]


def from_seen(learn: Callable[[Lesson], Classifier], lesson: Lesson) -> Classifier:
    """``learn`` for who needs two labels at least, and every label among the messages."""
    if len(lesson.seen) < 2:
        return majority(lesson)
    classifier = learn(lesson)
    return classifier if lesson.seen == lesson.labels else Widened(classifier, lesson.labels)


# --- fine-tuning --------------------------------------------------------------------------------


def fine_tune(layers: str, lesson: Lesson) -> Classifier:
    """Fine-tunes the base on the labelled messages.

    Nothing but these may be used, so the part to calibrate on is taken from them. Of fewer than
    ``ENOUGH`` of a label no part can be spared: the model is then calibrated on what it has learnt
    from, which Platt's targets, (n + 1) / (n + 2) of n messages, keep from being too sure. Few
    messages are shown more often, as so few steps would teach nothing (Mosbach et al. 2021).
    """
    return fine_tuned(layers, lesson).classifier


def fine_tuned(layers: str, lesson: Lesson) -> "TrainingResult":
    """As ``fine_tune``, with the history; needs two labels at least."""
    from clfcore.data.split import validation_split
    from clfcore.training.loop import planned_steps
    from clfcore.training.recipe import fine_tune_on
    from clfcore.weights.bases import load_base

    examples, labels = list(lesson.labelled), lesson.seen
    train, val = examples, examples
    if min(distinct_per_label(examples).values()) >= ENOUGH:
        train, val = validation_split(examples, CALIBRATION_SHARE, lesson.seed)
    # Undersampling, the lecture's way, would throw away labels that were paid for.
    config = settings_for(
        lesson.base, layers=layers, seed=lesson.seed, balance="oversample", balance_ratio=0.5
    )
    once = planned_steps([labels.index(example.label) for example in train], config)
    if once < LEAST_STEPS:
        config = replace(config, epochs=config.epochs * math.ceil(LEAST_STEPS / once))
    start = load_base(lesson.base, len(labels), config.weights, seed=lesson.seed)
    data = {"labelled": {"messages": len(examples), "sha256": content_hash(examples)}}
    return fine_tune_on(
        start, train, val, labels, config, about={"base": lesson.base, "data": data}
    )


# --- few-shot -----------------------------------------------------------------------------------


def few_shot(selector: str, lesson: Lesson) -> Classifier:
    """Shows the language model some of the labelled messages, chosen by a selector."""
    lm = None if SELECTORS[selector].votes else open_lm(lesson.lm)
    k = 0 if selector == "zero" else min(lesson.k, len(lesson.labelled))
    return FewShot(
        lesson.task, selector, lm=lm, embedder=embedder(), k=k, order=lesson.order,
        seed=lesson.seed,
    ).fit(pool_of(lesson.labelled))  # fmt: skip


def zero_shot(lesson: Lesson) -> Classifier:
    """Shows it nothing but the question."""
    # A pool is never empty; of this one nothing is shown.
    return few_shot("zero", replace(lesson, labelled=(Example("-", lesson.labels[0]),)))


_embedder = SentenceEmbedder()


def embedder() -> SentenceEmbedder:
    """The one that all methods share."""
    return _embedder


def pool_of(examples: Sequence[Example]) -> Pool:
    """A pool; vectors come from the disk where they are known."""
    return Pool.build(examples, embedder())


def vectors_of(texts: Sequence[str]) -> np.ndarray:
    """(N, d) float32 unit vectors; from the disk where they are known."""
    return embed_remembered(embedder(), texts)


def seconds_to_embed(texts: Sequence[str]) -> float:
    """What remembered vectors of ``texts`` have cost, from the pace of some of them."""
    some = list(texts[:: max(1, len(texts) // 64)])[:64]
    if not some:
        return 0.0
    embedder().embed(some[:1])  # loads the model
    start = time.perf_counter()
    embedder().embed(some)
    return (time.perf_counter() - start) * len(texts) / len(some)


# --- others -------------------------------------------------------------------------------------


class Pipeline:
    """A fitted scikit-learn classifier of texts."""

    def __init__(self, labels: tuple[str, ...], fitted: Any) -> None:  # noqa: ANN401
        self.labels = labels
        self._fitted = fitted

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        if not texts:
            return []
        start = time.perf_counter()
        rows = np.asarray(self._fitted.predict_proba(list(texts)), np.float64).tolist()
        ms = 1000 * (time.perf_counter() - start) / max(1, len(texts))
        columns = [self.labels.index(str(label)) for label in self._fitted.classes_]
        answers = []
        for row in rows:
            p = [0.0] * len(self.labels)
            for column, value in zip(columns, row, strict=True):
                p[column] = value
            label = self.labels[max(range(len(p)), key=p.__getitem__)]
            answers.append(Prediction(label, dict(zip(self.labels, p, strict=True)), ms))
        return answers


def tfidf(lesson: Lesson) -> Classifier:
    """Logistic regression on tf-idf of words and pairs of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
    texts, labels = _columns(lesson)
    return Pipeline(lesson.labels, make_pipeline(words, _regression()).fit(texts, labels))


def vectors_and_regression(lesson: Lesson) -> Classifier:
    """Logistic regression on the sentence vectors that top-k looks for neighbours with."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    texts, labels = _columns(lesson)
    regression = _regression().fit(vectors_of(texts), labels)
    fitted = make_pipeline(FunctionTransformer(embedder().embed), regression)
    return Pipeline(lesson.labels, fitted)


def setfit(lesson: Lesson) -> Classifier:
    """Contrastive tuning of the sentence model, then a regression (Tunstall et al. 2022).

    Raises:
        TuneshotError: the library is not installed.
    """
    try:
        from setfit import SetFitModel, Trainer, TrainingArguments
    except ImportError as error:
        raise TuneshotError(
            "setfit is not installed; run: pip install 'tuneshot[setfit]'"
        ) from error
    from datasets import Dataset
    from sklearn.linear_model import LogisticRegression

    texts, labels = _columns(lesson)
    model = SetFitModel(fresh_sentence_model(), LogisticRegression())
    # It writes its progress to stdout, where our results are.
    with TemporaryDirectory() as scratch, redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        arguments = TrainingArguments(
            output_dir=scratch, num_iterations=20, num_epochs=1, batch_size=16, seed=lesson.seed,
            report_to="none", show_progress_bar=False, save_strategy="no",
        )  # fmt: skip
        rows = Dataset.from_dict({"text": texts, "label": labels})
        Trainer(model, arguments, train_dataset=rows).train()
    return Pipeline(lesson.labels, _SetFit(model))


class _SetFit:
    """SetFit's model with scikit-learn's names."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401
        self.classes_ = model.model_head.classes_
        self._model = model

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        return np.asarray(self._model.predict_proba(texts, as_numpy=True))


def fresh_sentence_model() -> Any:  # noqa: ANN401
    """A copy of the sentence model that may be trained."""
    return SentenceEmbedder()._encoder


def _regression() -> Any:  # noqa: ANN401
    """The one that reads words or vectors; rare labels weigh more."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=10, class_weight="balanced", max_iter=2000)


def _columns(lesson: Lesson) -> tuple[list[str], list[str]]:
    """Texts and labels."""
    return [e.text for e in lesson.labelled], [e.label for e in lesson.labelled]


# --- the table ----------------------------------------------------------------------------------

# Names of selectors where their own are not words.
_SPOKEN = {
    "topk": "top-k",
    "balanced_random": "balanced random",
    "votek": "one list by vote-k",
    "votek_two_stage": "two-stage vote-k",
    "mmr": "MMR",
    "dpp": "DPP",
    "bm25": "BM25",
    "mdl": "MDL",
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
    # What vote-k picks to be labelled is good for whom?
    "fine_tuned_votek": Method(
        "fine-tuned, last block, labels by vote-k",
        "fine_tuned",
        partial(from_seen, partial(fine_tune, "last_block")),
        chooses="votek",
    ),
    **{
        f"few_shot_{selector}": Method(
            f"few-shot, {_SPOKEN.get(selector, selector)}",
            "few_shot",
            partial(few_shot, selector),
            asks_lm=True,
            embeds=True,
        )
        for selector in SELECTORS
        if selector not in ("zero", "knn", "votek_pool")
    },
    "few_shot_votek_pool": Method(
        "few-shot, top-k, labels by vote-k",
        "few_shot",
        partial(few_shot, "topk"),
        chooses="votek",
        asks_lm=True,
        embeds=True,
    ),
    "knn": Method("vote of the nearest", "other", partial(few_shot, "knn"), embeds=True),
    "knn_votek": Method(
        "vote of the nearest, labels by vote-k",
        "other",
        partial(few_shot, "knn"),
        chooses="votek",
        embeds=True,
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
    "zero": Method("zero-shot", "baseline", zero_shot, chooses="", asks_lm=True),
    "majority": Method("always the commonest label", "baseline", majority),
}
