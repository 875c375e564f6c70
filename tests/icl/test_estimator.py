"""The few-shot classifier among scikit-learn's own tools."""

import inspect
import pickle
from dataclasses import fields

import numpy as np
import pytest

from clfcore.data.split import UnusableInput
from clfcore.errors import TuneshotError
from icl.prompt.tasks import task_with_labels
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig
from tests.support.doubles import EXAMPLES, CountingLM, HashedWords, Sayer
from tests.support.lazy import lazy

sklearn_base = lazy("sklearn.base")
model_selection = lazy("sklearn.model_selection")
pipeline = lazy("sklearn.pipeline")
preprocessing = lazy("sklearn.preprocessing")
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
    own = {"task", "lm", "base_url", "embedder", "tune", "reads", "random_state"}
    assert parameters.keys() - own == {field.name for field in fields(FewShotConfig)} - {"seed"}
    for field in fields(FewShotConfig):
        if field.name not in ("options", "seed"):
            assert parameters[field.name].default == field.default


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


@pytest.mark.parametrize("selector", SELECTORS)
def test_with_every_selector_a_fitted_one_is_pickled_and_answers_the_same(selector):
    fitted = estimator(selector=selector).fit(TEXTS, LABELS)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


@pytest.mark.parametrize("make", [lambda: 3, lambda: np.int64(3), lambda: np.random.RandomState(3)])
def test_the_same_random_state_shows_the_same_messages(make):
    shown = [
        estimator(selector="random", random_state=make()).fit(TEXTS, LABELS)
        .few_shot_.prompt("hello").text for _ in range(2)
    ]  # fmt: skip
    assert shown[0] == shown[1]
    assert estimator(selector="random", random_state=None).fit(TEXTS, LABELS).score(TEXTS, LABELS)


def test_a_setting_that_is_not_allowed_is_refused_when_it_is_fitted():
    with pytest.raises(TuneshotError, match="unknown selector 'nearest'"):
        estimator(selector="nearest").fit(TEXTS, LABELS)


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        ("win a prize", LABELS, "X is one string; give a list of texts"),
        ([None, *TEXTS[1:]], LABELS, "the text is missing"),
        (TEXTS, LABELS[:-1], "X has 10 texts and y has 9 labels"),
        (TEXTS, ["spam"] * 10, "all texts are of one class"),
        (TEXTS, [*LABELS[:-1].tolist(), 0], "labels are of several kinds: text"),
    ],
)
def test_texts_and_labels_are_checked_as_for_fine_tuning(texts, labels, message):
    with pytest.raises(UnusableInput, match=message):
        estimator(selector="knn").fit(texts, labels)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("win a prize", "X is one string"),
        ([np.nan], "the text is missing"),
        ([[1, 2]], "2 columns"),
    ],
)
def test_what_is_no_list_of_texts_is_refused_when_it_is_asked_about(wrong, message):
    fitted = estimator(selector="knn").fit(TEXTS, LABELS)
    for ask in (fitted.predict, fitted.predict_proba):
        with pytest.raises(UnusableInput, match=message):
            ask(wrong)


def test_weights_are_refused_because_nothing_is_trained():
    with pytest.raises(UnusableInput, match="sample_weight has nothing to weigh; leave it out"):
        estimator(selector="knn").fit(TEXTS, LABELS, sample_weight=np.ones(10))


def test_an_answer_that_y_lacks_is_equal_shares():
    """The model is certain of a label that no training message has."""
    kept = LABELS != "ham"
    texts, labels = np.append(TEXTS[kept], "bank news"), np.append(LABELS[kept], "bank")
    task = task_with_labels("mine", ("bank", "ham", "spam"))
    fitted = estimator(task=task, lm=Sayer("ham")).fit(texts, labels)
    np.testing.assert_array_equal(fitted.predict_proba(["hello"]), [[0.5, 0.5]])


def test_a_reply_that_names_no_label_is_said_and_is_never_right():
    fitted = estimator(lm=Sayer("It is hard to say.")).fit(TEXTS, LABELS)
    with pytest.warns(UserWarning, match="10 of 10 replies named no label.*chat=True may help"):
        assert fitted.score(TEXTS, LABELS) == 0
    with pytest.warns(UserWarning, match="1 of 1 replies named no label"):
        np.testing.assert_array_equal(fitted.predict_proba(["hello"]), [[0.5, 0.5]])
    certain = estimator(lm=Sayer("spam")).fit(TEXTS, LABELS)
    assert certain.score(TEXTS, LABELS) == 0.4
    assert certain.score(TEXTS, LABELS, np.where(LABELS == "spam", 3, 1)) == 12 / 18
    with pytest.raises(UnusableInput, match="X has 10 texts and y has 2 labels"):
        certain.score(TEXTS, LABELS[:2])
    with pytest.raises(UnusableInput, match="of no texts there is no accuracy"):
        certain.score([], [])
