"""The estimators on tables of numbers, which is what scikit-learn's own checks feed."""

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from clfcore.estimator import TuneshotClassifier
from icl.estimator import FewShotClassifier

STEPS = np.arange(-1.5, 2, 0.5)


def words(X: np.ndarray) -> list[str]:
    """A text for each row: a word for each step that a feature is above, so that near rows share
    many, and the number itself, so that different rows are different texts."""
    X = np.asarray(X, np.float64)
    passed = X[:, :, None] > STEPS  # (N, features, steps)
    return [
        " ".join(
            [
                f"{chr(97 + column % 26)}{step}"
                for column, step in zip(*np.nonzero(above), strict=True)
            ]
            + [f"{value:.9g}" for value in row]
        )
        for above, row in zip(passed, X, strict=True)
    ]


class OnNumbers:
    """Reads rows of numbers as texts; what is no such table is scikit-learn's to refuse."""

    def fit(self, X, y, **more):
        return super().fit(words(validate_data(self, X)), y, **more)

    def predict(self, X):
        return super().predict(self._words(X))

    def predict_proba(self, X):
        return super().predict_proba(self._words(X))

    def score(self, X, y, sample_weight=None):
        return super().score(self._words(X), y, sample_weight)

    def _words(self, X):
        check_is_fitted(self)
        if isinstance(X, list) and all(isinstance(row, str) for row in X):
            return X  # score asks predict
        return words(validate_data(self, X, reset=False))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = False, True
        return tags


class TunesNumbers(OnNumbers, TuneshotClassifier):
    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y, sample_weight=sample_weight)


class ShowsNumbers(OnNumbers, FewShotClassifier):
    pass
