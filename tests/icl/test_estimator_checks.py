"""scikit-learn's own checks of an estimator, on both of ours."""

import pytest

from tests.support.doubles import HashedWords, save_tiny_trunk
from tests.support.lazy import lazy

checks = lazy("sklearn.utils.estimator_checks")
few_shot = lazy("icl.estimator")
fine_tuned = lazy("clfcore.estimator")
on_numbers = lazy("tests.support.on_numbers")

OURS = {
    "TuneshotClassifier": lambda: fine_tuned.TuneshotClassifier(),
    "FewShotClassifier": lambda: few_shot.FewShotClassifier(),
}

# What needs no data, of the estimators as they are. All other checks feed tables of numbers; our
# estimators read texts, and their tags say so.
WITHOUT_DATA = [
    "check_mixin_order",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_estimators_unfitted",
    "check_get_params_invariance",
    "check_set_params",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_valid_tag_types",
    "check_decision_proba_consistency",
    "check_estimators_partial_fit_n_features",
]

# Every check there is, of the estimators behind a reader that makes texts of numbers. These fail:
NOT_APPLICABLE = {
    "TuneshotClassifier": {
        "check_sample_weight_equivalence_on_dense_data": (
            "a validation part is drawn from the messages, so repeating some draws another one; "
            "tests/clfcore/training/test_sample_weights.py checks what comes after the draw"
        ),
        "check_methods_subset_invariance": (
            "float32 sums depend on the batch: alone or beside others, probabilities agree to 1e-5 "
            "and not to the 1e-7 that is checked"
        ),
    },
    "FewShotClassifier": {},
}


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """The estimators on tables of numbers, by the names of ours."""
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path / "cache"))
    return {
        "TuneshotClassifier": lambda: on_numbers.TunesNumbers(
            str(save_tiny_trunk(tmp_path / "trunk")),
            validation_share=0.5, balance="none", position="mean",
        ),
        "FewShotClassifier": lambda: on_numbers.ShowsNumbers(
            selector="knn", k=3, embedder=HashedWords()
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("check", WITHOUT_DATA)
def test_it_keeps_the_contract_of_an_estimator(check, name):
    getattr(checks, check)(name, OURS[name]())


@pytest.mark.parametrize("name", OURS)
def test_its_tags_say_that_it_reads_texts(name):
    tags = OURS[name]().__sklearn_tags__()
    assert (tags.input_tags.string, tags.input_tags.two_d_array) == (True, False)
    assert tags.estimator_type == "classifier"
    assert tags.target_tags.required


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OURS)
def test_it_passes_every_check_but_those_that_cannot_hold_for_texts(name, tables):
    known = NOT_APPLICABLE[name]
    results = checks.check_estimator(
        tables[name](), expected_failed_checks=known, on_fail=None, on_skip=None
    )
    failed = {each["check_name"]: each["exception"] for each in results
              if each["status"] == "failed"}  # fmt: skip
    assert failed == {}
    assert {each["check_name"] for each in results if each["status"] == "xfail"} == set(known)
    assert sum(each["status"] == "passed" for each in results) > 45
