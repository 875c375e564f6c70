"""What neither reads prompts nor trains a GPT: regressions on words and vectors, SetFit."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from typing import Any

import numpy as np

from clfcore.data.labels import labels_of_few_messages
from clfcore.errors import missing_extra_explained
from clfcore.scratch import scratch_folder
from clfcore.types import Classifier, Prediction
from icl.compare.learn.embedding import embedder, vectors_of
from icl.compare.learn.inputs import MethodInput
from icl.pool.embed import SentenceEmbedder

MOST_WEIGHTS = 8_000_000  # of words × labels: the regression's memory is some 200 bytes for each
LEAST_WORDS = 1_000


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

    words = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+",
        max_features=max(MOST_WEIGHTS // len(inputs.seen), LEAST_WORDS),
    )  # fmt: skip
    with labels_of_few_messages():
        fitted = make_pipeline(words, _regression()).fit(*_texts_and_labels(inputs))
    return SklearnClassifier(inputs.task.labels, fitted.classes_, fitted.predict_proba)


def vectors_and_regression(inputs: MethodInput) -> Classifier:
    """Logistic regression on the sentence vectors by which top-k finds neighbours."""
    texts, labels = _texts_and_labels(inputs)
    with labels_of_few_messages():
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
        SentenceEmbedder(inputs.embedder).sentence_transformer(), LogisticRegression()
    )  # a copy to be trained
    # It writes its progress to stdout, where our results are.
    with (
        scratch_folder("setfit") as scratch,
        redirect_stdout(StringIO()),
        redirect_stderr(StringIO()),
    ):
        arguments = TrainingArguments(
            output_dir=str(scratch), num_iterations=20, num_epochs=1, batch_size=16,
            seed=inputs.seed, report_to="none", show_progress_bar=False, save_strategy="no",
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
