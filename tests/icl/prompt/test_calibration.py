import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icl.prompt.calibration import CALIBRATIONS, DOMAIN_PROBES, Prior

TEXTS = ["win win cash now", "see you", "", "late"]
log = np.log
scores = st.lists(st.tuples(*[st.floats(-50, 0)] * 3), min_size=1, max_size=8).map(np.array)


def probabilities(prior, p, shares=None):
    return np.exp(prior.calibrate(log(p), shares))


def test_a_prompt_that_leans_to_spam_is_set_upright():
    """Three probes, by hand: p̄ = (0.25, 0.75); 0.4/0.25 = 1.6, 0.6/0.75 = 0.8."""
    prior = Prior.of(log([[0.2, 0.8], [0.25, 0.75], [0.3, 0.7]]))
    assert np.exp(prior.log_mean) == pytest.approx([0.25, 0.75])
    assert probabilities(prior, [0.4, 0.6]) == pytest.approx([2 / 3, 1 / 3])


def test_the_prior_is_a_mean_of_probabilities_and_not_of_scores():
    prior = Prior.of(log([[0.1, 0.9], [0.9, 0.1]]))
    assert np.exp(prior.log_mean) == pytest.approx([0.5, 0.5])
    shifted = Prior.of(log([[0.1, 0.9], [0.9, 0.1]]) - [[7.0], [-100.0]])
    assert shifted.log_mean == pytest.approx(prior.log_mean)


def test_known_shares_pull_the_answer_back():
    """1.6 · 0.2 = 0.32, 0.8 · 0.8 = 0.64."""
    prior = Prior.of(log([[0.25, 0.75]]))
    assert probabilities(prior, [0.4, 0.6], [0.2, 0.8]) == pytest.approx([1 / 3, 2 / 3])
    assert probabilities(prior, [0.4, 0.6], [1, 0]) == pytest.approx([1, 0])


def test_the_prior_is_the_mean_of_the_probabilities():
    """p̄ = (0.2 + 0.4 + 0.9) / 3 = 0.5."""
    prior = Prior.of(log([[0.2, 0.8], [0.4, 0.6], [0.9, 0.1]]))
    assert np.exp(prior.log_mean) == pytest.approx([0.5, 0.5])


@given(scores, scores)
def test_the_prior_does_not_depend_on_the_order_of_the_messages(first, second):
    one, other = (Prior.of(np.concatenate(parts)) for parts in ((first, second), (second, first)))
    assert one.log_mean == pytest.approx(other.log_mean, abs=1e-9)


@given(scores)
def test_a_fixed_prior_answers_alike_alone_and_in_company(batch):
    prior = Prior.of(batch)
    together = prior.calibrate(batch)
    alone = np.stack([prior.calibrate(row) for row in batch])
    assert np.array_equal(together, alone)
    assert np.exp(together).sum(axis=1) == pytest.approx(1)


def test_what_a_model_never_says_is_not_divided_by():
    prior = Prior.of([[0.0, -np.inf], [0.0, -np.inf]])
    assert np.exp(prior.calibrate([0.0, -np.inf])) == pytest.approx([1, 0])
    assert np.exp(prior.calibrate([np.nan, np.nan])) == pytest.approx([0.5, 0.5])
    far = Prior.of([[0.0, -5000.0]])  # its probability is below the smallest number
    assert np.exp(far.calibrate([0.0, -5000.0])) == pytest.approx([0.5, 0.5])


def test_an_answer_equal_to_the_prior_says_nothing():
    prior = Prior.of(log([[0.7, 0.2, 0.1]]))
    assert probabilities(prior, [0.7, 0.2, 0.1]) == pytest.approx([1 / 3] * 3)


# --- probes ---------------------------------------------------------------------------------------


def test_content_free_probes_are_those_of_the_paper():
    assert CALIBRATIONS["contextual"].probes(TEXTS, 0) == ["N/A", "", "[MASK]"]


def test_domain_probes_are_words_of_the_pool_in_messages_of_average_length():
    probes = CALIBRATIONS["domain"].probes(TEXTS, 0)
    assert len(probes) == DOMAIN_PROBES == 20
    known = {word for text in TEXTS for word in text.split()}
    for probe in probes:
        assert len(probe.split()) == 2  # 7 words in 4 messages
        assert set(probe.split()) <= known


def test_domain_probes_draw_frequent_words_more_often_and_every_word_sometimes():
    probes = [CALIBRATIONS["domain"].probes(TEXTS, seed) for seed in range(50)]
    words = " ".join(probe for of_seed in probes for probe in of_seed).split()
    for word, count in (("win", 2), ("cash", 1), ("now", 1), ("see", 1), ("you", 1), ("late", 1)):
        assert words.count(word) / len(words) == pytest.approx(count / 7, abs=0.04)


def test_domain_probes_depend_on_the_seed_only():
    draw = CALIBRATIONS["domain"].probes
    assert draw(TEXTS, 1) == draw(TEXTS, 1) != draw(TEXTS, 2)


@pytest.mark.parametrize("texts", [[], ["", "  "]])
def test_a_pool_without_words_has_an_empty_probe(texts):
    assert CALIBRATIONS["domain"].probes(texts, 0) == [""]


def test_only_batch_calibration_needs_a_batch():
    assert [name for name, each in CALIBRATIONS.items() if each.batch] == ["batch"]
    assert [name for name, each in CALIBRATIONS.items() if each.probes] == ["contextual", "domain"]
