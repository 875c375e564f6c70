"""The methods that are compared, and how each of them learns from some labelled messages.

All of them get a ``MethodInput`` and return a ``Classifier`` of all labels of the task, even if the
few messages that were labelled show only some of them.
"""

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from io import StringIO
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from clfcore.data.split import content_hash, distinct_per_label
from clfcore.errors import missing_extra_explained
from clfcore.training.settings import settings_for
from clfcore.types import Classifier, Example, Prediction
from icl.few_shot import FewShot
from icl.lm.connection import DEFAULT_CONNECTION, Connection
from icl.lm.open import open_lm
from icl.pool.embed import DEFAULT_EMBEDDER, SentenceEmbedder, embed_cached
from icl.pool.pool import Pool
from icl.prompt.tasks import Task
from icl.selectors.table import SELECTORS

if TYPE_CHECKING:
    from clfcore.training.recipe import TrainingResult


LEAST_STEPS = 100  # of gradient descent, however few the messages; see ``fine_tune``
CALIBRATION_SHARE = 0.1  # of the labelled messages, where there are enough of them
ENOUGH_PER_LABEL = 10  # different messages of a label, of which some can be spared to calibrate


@dataclass(frozen=True)
class MethodInput:
    """What a method may learn from, and with what.

    Attributes:
        labelled: the messages whose labels it may see, all it may see of the task.
        task: labels and prompt format.
        base: what fine-tuning starts from, see ``load_base``.
        lm: the language model that is shown examples, see ``open_lm``.
        k: how many of them; also the neighbours that vote.
        chat: whether the prompt is a chat; ``None``: as the model prefers.
        prompt_tokens: how long a prompt may be; 0: as the model likes it.
        connection: how the server of a model behind an API is reached.
        order: how they stand in the prompt, a key of ``ARRANGEMENTS``.
        embedder: what finds similar messages, see ``embedder``.
        seed: of everything random.
        rows: of the pool, where the labelled messages stand; for records.
    """

    labelled: tuple[Example, ...]
    task: Task
    base: str
    lm: str
    k: int = 4
    chat: bool | None = None
    prompt_tokens: int = 0
    connection: Connection = DEFAULT_CONNECTION
    order: str = "similar_last"
    embedder: str = DEFAULT_EMBEDDER
    seed: int = 0
    rows: tuple[int, ...] = ()

    @cached_property
    def seen(self) -> tuple[str, ...]:
        """Those of them that the labelled messages show, in the task's order."""
        shown = {example.label for example in self.labelled}
        return tuple(label for label in self.task.labels if label in shown)


@dataclass(frozen=True)
class Method:
    """A way to make a classifier of labelled messages.

    Attributes:
        name: for people.
        family: ``fine_tuned``, ``few_shot``, ``other`` or ``baseline``.
        learn: makes a classifier.
        chooses: what picks the messages to label: ``random``, ``votek``, or ``""`` if none
            are needed.
        asks_lm: whether a language model reads prompts.
        embeds: whether it uses vectors of the labelled messages.
        most: labelled messages with which it is still run.
    """

    name: str
    family: str
    learn: Callable[[MethodInput], Classifier]
    chooses: str = "random"
    asks_lm: bool = False
    embeds: bool = False
    most: int = sys.maxsize

    @property
    def uses_vectors(self) -> bool:
        """Whether sentence vectors decide what it learns from, shows or answers."""
        return self.embeds or self.chooses == "votek"


# --- what has nothing to learn ------------------------------------------------------------------


class MajorityClass:
    """Always the commonest label; probabilities are the labels' shares, (n + 1) / (N + C)."""

    def __init__(self, inputs: MethodInput) -> None:
        self.labels = inputs.task.labels
        counts = Counter(example.label for example in inputs.labelled)
        total = len(inputs.labelled) + len(self.labels)
        self._p = {label: (counts[label] + 1) / total for label in self.labels}
        self._label = max(self.labels, key=self._p.__getitem__)  # a tie: the earlier label

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        return [Prediction(self._label, self._p, ms=0.0) for _ in texts]


@dataclass(frozen=True)
class WithAllLabels:
    """A classifier that knows some of the labels; the others get probability 0."""

    classifier: Classifier
    labels: tuple[str, ...]

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        return [
            replace(
                answer, probabilities={n: answer.probabilities.get(n, 0.0) for n in self.labels}
            )
            for answer in self.classifier.predict(texts)
        ]


def from_seen(learn: Callable[[MethodInput], Classifier], inputs: MethodInput) -> Classifier:
    """``learn`` for methods that need two labels and see only those of the messages."""
    if len(inputs.seen) < 2:
        return MajorityClass(inputs)
    classifier, labels = learn(inputs), inputs.task.labels
    return classifier if inputs.seen == labels else WithAllLabels(classifier, labels)


# --- fine-tuning --------------------------------------------------------------------------------


def fine_tune(layers: str, inputs: MethodInput) -> Classifier:
    """Fine-tunes the base on the labelled messages.

    Nothing but these may be used, so the part to calibrate on is taken from them. Of fewer than
    ``ENOUGH_PER_LABEL`` of a label no part can be spared: the model is then calibrated on what it
    has learned from, which Platt's targets, (n + 1) / (n + 2) of n messages, keep from being too
    sure. Few messages are shown more often, as so few steps would teach nothing (Mosbach et al.
    2021).
    """
    return fine_tune_with_history(layers, inputs).classifier


def fine_tune_with_history(layers: str, inputs: MethodInput) -> "TrainingResult":
    """As ``fine_tune``, with the history; needs two labels at least."""
    from clfcore.data.split import validation_split
    from clfcore.training.loop import planned_steps
    from clfcore.training.recipe import fine_tune_on
    from clfcore.weights.bases import load_base

    examples, labels = list(inputs.labelled), inputs.seen
    train, val = examples, examples
    if min(distinct_per_label(examples).values()) >= ENOUGH_PER_LABEL:
        train, val = validation_split(examples, CALIBRATION_SHARE, inputs.seed)
    # Undersampling, the lecture's way, would throw away labels that were paid for.
    config = settings_for(
        inputs.base, layers=layers, seed=inputs.seed, balance="oversample", balance_ratio=0.5
    )
    once = planned_steps([labels.index(example.label) for example in train], config)
    if once < LEAST_STEPS:
        config = replace(config, epochs=config.epochs * math.ceil(LEAST_STEPS / once))
    start = load_base(inputs.base, len(labels), config.weights, seed=inputs.seed)
    data = {"labelled": {"messages": len(examples), "sha256": content_hash(examples)}}
    return fine_tune_on(
        start, train, val, labels, config, about={"base": inputs.base, "data": data}
    )


# --- few-shot -----------------------------------------------------------------------------------


def few_shot(selector: str, inputs: MethodInput) -> Classifier:
    """Shows the language model some of the labelled messages, chosen by a selector."""
    lm = (
        None
        if SELECTORS[selector].votes
        else open_lm(inputs.lm, chat=inputs.chat, **inputs.connection.given)
    )
    # A pool is never empty; zero-shot shows nothing of it.
    labelled = inputs.labelled or (Example("-", inputs.task.labels[0]),)
    k = 0 if selector == "zero" else min(inputs.k, len(inputs.labelled))
    return FewShot(
        inputs.task, selector, lm=lm, embedder=embedder(inputs.embedder), k=k, order=inputs.order,
        chat=inputs.chat, prompt_tokens=inputs.prompt_tokens, seed=inputs.seed,
    ).fit(pool_of(labelled, inputs.embedder))  # fmt: skip


@lru_cache(maxsize=4)
def embedder(name: str = DEFAULT_EMBEDDER) -> SentenceEmbedder:
    """The one of this name, see ``SentenceEmbedder``; all methods share it."""
    return SentenceEmbedder(name)


def pool_of(examples: Sequence[Example], name: str = DEFAULT_EMBEDDER) -> Pool:
    """A pool, embedded by ``embedder(name)``; vectors come from the disk where they are known."""
    return Pool.build(examples, embedder(name))


def vectors_of(texts: Sequence[str], name: str = DEFAULT_EMBEDDER) -> np.ndarray:
    """(N, d) float32 unit vectors of ``embedder(name)``; from the disk where they are known."""
    return embed_cached(embedder(name), texts)


def seconds_to_embed(texts: Sequence[str], name: str = DEFAULT_EMBEDDER) -> float:
    """What remembered vectors of ``texts`` have cost, from the pace of some of them."""
    sample = list(texts[:: max(1, len(texts) // 64)])[:64]
    if not sample:
        return 0.0
    embedder(name).embed(sample[:1])  # loads the model
    start = time.perf_counter()
    embedder(name).embed(sample)
    return (time.perf_counter() - start) * len(texts) / len(sample)


# --- others -------------------------------------------------------------------------------------


class SklearnClassifier:
    """A fitted classifier of texts that gives probabilities as scikit-learn's do.

    Args:
        labels: all of the task.
        classes: those it was fitted on, in the order of its columns.
        predict_proba: N texts -> (N, classes) probabilities.
    """

    def __init__(
        self,
        labels: tuple[str, ...],
        classes: Iterable[str],
        predict_proba: Callable[[list[str]], Any],
    ) -> None:
        self.labels = labels
        self._columns = [labels.index(str(label)) for label in classes]
        self._predict_proba = predict_proba

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        if not texts:
            return []
        start = time.perf_counter()
        p = np.zeros((len(texts), len(self.labels)))
        p[:, self._columns] = self._predict_proba(list(texts))
        ms = 1000 * (time.perf_counter() - start) / len(texts)
        return [
            Prediction(self.labels[best], dict(zip(self.labels, row, strict=True)), ms)
            for row, best in zip(p.tolist(), p.argmax(axis=1).tolist(), strict=True)
        ]


def tfidf(inputs: MethodInput) -> Classifier:
    """Logistic regression on tf-idf of words and pairs of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
    fitted = make_pipeline(words, _regression()).fit(*_texts_and_labels(inputs))
    return SklearnClassifier(inputs.task.labels, fitted.classes_, fitted.predict_proba)


def vectors_and_regression(inputs: MethodInput) -> Classifier:
    """Logistic regression on the sentence vectors by which top-k finds neighbours."""
    texts, labels = _texts_and_labels(inputs)
    fitted = _regression().fit(vectors_of(texts, inputs.embedder), labels)
    return SklearnClassifier(
        inputs.task.labels,
        fitted.classes_,
        lambda texts: fitted.predict_proba(embedder(inputs.embedder).embed(texts)),
    )


def setfit(inputs: MethodInput) -> Classifier:
    """Contrastive tuning of the sentence model, then a regression (Tunstall et al. 2022).

    Raises:
        TuneshotError: the library is not installed.
    """
    with missing_extra_explained("the method setfit"):
        from datasets import Dataset
        from setfit import SetFitModel, Trainer, TrainingArguments
    from sklearn.linear_model import LogisticRegression

    texts, labels = _texts_and_labels(inputs)
    model = SetFitModel(
        SentenceEmbedder(inputs.embedder)._encoder, LogisticRegression()
    )  # a copy to be trained
    # It writes its progress to stdout, where our results are.
    with TemporaryDirectory() as scratch, redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        arguments = TrainingArguments(
            output_dir=scratch, num_iterations=20, num_epochs=1, batch_size=16, seed=inputs.seed,
            report_to="none", show_progress_bar=False, save_strategy="no",
        )  # fmt: skip
        rows = Dataset.from_dict({"text": texts, "label": labels})
        Trainer(model, arguments, train_dataset=rows).train()
    predict_proba = partial(model.predict_proba, as_numpy=True)
    return SklearnClassifier(inputs.task.labels, model.model_head.classes_, predict_proba)


def _regression() -> Any:  # noqa: ANN401
    """The one that reads words or vectors; rare labels weigh more."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=10, class_weight="balanced", max_iter=2000)


def _texts_and_labels(inputs: MethodInput) -> tuple[list[str], list[str]]:
    return [e.text for e in inputs.labelled], [e.label for e in inputs.labelled]


# --- the table ----------------------------------------------------------------------------------

# Names of selectors where their keys are not words.
_SELECTOR_NAMES = {
    "topk": "top-k",
    "balanced_random": "balanced random",
    "votek": "one list by vote-k",
    "votek_two_stage": "two-stage vote-k",
    "mmr": "MMR",
    "dpp": "DPP",
    "bm25": "BM25",
    "mdl": "MDL",
    "cone": "ConE",
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
    # To see which methods gain from the messages that vote-k picks to be labelled.
    "fine_tuned_votek": Method(
        "fine-tuned, last block, labels by vote-k",
        "fine_tuned",
        partial(from_seen, partial(fine_tune, "last_block")),
        chooses="votek",
    ),
    **{
        f"few_shot_{selector}": Method(
            f"few-shot, {_SELECTOR_NAMES.get(selector, selector)}",
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
    "zero": Method("zero-shot", "baseline", partial(few_shot, "zero"), chooses="", asks_lm=True),
    "majority": Method("always the commonest label", "baseline", MajorityClass),
}
