"""Replay: how many old rows a step shows, and which."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clfcore.forgetting.replay import Replay


class Rows:
    """So many rows; the loss of a row is ``size`` times its number, plus one."""

    def __init__(self, count, size=1.0):
        self.rows, self.lengths, self.size = (
            list(range(count)),
            [1 + n % 5 for n in range(count)],
            size,
        )
        self.models = []

    def passes(self, rows):
        return [[row] for row in rows]

    def weight(self, rows):
        return torch.tensor(float(len(rows)))

    def loss(self, model, rows):
        self.models.append(model)
        return torch.tensor(sum(self.size * (row + 1) for row in rows)), len(rows)

    def validate(self):
        return 0.0, 1.0


@given(
    st.integers(1, 60), st.integers(1, 30), st.sampled_from([0.0, 0.01, 0.05, 0.25, 0.5]),
    st.integers(1, 16),
)  # fmt: skip
def test_an_epoch_shows_every_new_row_once_and_the_share_of_old_ones(new, old, share, size):
    replay = Replay(Rows(new), Rows(old), None, share)
    steps = list(replay.order(size, np.random.default_rng(0)))
    shown = Counter(row for rows in steps for row in rows)
    assert {row: n for row, n in shown.items() if row < new} == dict.fromkeys(range(new), 1)
    replayed = sum(n for row, n in shown.items() if row >= new)
    assert replayed == replay.count
    assert abs(replayed - share * (new + replayed)) <= 0.5  # to the nearest row
    assert max(shown) < new + old
    assert len(steps) == math.ceil((new + replayed) / size)
    assert all(1 <= len(rows) <= size for rows in steps)


@pytest.mark.parametrize(("share", "in_a_step"), [(0.25, {2}), (0.5, {4}), (0.05, {0, 1})])
def test_each_step_holds_its_part_of_the_old_rows(share, in_a_step):
    replay = Replay(Rows(96), Rows(10), None, share)
    counts = [sum(r >= 96 for r in rows) for rows in replay.order(8, np.random.default_rng(3))]
    assert set(counts) == in_a_step
    assert sum(counts) == replay.count == round(96 * share / (1 - share))


def test_old_rows_return_only_when_all_were_shown():
    replay = Replay(Rows(40), Rows(10), None, 0.5)  # 40 old rows an epoch, of ten
    shown = Counter(
        r for rows in replay.order(8, np.random.default_rng(0)) for r in rows if r >= 40
    )
    assert shown == dict.fromkeys(range(40, 50), 4)


def test_the_random_numbers_of_an_epoch_say_which_rows():
    replay = Replay(Rows(40), Rows(100), None, 0.25)
    one, same, other = (list(replay.order(8, np.random.default_rng(s))) for s in (1, 1, 2))
    assert one == same
    assert one != other
    assert {r for rows in one for r in rows if r >= 40} != {
        r for rows in other for r in rows if r >= 40
    }


def test_a_row_counts_as_a_row_and_each_task_is_asked_with_its_own_model():
    new, old = Rows(4), Rows(3, size=100.0)
    replay = Replay(new, old, "the old model", 0.5)
    rows = [0, 5, 3, 4]  # old rows are numbered from 4 on
    loss, right = replay.loss("the new model", rows)
    assert float(loss) == (1 + 4) + 100 * (1 + 2)
    assert right == 4
    assert float(replay.weight(rows)) == 4
    assert (new.models, old.models) == (["the new model"], ["the old model"])
    assert sorted(map(tuple, replay.passes(rows))) == [(0,), (3,), (4,), (5,)]
    parts = sum(replay.loss("m", part)[0] for part in replay.passes(rows))
    assert float(parts) == float(loss)
