from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clfcore.errors import TuneshotError
from icl.tuning.race import FINALISTS, FIRST_ROUND, Round, plan_race, reads_of

prices = st.lists(st.integers(1, 4), min_size=1, max_size=20)


def test_half_the_prompts_go_on_to_twice_the_messages():
    assert plan_race([1] * 16, messages=1000, reads=512) == [
        Round(16, 16), Round(8, 32), Round(4, 64),
    ]  # fmt: skip


def test_where_all_messages_can_be_read_by_all_prompts_there_is_one_round():
    assert plan_race([1] * 16, messages=16, reads=512) == [Round(16, 16)]


def test_too_few_reads_for_all_prompts_leave_out_the_last_ones():
    (first, *_) = plan_race([1] * 16, messages=1000, reads=60)
    assert first.messages >= FIRST_ROUND
    assert 2 <= first.prompts < 16


def test_the_default_alone_is_a_race_too():
    assert plan_race([1], messages=40, reads=100) == [Round(1, 40)]


def test_too_few_reads_for_any_comparison_are_refused_in_one_line():
    with pytest.raises(TuneshotError, match="reads must be 16 or more here, not 15"):
        plan_race([1, 1, 1], messages=100, reads=15)


@given(prices, st.integers(1, 500), st.integers(1, 2000))
def test_a_race_never_costs_more_than_is_allowed_whichever_prompts_survive(prices, messages, reads):
    try:
        rounds = plan_race(prices, messages, reads)
    except TuneshotError:
        return
    assert reads_of(rounds, prices[: rounds[0].prompts]) <= reads
    for before, after in pairwise(rounds):
        assert before.messages < after.messages <= messages
        assert before.prompts > after.prompts >= min(FINALISTS, len(prices))
