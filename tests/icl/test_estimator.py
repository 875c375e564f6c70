"""The few-shot classifier among scikit-learn's own tools."""

import inspect
from dataclasses import fields

import numpy as np
import pytest

from clfcore.errors import TuneshotError
from icl.settings import FewShotConfig
from tests.support.doubles import EXAMPLES, CountingLM, HashedWords
from tests.support.lazy import lazy

sklearn_base = lazy("sklearn.base")
model_selection = lazy("sklearn.model_selection")
pipeline = lazy("sklearn.pipeline")
preprocessing = lazy("sklearn.preprocessing")
estimator_checks = lazy("sklearn.utils.estimator_checks")
ours = lazy("icl.estimator")

TEXTS = np.array([example.text for example in EXAMPLES])
LABELS = np.array([example.label for example in EXAMPLES])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path))


def estimator(**settings):
    settings = {"lm": CountingLM(), "embedder": HashedWords(), "k": 2, **settings}
    return ours.FewShotClassifier(**settings)


def test_it_predicts_labels_with_probabilities_in_the_order_of_classes():
    fitted = estimator().fit(TEXTS, LABELS)
    assert fitted.classes_.tolist() == ["ham", "spam"]
    probabilities = fitted.predict_proba(["win a prize", "see you"])
    assert probabilities.shape == (2, 2)
    assert probabilities.sum(axis=1) == pytest.approx([1, 1])
    assert set(fitted.predict(["win a prize", "see you"])) <= {"ham", "spam"}
    assert fitted.predict_proba([]).shape == (0, 2)


def test_labels_keep_their_type():
    fitted = estimator(selector="knn", lm=None).fit(TEXTS, (LABELS == "spam").astype(int))
    assert fitted.predict(["claim your free cash prize"]).tolist() == [1]


def test_every_few_shot_setting_is_a_parameter_with_the_same_default():
    parameters = inspect.signature(ours.FewShotClassifier).parameters
    own = {"task", "lm", "embedder", "random_state"}
    assert parameters.keys() - own == {field.name for field in fields(FewShotConfig)} - {"seed"}
    for field in fields(FewShotConfig):
        if field.name not in ("options", "seed"):
            assert parameters[field.name].default == field.default


@pytest.mark.parametrize("check", ["check_mixin_order", "check_estimator_cloneable",
                                   "check_estimator_repr", "check_get_params_invariance",
                                   "check_set_params", "check_no_attributes_set_in_init",
                                   "check_parameters_default_constructible",
                                   "check_do_not_raise_errors_in_init_or_set_params"])  # fmt: skip
def test_it_keeps_the_contract_of_an_estimator(check):
    getattr(estimator_checks, check)("FewShotClassifier", ours.FewShotClassifier())


def test_a_clone_is_equal_and_not_fitted():
    first = estimator(selector="votek_pool", options={"annotate": 5}, order="random")
    params, parts = first.get_params(), {"lm", "embedder"}
    again = sklearn_base.clone(first).get_params()
    assert {n: again[n] for n in params.keys() - parts} == {
        n: params[n] for n in params.keys() - parts
    }
    assert not hasattr(sklearn_base.clone(first.fit(TEXTS, LABELS)), "few_shot_")


def test_it_works_in_cross_validation_a_search_and_a_pipeline():
    scores = model_selection.cross_val_score(
        estimator(selector="knn", lm=None), TEXTS, LABELS, cv=2
    )
    assert len(scores) == 2
    search = model_selection.GridSearchCV(estimator(selector="knn", lm=None), {"k": [1, 3]}, cv=2)
    assert search.fit(TEXTS, LABELS).best_params_["k"] in (1, 3)
    lower = preprocessing.FunctionTransformer(lambda texts: [text.lower() for text in texts])
    pipe = pipeline.make_pipeline(lower, estimator(selector="knn", lm=None))
    assert pipe.fit(TEXTS, LABELS).score(TEXTS, LABELS) > 0.5


def test_a_setting_that_is_not_allowed_is_refused_when_it_is_fitted():
    with pytest.raises(TuneshotError, match="unknown selector 'nearest'"):
        estimator(selector="nearest").fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match="inconsistent"):
        estimator().fit(TEXTS, LABELS[:-1])
