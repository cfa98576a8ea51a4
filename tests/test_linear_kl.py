"""The blockwise KL divergence is that of torch, in value and gradient."""

import pytest
import torch
from torch import nn

from vectalk.model.linear_kl import linear_kl


@pytest.mark.parametrize("block", [1, 3, 100, None])
@pytest.mark.parametrize("biased", [False, True])
def test_value_and_gradient_are_those_of_torch(block: int | None, biased: bool) -> None:
    torch.manual_seed(0)
    hidden, teacher = torch.randn(7, 5, requires_grad=True), torch.randn(7, 5)
    weight, bias = torch.randn(11, 5), torch.randn(11) if biased else None
    loss = linear_kl(hidden, teacher, weight, bias, block=block)
    (loss * 0.5).backward()
    gradient, hidden.grad = hidden.grad, None
    student = nn.functional.linear(hidden, weight, bias).log_softmax(1)
    right = nn.functional.linear(teacher, weight, bias).log_softmax(1)
    expected = nn.functional.kl_div(student, right, reduction="sum", log_target=True)
    (expected * 0.5).backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, hidden.grad)


def test_the_same_states_have_no_divergence_and_no_gradient() -> None:
    hidden = torch.randn(4, 6, requires_grad=True)
    loss = linear_kl(hidden, hidden.detach().clone(), torch.randn(9, 6))
    loss.backward()
    assert loss.abs() < 1e-5
    assert hidden.grad is not None
    assert hidden.grad.abs().max() < 1e-5


def test_half_precision_stays_near() -> None:
    torch.manual_seed(1)
    hidden, teacher, weight = torch.randn(6, 8), torch.randn(6, 8), torch.randn(20, 8)
    exact = linear_kl(hidden, teacher, weight)
    with torch.autocast("cpu", torch.bfloat16):
        half = linear_kl(hidden, teacher, weight)
    torch.testing.assert_close(half, exact, rtol=0.05, atol=0.05)
