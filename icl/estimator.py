"""Few-shot classification for scikit-learn: to ``fit``, to ``clone``, to put into a pipeline.

from icl.estimator import FewShotClassifier

FewShotClassifier(k=4).fit(texts, labels).predict_proba(["You won!", "See you at 8"])
"""

import warnings
from collections.abc import Sequence
from dataclasses import KW_ONLY, MISSING, fields, make_dataclass
from functools import partial
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from clfcore.data.arrays import (
    check_labelled,
    check_length,
    check_texts,
    check_weights,
    read_column,
)
from clfcore.data.split import UnusableInput
from icl.answering import FewShotPrediction
from icl.few_shot import FewShot
from icl.prompt.tasks import task_with_labels
from icl.settings import FewShotConfig
from icl.tuning.race import USUAL_READS
from icl.tuning.tune import tune

SETTINGS = [field for field in fields(FewShotConfig) if field.name != "seed"]

# The constructor: a setting is written down once, as a field of FewShotConfig, and is a parameter
# here with the same default. A mapping's default is None, as scikit-learn compares defaults.
_Parameters: Any = make_dataclass(
    "_Parameters",
    [
        ("task", "Task | str | None", None),
        ("_", KW_ONLY),
        ("lm", "LM | str | None", None),
        ("base_url", "str | None", None),
        ("embedder", "Embedder | None", None),
        ("tune", "bool", False),
        ("reads", "int", USUAL_READS),
        *((s.name, s.type, None if s.default is MISSING else s.default) for s in SETTINGS),
        ("random_state", "int | np.random.RandomState | None", 0),
    ],
    eq=False,
    repr=False,
)


class FewShotClassifier(ClassifierMixin, BaseEstimator, _Parameters):  # type: ignore[misc]
    """A language model that is shown some of the training messages with each question.

    ``fit`` trains nothing: it embeds the messages and keeps them as the pool. The prior of
    ``calibration="batch"`` and the picks of some selectors are made of their texts.

    Args:
        task: a task or the name of one, whose labels are those of ``y``; ``None``: a plain format
            in which each label is its own word.
        lm: a language model or its name, see ``open_lm``; ``None``: the bundled one. Clones share
            it. To other processes and files goes its name, and with what they read they load it
            again: never its weights, and never a key.
        base_url: of the server that has the model named ``lm``, such as vLLM's or llama.cpp's.
        embedder: what embeds messages; ``None``: the bundled one.
        tune: whether ``fit`` chooses settings by ``X`` and ``y``, see ``icl.tuning.tune``; those
            that are given are kept without evidence that others are better.
        reads: how often the language model may be asked for that.
        selector: this and ``options``, ``k``, … are the settings of ``FewShotConfig``, which says
            what each means.
        random_state: the seed of all that is random; or as scikit-learn has it.

    Attributes:
        classes_: the labels, sorted, in their own dtype; the columns of ``predict_proba``.
        few_shot_: the classifier itself; its ``predict`` says what each answer rests on, its
            ``tuned`` what was chosen and why.
    """

    def fit(self, X: object, y: object, **refused: object) -> Self:
        """Takes the texts ``X`` with their labels ``y`` as the pool.

        Args:
            X: (N,) strings: a list, an array, a pandas Series; or one column of them, (N, 1).
            y: (N,) labels: all text, all whole numbers, or all booleans.
            refused: ``sample_weight`` and the like, for there is nothing that it could weigh.
                (Not a parameter of its own, so that scikit-learn's ensembles offer none.)

        Raises:
            UnusableInput: not texts, not at least two labels, labels of several types, weights.
            TuneshotError: as ``FewShot`` and its ``fit``.
        """
        if given := [name for name, value in refused.items() if value is not None]:
            raise UnusableInput(
                f"FewShotClassifier shows messages and trains nothing, so {', '.join(given)} has "
                "nothing to weigh; leave it out, or fine-tune with TuneshotClassifier"
            )
        data = check_labelled(X, y)
        task = task_with_labels("y", data.names) if self.task is None else self.task
        settings = {setting.name: getattr(self, setting.name) for setting in SETTINGS}
        settings["options"] = self.options or {}
        self.few_shot_ = FewShot(
            task,
            lm=self.lm,
            base_url=self.base_url,
            embedder=self.embedder,
            tune=partial(tune, reads=self.reads) if self.tune else None,
            seed=self._seed(),
            **settings,
        ).fit(data.examples)
        self.classes_, self._names = data.classes, data.names
        return self

    def predict_proba(self, X: object) -> np.ndarray:
        """Probabilities of the labels.

        Args:
            X: (N,) strings, as for ``fit``.

        Returns:
            (N, K) float64 in the order of ``classes_``; each row sums to 1. A label of the task
            that ``y`` lacked has no column; an answer that is only that label is equal shares, and
            so is a reply that names no label, of which a warning says how many there are.

        Raises:
            UnusableInput: not texts.
            NotFittedError: it has not been fitted.
            TuneshotError: as ``FewShot.predict``.
        """
        return self._shares(self._answers(X))

    def predict(self, X: object) -> np.ndarray:
        """Labels: (N,) in the dtype of ``classes_``; raises as ``predict_proba``.

        A reply that names no label has no class: a warning says how many there are, and the first
        class stands in their place.
        """
        best = self._shares(self._answers(X)).argmax(axis=1)
        return self.classes_[best]

    def score(self, X: object, y: object, sample_weight: object = None) -> float:
        """Accuracy. A reply that names no label is never right.

        Args:
            X: (N,) strings, as for ``fit``.
            y: (N,) the right labels.
            sample_weight: (N,) how much each text counts; ``None``: all the same.

        Raises:
            UnusableInput: not texts, or not as many labels.
            NotFittedError: it has not been fitted.
            TuneshotError: as ``FewShot.predict``.
        """
        answers = self._answers(X)
        expected = read_column(y, "y", "labels")
        check_length(len(expected), "y", "labels", len(answers))
        if not answers:
            raise UnusableInput("of no texts there is no accuracy; give at least one")
        best = self.classes_[self._shares(answers).argmax(axis=1)].tolist()
        right = [
            answer.label is not None and label == wanted
            for answer, label, wanted in zip(answers, best, expected, strict=True)
        ]
        return float(np.average(right, weights=check_weights(sample_weight, len(right))))

    def _seed(self) -> int:
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _answers(self, X: object) -> list[FewShotPrediction]:
        check_is_fitted(self)
        answers = self.few_shot_.predict(check_texts(X))
        if silent := sum(answer.label is None for answer in answers):
            warnings.warn(
                f"{silent} of {len(answers)} replies named no label: they count as equal shares, "
                "and as wrong in score; few_shot_.predict shows them, and chat=True may help",
                stacklevel=3,
            )
        return answers

    def _shares(self, answers: Sequence[FewShotPrediction]) -> np.ndarray:
        """Probabilities of the classes, (N, K)."""
        raw = np.array([[answer.probabilities[name] for name in self._names] for answer in answers])
        raw = raw.reshape(-1, len(self._names))  # of no texts, too
        total = raw.sum(axis=1, keepdims=True)  # 0 where the model is sure of a label y lacks
        return np.divide(raw, total, out=np.full_like(raw, 1 / len(self._names)), where=total > 0)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags
