"""What scikit-learn does with an estimator: both of them, with every kind of language model."""

import copy
import pickle
import threading
import warnings

import joblib
import numpy as np
import pytest

from clfcore.data.split import UnusableInput
from clfcore.errors import TuneshotError
from icl.shared import Shared, shared
from tests.support.doubles import (
    EXAMPLES,
    CountingLM,
    HashedWords,
    save_tiny_lm,
    save_tiny_trunk,
)
from tests.support.lazy import lazy
from tests.support.openai_server import OpenAIServer

pa = lazy("pyarrow")
pd = lazy("pandas")
sklearn_base = lazy("sklearn.base")
exceptions = lazy("sklearn.exceptions")
model_selection = lazy("sklearn.model_selection")
few_shot = lazy("icl.estimator")
fine_tuned = lazy("clfcore.estimator")
local = lazy("icl.lm.local")
api = lazy("icl.lm.api")
embed = lazy("icl.pool.embed")

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer")  # LiteLLM's

KEY = "sk-secret-0123456789"
CHAT, TEXT = "openai/some-model", "text-completion-openai/some-model"
TEXTS = [example.text for example in EXAMPLES]
LABELS = [example.label for example in EXAMPLES]


class Locked(Shared, CountingLM):
    """Somebody's own language model, which could not be copied or sent by itself."""

    def __init__(self, greeting="hello"):
        super().__init__()
        self.lock = threading.Lock()


class Places:
    """Where the models are: folders on this machine, a server."""

    def __init__(self, folder, url):
        self.url = url
        self.gpt2, self.llama = (
            str(save_tiny_lm(folder / kind, kind)) for kind in ("gpt2", "llama")
        )
        self.trunk = str(save_tiny_trunk(folder / "trunk"))


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    with OpenAIServer() as server:
        yield Places(tmp_path_factory.mktemp("models"), server.url)


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "TUNESHOT_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def shows(lm=None, **settings):
    return few_shot.FewShotClassifier(lm=lm, embedder=HashedWords(), k=2, **settings)


def tunes(base, **settings):
    return fine_tuned.TuneshotClassifier(base, validation_share=0.5, **settings)


FEW_SHOT = {
    "no language model": lambda at: shows(selector="knn"),
    "local, an object": lambda at: shows(local.LocalLM(at.llama)),
    "local, a name": lambda at: shows(at.gpt2),
    "local, in bfloat16": lambda at: shows(f"bf16:{at.gpt2}"),
    "chat API, an object": lambda at: shows(api.ApiLM(CHAT, at.url, retries=1)),
    "chat API, a name": lambda at: shows(f"api:{CHAT}", base_url=at.url),
    "text API, an object": lambda at: shows(api.ApiLM(TEXT, at.url)),
    "text API, a name": lambda at: shows(f"api:{TEXT}", base_url=at.url),
    "of one's own": lambda at: shows(CountingLM()),
    "of one's own, with a lock": lambda at: shows(Locked("good evening")),
    "that reads the pool first": lambda at: shows(
        local.LocalLM(at.llama), selector="mdl", options={"trials": 1}
    ),
}
FINE_TUNED = {
    "a head on a GPT-2": lambda at: tunes(at.trunk),
    "a head on a GPT-2 with tokens of its own": lambda at: tunes(at.gpt2),
    "a head on a Llama": lambda at: tunes(at.llama, balance="none"),
    "the last block of a GPT-2": lambda at: tunes(at.trunk, layers="last_block", epochs=1),
    "the last block of a Llama": lambda at: tunes(at.llama, layers="last_block", epochs=1),
    "LoRA on a Llama": lambda at: tunes(at.llama, layers="lora", rank=2, epochs=1),
}
ESTIMATORS = {
    **{f"few-shot: {name}": make for name, make in FEW_SHOT.items()},
    **{f"fine-tuned: {name}": make for name, make in FINE_TUNED.items()},
}


@pytest.fixture(params=ESTIMATORS.values(), ids=ESTIMATORS)
def estimator(request, places):
    return request.param(places)


# --- copies, files, processes -------------------------------------------------------------------


def test_a_clone_has_the_same_parameters_and_has_learnt_nothing(estimator):
    clone = sklearn_base.clone(estimator.fit(TEXTS, LABELS))
    ours, theirs = (
        {name: value for name, value in each.get_params().items() if name not in ("lm", "embedder")}
        for each in (estimator, clone)
    )
    assert ours == theirs
    with pytest.raises(exceptions.NotFittedError):
        clone.predict(TEXTS)


def test_parameters_can_be_read_and_set_again(estimator):
    params = estimator.get_params()
    assert type(estimator)().set_params(**params).get_params() == params


def test_it_can_be_cross_validated(estimator):
    scores = model_selection.cross_val_score(
        estimator, TEXTS, LABELS, cv=2, error_score="raise", scoring="neg_log_loss"
    )
    assert np.isfinite(scores).all()


def test_a_fitted_one_dumps_and_loads_and_answers_the_same(estimator, places, tmp_path):
    estimator.fit(TEXTS, LABELS)
    joblib.dump(estimator, tmp_path / "fitted")
    again = joblib.load(tmp_path / "fitted")
    np.testing.assert_allclose(
        again.predict_proba(TEXTS), estimator.predict_proba(TEXTS), atol=1e-5
    )
    assert again.predict(TEXTS).tolist() == estimator.predict(TEXTS).tolist()
    assert KEY.encode() not in (tmp_path / "fitted").read_bytes()


def test_it_can_be_cross_validated_by_threads(estimator):
    with joblib.parallel_config("threading"):
        scores = model_selection.cross_val_score(
            estimator, TEXTS, LABELS, cv=2, n_jobs=2, error_score="raise", scoring="neg_log_loss"
        )
    assert np.isfinite(scores).all()


@pytest.mark.slow
def test_two_processes_give_the_scores_of_one(estimator):
    def scores(processes):
        return model_selection.cross_val_score(
            estimator, TEXTS, LABELS, cv=2, n_jobs=processes, error_score="raise",
            scoring="neg_log_loss",
        )  # fmt: skip

    np.testing.assert_allclose(scores(2), scores(1), atol=1e-4)


# --- a language model travels by its name -------------------------------------------------------

HEAVY = {
    "local": lambda at: local.LocalLM(at.gpt2),
    "local, in bfloat16": lambda at: local.LocalLM(at.llama, "bfloat16"),
    "chat API": lambda at: api.ApiLM(CHAT, at.url, seed=7, timeout=3, cache=False),
    "text API": lambda at: api.ApiLM(TEXT, base_url=at.url),
    "of one's own": lambda at: Locked("good evening"),
    "embedder": lambda at: embed.SentenceEmbedder(at.gpt2),
}


@pytest.fixture(params=HEAVY.values(), ids=HEAVY)
def heavy(request, places):
    return request.param(places)


def test_a_copy_of_a_model_is_the_model(heavy):
    assert copy.copy(heavy) is heavy
    assert copy.deepcopy({"lm": [heavy]})["lm"][0] is heavy
    assert sklearn_base.clone(few_shot.FewShotClassifier(lm=heavy)).lm is heavy


def test_a_pickle_of_a_model_has_its_settings_and_neither_weights_nor_key(heavy):
    data = pickle.dumps(heavy)
    assert len(data) < 1000
    assert KEY.encode() not in data
    again = pickle.loads(data)
    assert (type(again), again.name, again.settings) == (type(heavy), heavy.name, heavy.settings)


def test_in_one_process_a_model_is_loaded_once_however_often_it_is_read(heavy):
    one, two = (pickle.loads(pickle.dumps(heavy)) for _ in range(2))
    assert one is two
    assert shared(type(heavy), **heavy.settings) is one


def test_a_model_in_a_folder_is_found_from_another_working_directory(places, tmp_path, monkeypatch):
    monkeypatch.chdir(places.gpt2)
    data = pickle.dumps(local.LocalLM("."))
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(data).settings["model"] == places.gpt2


def test_a_model_that_is_gone_is_one_line_when_it_is_read(tmp_path):
    data = pickle.dumps(local.LocalLM(str(save_tiny_lm(tmp_path / "here"))))
    (tmp_path / "here").rename(tmp_path / "there")
    with pytest.raises(TuneshotError, match=r"cannot load the language model .*here"):
        pickle.loads(data)


def test_the_key_comes_from_the_environment_again(places, monkeypatch):
    data = pickle.dumps(api.ApiLM(CHAT, places.url, cache=False))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-key")
    with OpenAIServer() as server:
        lm = pickle.loads(data.replace(places.url.encode(), server.url.encode()))
        lm.generate("Say spam:")
        assert server.requests[-1].headers["authorization"] == "Bearer sk-another-key"


def test_a_fitted_head_is_kept_without_the_trunk_it_stands_on(places):
    """Of a trunk that can be loaded again only its name is kept: 540 MB of SmolLM2, say."""
    head = pickle.dumps(FINE_TUNED["a head on a Llama"](places).fit(TEXTS, LABELS))
    assert len(head) < 10_000


def test_a_server_is_a_parameter_beside_the_models_name(places):
    with pytest.raises(TuneshotError, match="a base URL belongs to a model behind an API"):
        shows(places.gpt2, base_url=places.url).fit(TEXTS, LABELS)
    with pytest.raises(TuneshotError, match="was made already, and base_url says where a named"):
        shows(CountingLM(), base_url=places.url).fit(TEXTS, LABELS)


# --- inputs -------------------------------------------------------------------------------------

FORMS = {
    "tuple": tuple,
    "array": np.array,
    "object array": lambda values: np.array(values, dtype=object),
    "column": lambda values: np.array(values, dtype=object)[:, None],
    "Series": lambda values: pd.Series(values, index=range(7, 7 + len(values))),
    "table": lambda values: pd.DataFrame({"only": values}),
    "Arrow column": lambda values: pa.table({"only": values})["only"],
}


@pytest.mark.filterwarnings("ignore:A column-vector y")
def test_a_column_is_its_rows(estimator):
    expected = estimator.fit(TEXTS, LABELS).predict_proba(TEXTS)
    for form in FORMS.values():
        np.testing.assert_allclose(estimator.predict_proba(form(TEXTS)), expected, atol=1e-5)
    fitted = estimator.fit(pd.DataFrame({"text": TEXTS}), pd.DataFrame({"label": LABELS}))
    np.testing.assert_allclose(fitted.predict_proba(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    ["win a prize", [np.nan, *TEXTS[1:]], [None, *TEXTS[1:]], np.zeros(10), np.array([TEXTS] * 10),
     pd.DataFrame({"text": TEXTS, "label": LABELS})],
    ids=["one string", "NaN", "None", "numbers", "columns", "table of two columns"],
)  # fmt: skip
@pytest.mark.parametrize("make", [FEW_SHOT["no language model"], FINE_TUNED["a head on a GPT-2"]])
def test_what_is_no_column_of_texts_is_refused_alike(make, wrong, places):
    estimator = make(places).fit(TEXTS, LABELS)
    for use in (
        lambda: sklearn_base.clone(estimator).fit(wrong, LABELS),
        lambda: estimator.predict(wrong),
        lambda: estimator.predict_proba(wrong),
        lambda: estimator.score(wrong, LABELS),
    ):
        with pytest.raises(UnusableInput):
            use()


# --- answers ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*replies named no label")
@pytest.mark.parametrize(
    "labels",
    [np.array(LABELS), np.array(LABELS) == "spam", np.where(np.array(LABELS) == "spam", 7, -1)],
    ids=["text", "booleans", "numbers"],
)
def test_answers_are_classes_and_columns_follow_them(estimator, labels):
    estimator.fit(TEXTS, labels)
    assert estimator.classes_.dtype == labels.dtype
    assert estimator.classes_.tolist() == np.unique(labels).tolist()
    p = estimator.predict_proba(TEXTS)
    assert (p.shape, p.dtype) == ((10, 2), np.float64)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    answers = estimator.predict(TEXTS)
    assert answers.dtype == labels.dtype
    assert (p[np.arange(10), np.searchsorted(estimator.classes_, answers)] >= 0.5).all()
    with warnings.catch_warnings(record=True) as silent:  # a model that says spam to a number
        warnings.simplefilter("always")
        score = estimator.score(TEXTS, labels)
    assert score == (0 if silent else (answers == labels).mean())
    assert estimator.predict_proba([]).shape == (0, 2)
    assert estimator.predict([]).shape == (0,)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda: few_shot.FewShotClassifier(k=2),
        lambda: few_shot.FewShotClassifier(lm=local.LocalLM(), k=2, selector="knn"),
        lambda: fine_tuned.TuneshotClassifier(validation_share=0.5),
    ],
    ids=["few-shot, by name", "few-shot, an object", "fine-tuned"],
)
def test_the_bundled_models_do_all_of_it_too(make, tmp_path, monkeypatch):
    """With the caches of this machine: making them takes half a minute."""
    monkeypatch.delenv("TUNESHOT_CACHE")
    estimator = make()
    scores = model_selection.cross_val_score(estimator, TEXTS, LABELS, cv=2, n_jobs=2)
    assert np.isfinite(scores).all()
    fitted = sklearn_base.clone(estimator).fit(TEXTS, LABELS)
    joblib.dump(fitted, tmp_path / "fitted")
    assert (tmp_path / "fitted").stat().st_size < 100_000  # of 540 MB
    again = joblib.load(tmp_path / "fitted")
    np.testing.assert_allclose(again.predict_proba(TEXTS), fitted.predict_proba(TEXTS), atol=1e-4)
