"""The loss of direct preference optimisation, against its formulas and in closed form."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clfcore.alignment.dpo import dpo_losses

nats = st.floats(-40, 0, width=32)
four = st.tuples(nats, nats, nats, nats)


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@given(four, st.floats(0.01, 1))
def test_the_loss_is_that_of_equation_7_and_the_margin_is_that_between_the_rewards(log_p, beta):
    w, v, ref_w, ref_v = log_p  # better and worse, of the policy and of the reference
    losses, margins = dpo_losses(
        torch.tensor([[w, v]], dtype=torch.float64),
        torch.tensor([[ref_w, ref_v]], dtype=torch.float64),
        beta,
    )
    margin = beta * (w - ref_w) - beta * (v - ref_v)
    assert float(margins) == pytest.approx(margin, abs=1e-9)
    assert float(losses) == pytest.approx(-math.log(sigma(margin)), abs=1e-9)


@given(four, st.floats(0.01, 1))
def test_the_gradient_is_the_papers(log_p, beta):
    policy = torch.tensor([log_p[:2]], dtype=torch.float64, requires_grad=True)
    losses, margins = dpo_losses(policy, torch.tensor([log_p[2:]], dtype=torch.float64), beta)
    losses.sum().backward()
    pull = beta * sigma(-margins.item())  # β σ(reward of the worse - reward of the better)
    assert policy.grad is not None
    assert policy.grad.tolist()[0] == pytest.approx([-pull, pull], abs=1e-9)


@given(st.lists(st.tuples(nats, nats), min_size=1, max_size=5), st.floats(0.01, 1))
def test_a_policy_that_is_its_reference_has_margins_0_and_the_loss_ln_2(log_p, beta):
    policy = torch.tensor(log_p, dtype=torch.float64)
    losses, margins = dpo_losses(policy, policy.clone(), beta)
    assert margins.tolist() == [0.0] * len(log_p)
    assert losses.tolist() == pytest.approx([math.log(2)] * len(log_p))


def test_two_answers_by_one_number_are_learned_as_the_closed_form_says():
    """π(better) = σ(θ), π(worse) = σ(-θ), π_ref is even: the margin is βθ, its slope known."""
    for theta in (-2.0, 0.0, 0.7):
        for beta in (0.1, 0.5):
            x = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
            policy = torch.nn.functional.logsigmoid(torch.stack([x, -x]))[None]  # (1, 2)
            reference = torch.full((1, 2), math.log(0.5), dtype=torch.float64)
            losses, margins = dpo_losses(policy, reference, beta)
            losses.sum().backward()
            assert margins.item() == pytest.approx(beta * theta)
            assert losses.item() == pytest.approx(math.log1p(math.exp(-beta * theta)))
            assert float(x.grad) == pytest.approx(-beta * sigma(-beta * theta))


@pytest.mark.parametrize("beta", [0.1, 0.2, 0.4])
def test_beta_decides_how_far_the_policy_goes(beta):
    """Where a label is wrong once in five, the best margin is ln 4: a distance of ln 4 / beta."""
    slopes = []
    for distance in (
        0.9,
        1.0,
        1.1,
    ):  # of log π(better) / π(worse) from the reference's, in ln 4 / β
        x = torch.tensor(distance * math.log(4) / beta, dtype=torch.float64, requires_grad=True)
        policy = torch.stack([x, torch.zeros_like(x)])  # only the difference counts
        both = torch.stack([policy, policy.flip(0)])  # (2, 2): the pair, and it the wrong way
        losses, _ = dpo_losses(both, torch.zeros(2, 2, dtype=torch.float64), beta)
        (0.8 * losses[0] + 0.2 * losses[1]).backward()
        assert x.grad is not None
        slopes.append(float(x.grad))
    assert slopes[0] < 0 < slopes[2]
    assert slopes[1] == pytest.approx(0, abs=1e-12)


def test_an_extreme_margin_gives_no_infinity():
    policy = torch.tensor([[0.0, -1e5], [-1e5, 0.0]])
    losses, _ = dpo_losses(policy, torch.zeros(2, 2), 1.0)
    assert losses.tolist() == [0.0, 1e5]
