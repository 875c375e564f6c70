"""Elastic weight consolidation and L2, on quadratic losses whose optimum is known."""

import pytest
import torch
from torch import nn

from clfcore.forgetting.penalty import Penalized, fisher, scaled


class Numbers(nn.Module):
    """Three weights."""

    def __init__(self, start=(0.0, 0.0, 0.0)):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(start, dtype=torch.float64))
        self.unused = nn.Parameter(torch.ones(2, dtype=torch.float64))


class Bowl:
    """½ Σ a (θ − b)² for each row."""

    def __init__(self, a, b, rows=1):
        self.a, self.b = (torch.tensor(each, dtype=torch.float64) for each in (a, b))
        self.rows, self.lengths = list(range(rows)), [1] * rows

    def passes(self, rows):
        return [[row] for row in rows]

    def weight(self, rows):
        return torch.tensor(float(len(rows)), dtype=torch.float64)

    def loss(self, model, rows):
        each = 0.5 * (self.a * (model.theta - self.b).square()).sum()
        return len(rows) * each, 0

    def validate(self):
        return 0.0, 0.0


class Lines:
    """½ (y − x·θ)² for each row of x: linear regression with noise of variance 1."""

    def __init__(self, x, y):
        self.x, self.y = (torch.tensor(each, dtype=torch.float64) for each in (x, y))
        self.rows, self.lengths = list(range(len(x))), [1] * len(x)

    def weight(self, rows):
        return torch.tensor(float(len(rows)))

    def loss(self, model, rows):
        return 0.5 * (self.y[rows] - self.x[rows] @ model.theta).square().sum(), 0


def optimum(objective, model):
    """Where the mean loss of one step over all rows is smallest, by Newton's steps of L-BFGS."""
    optimizer = torch.optim.LBFGS(
        [model.theta], max_iter=200, tolerance_grad=1e-12, tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure():
        optimizer.zero_grad()
        rows = list(objective.rows)
        parts = [objective.loss(model, part)[0] for part in objective.passes(rows)]
        loss = sum(parts) / objective.weight(rows)
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
    return model.theta.detach()


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 100.0])
def test_the_optimum_lies_between_both_tasks_where_their_curvatures_put_it(strength):
    """θ = (λ F θ* + a b) / (λ F + a), weight by weight; with λ = 1, the optimum of both tasks."""
    start, importance = (1.0, -2.0, 3.0), torch.tensor([0.0, 0.1, 10.0], dtype=torch.float64)
    model, new = Numbers(start), Bowl((1.0, 2.0, 3.0), (5.0, 5.0, 5.0), rows=4)
    held = Penalized(new, model, {"theta": importance}, strength)
    pull = strength * importance
    expected = (pull * torch.tensor(start) + new.a * new.b) / (pull + new.a)
    assert optimum(held, model).tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_at_the_start_the_penalty_is_0_and_does_not_pull():
    model = Numbers((1.0, 2.0, 3.0))
    held = Penalized(Bowl((1.0,) * 3, (0.0,) * 3), model, {"theta": torch.ones(3)}, 7.0)
    penalty = held.penalty()
    penalty.backward()
    assert float(penalty.detach()) == 0
    assert model.theta.grad.tolist() == [0, 0, 0]


def test_however_a_step_is_divided_the_penalty_counts_once():
    model = Numbers()
    held = Penalized(Bowl((1.0,) * 3, (1.0,) * 3, rows=6), model, {"theta": torch.ones(3)}, 2.0)
    with torch.no_grad():
        model.theta += 2.0
    rows = held.rows
    whole = held.loss(model, rows)[0] / held.weight(rows)
    parts = sum(held.loss(model, part)[0] for part in ([0], [1, 2], [3, 4, 5]))
    assert float(parts.detach() / held.weight(rows)) == pytest.approx(float(whole.detach()))
    assert float(whole.detach()) == pytest.approx(1.5 + 2.0 / 2 * 12)  # ½ · 3 · 1² + λ/2 · 3 · 2²


def test_l2_is_the_same_with_one_importance_for_all():
    model, new = Numbers((1.0, 1.0, 1.0)), Bowl((1.0, 2.0, 4.0), (3.0, 3.0, 3.0))
    held = Penalized(new, model, {"theta": torch.ones(())}, 2.0)
    expected = [(2 * 1 + a * 3) / (2 + a) for a in (1.0, 2.0, 4.0)]
    assert optimum(held, model).tolist() == pytest.approx(expected, abs=1e-6)


def test_the_fisher_information_is_the_mean_squared_gradient_of_each_row():
    """Of linear regression: the mean of (residual · x)²; where x is 0, a weight is free."""
    x, y = [[1.0, 2.0, 0.0], [3.0, -1.0, 0.0]], [1.0, 1.0]
    model, old = Numbers((1.0, 1.0, 1.0)), Lines(x, y)
    residuals = [1 - 3, 1 - 2]
    expected = [
        sum((r * row[i]) ** 2 for r, row in zip(residuals, x, strict=True)) / 2 for i in range(3)
    ]
    found = fisher(model, old, model)
    assert found["theta"].tolist() == pytest.approx(expected)
    assert set(found) == {"theta"}  # what the old task does not use is not held
    assert model.theta.grad is None


def test_with_residuals_of_variance_1_it_is_the_curvature_of_the_old_loss():
    """Then the penalty is the old loss to second order (Laplace), as in the paper's derivation."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, 3, generator=rng, dtype=torch.float64)
    x *= torch.tensor([0.5, 1.0, 2.0])
    y = x @ torch.ones(3, dtype=torch.float64) + torch.randn(20_000, generator=rng).double()
    model = Numbers((1.0, 1.0, 1.0))
    old = Lines(x[:1500].tolist(), y[:1500].tolist())
    found = fisher(model, old, model)["theta"]
    assert found.tolist() == pytest.approx([0.25, 1.0, 4.0], rel=0.2)


def test_one_strength_suits_models_of_all_sizes():
    importance = {"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([[8.0], [0.0]])}
    found = scaled(importance)
    assert sum(float(each.sum()) for each in found.values()) == pytest.approx(4)
    assert found["a"].tolist() == pytest.approx([1 / 3, 1.0])
