import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from icl.prompt.orders import ENTROPIES, different_orders, global_entropy, local_entropy

# Two messages, three orders, two labels: the first order says "a" to both, the second says each
# once and is sure, the third says "a" to both and is unsure.
THREE = np.array([[[0.9, 0.1], [0.99, 0.01], [0.5, 0.5]], [[0.9, 0.1], [0.01, 0.99], [0.6, 0.4]]])


def test_global_entropy_is_that_of_the_answers_and_local_entropy_that_of_their_probabilities():
    assert global_entropy(THREE) == pytest.approx([0, np.log(2), 0])
    unsure = [entropy(THREE[:, order], axis=-1).mean() for order in range(3)]
    assert local_entropy(THREE) == pytest.approx(unsure)
    assert int(global_entropy(THREE).argmax()) == 1
    assert int(local_entropy(THREE).argmax()) == 2


@pytest.mark.parametrize("name", ENTROPIES)
def test_an_entropy_is_at_most_that_of_equal_shares(name):
    p = np.random.default_rng(0).dirichlet(np.ones(5), size=(7, 4))
    values = ENTROPIES[name](p)
    assert values.shape == (4,)
    assert np.all((values >= 0) & (values <= np.log(5) + 1e-12))
    certain = np.zeros((7, 4, 5))
    certain[..., 2] = 1.0
    assert ENTROPIES[name](certain) == pytest.approx(np.zeros(4))


@given(st.integers(0, 5), st.integers(1, 30), st.integers(0, 9))
def test_orders_are_different_the_present_one_first_and_then_its_reverse(n, count, seed):
    orders = different_orders(n, count, np.random.default_rng(seed))
    assert len(set(orders)) == len(orders) == min(count, math.factorial(n))
    assert all(sorted(order) == list(range(n)) for order in orders)
    assert orders[0] == tuple(range(n))
    assert len(orders) < 2 or orders[1] == tuple(reversed(range(n)))
