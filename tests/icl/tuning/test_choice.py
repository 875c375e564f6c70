import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icl.tuning.choice import choose
from icl.tuning.choice import losses as weighted_losses


def even(right):
    return np.full(len(right), 1 / len(right))


def losses(probabilities, right):
    return weighted_losses(probabilities, right, even(right))


def answers(rng, right, sure, how_often):
    """(M, 2) probabilities: the right label has ``sure``, as often as said; else the wrong one."""
    is_right = rng.random(len(right)) < how_often
    label = np.where(is_right, right, 1 - right)
    return np.where(np.arange(2) == label[:, None], sure, 1 - sure)


def test_being_too_sure_of_everything_is_no_fault_of_a_prompt():
    right = np.random.default_rng(0).integers(2, size=200)
    modest = answers(np.random.default_rng(1), right, 0.7, 0.8)
    sure = answers(np.random.default_rng(1), right, 0.97, 0.8)
    assert losses(modest, right).mean() == pytest.approx(losses(sure, right).mean(), abs=0.02)
    assert losses(modest, right).mean() == pytest.approx(
        -0.8 * np.log(0.8) - 0.2 * np.log(0.2), abs=0.03
    ), "the entropy of an answer that is right four times in five"


def test_one_answer_that_is_sure_and_wrong_does_not_decide():
    right = np.zeros(50, np.int64)
    wrong_once = np.tile([0.999, 0.001], (50, 1))
    wrong_once[0] = [0, 1]
    assert losses(wrong_once, right).mean() < 0.15


def test_a_better_candidate_is_found():
    rng = np.random.default_rng(0)
    right = rng.integers(2, size=100)
    tried = [losses(answers(rng, right, 0.9, share), right) for share in (0.6, 0.6, 0.9, 0.6)]
    choice = choose(np.array(tried), even(right), seed=0)
    assert choice.candidate == 2
    assert choice.chance < 0.01


def test_of_candidates_that_are_level_the_simplest_is_taken():
    rng = np.random.default_rng(0)
    right = rng.integers(2, size=100)
    good, same = answers(rng, right, 0.9, 0.9), answers(rng, right, 0.9, 0.91)
    tried = [losses(each, right) for each in (answers(rng, right, 0.9, 0.5), good, same)]
    assert choose(np.array(tried), even(right), seed=0).candidate == 1


def test_among_sixty_candidates_that_guess_the_default_is_kept():
    """By the luckiest one alone, it would be left nearly every time."""
    left, luckier = 0, 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        right = rng.integers(2, size=64)
        tried = np.array([losses(answers(rng, right, 0.8, 0.5), right) for _ in range(60)])
        left += choose(tried, even(right), seed).candidate != 0
        luckier += tried.mean(axis=1).argmin() != 0
    assert luckier > 36
    assert left <= 8, "one in ten, and some luck"


def test_candidates_that_answer_alike_leave_the_default():
    same = np.tile(np.random.default_rng(0).random(20), (3, 1))
    assert choose(same, np.full(20, 1 / 20), seed=0) == (0, 1.0)


@given(st.integers(2, 30), st.integers(1, 6), st.integers(0, 10))
def test_whatever_the_losses_the_choice_is_a_candidate_and_always_the_same(messages, count, seed):
    tried = np.random.default_rng(seed).random((count, messages)).round(1)
    weights = np.full(messages, 1 / messages)
    choice = choose(tried, weights, seed)
    assert 0 <= choice.candidate < count
    assert choose(tried, weights, seed) == choice
