"""Few-shot classification for scikit-learn: to ``fit``, to ``clone``, to put into a pipeline.

from icl.estimator import FewShotClassifier

FewShotClassifier(k=4).fit(texts, labels).predict_proba(["You won!", "See you at 8"])
"""

from dataclasses import KW_ONLY, MISSING, fields, make_dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from clfcore.types import Example
from icl.few_shot import FewShot
from icl.prompt.tasks import task_with_labels
from icl.settings import FewShotConfig

SETTINGS = [field for field in fields(FewShotConfig) if field.name != "seed"]

# The constructor: a setting is written down once, as a field of FewShotConfig, and is a parameter
# here with the same default. A mapping's default is None, as scikit-learn compares defaults.
_Parameters: Any = make_dataclass(
    "_Parameters",
    [
        ("task", "Task | str | None", None),
        ("_", KW_ONLY),
        ("lm", "LM | str | None", None),
        ("embedder", "Embedder | None", None),
        *((s.name, s.type, None if s.default is MISSING else s.default) for s in SETTINGS),
        ("random_state", int, 0),
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
        lm: a language model or its name, see ``open_lm``; ``None``: the bundled one.
        embedder: what embeds messages; ``None``: the bundled one.
        selector: this and ``options``, ``k``, … are the settings of ``FewShotConfig``, which says
            what each means.
        random_state: an int; the seed of all that is random.

    Attributes:
        classes_: the labels, sorted, in their own dtype; the columns of ``predict_proba``.
        few_shot_: the classifier itself; its ``predict`` says what each answer rests on.
    """

    def fit(self, X: Any, y: Any) -> Self:  # noqa: ANN401 (scikit-learn's)
        """Takes the (N,) texts ``X`` with their labels ``y`` as the pool.

        Raises:
            TuneshotError: as ``FewShot`` and its ``fit``.
            ValueError: lengths differ, or these are no labels.
        """
        check_consistent_length(X, y)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        names = tuple(map(str, self.classes_))
        task = task_with_labels("own", names) if self.task is None else self.task
        settings = {setting.name: getattr(self, setting.name) for setting in SETTINGS}
        settings["options"] = self.options or {}
        self.few_shot_ = FewShot(
            task, lm=self.lm, embedder=self.embedder, seed=self.random_state, **settings
        ).fit([Example(str(text), str(label)) for text, label in zip(X, y, strict=True)])
        return self

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: ANN401
        """(N, classes) float64, columns as in ``classes_``; a label that ``y`` lacked has none."""
        check_is_fitted(self)
        names = list(map(str, self.classes_))
        raw = np.array(
            [
                [answer.probabilities[name] for name in names]
                for answer in self.few_shot_.predict(list(map(str, X)))
            ]
        ).reshape(-1, len(names))  # of no texts, too
        return raw / raw.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:  # noqa: ANN401
        """(N,) labels."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]
