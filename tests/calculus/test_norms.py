import math

import pytest
import torch

from holomorph.calculus.norms import dual_direction, norm


@pytest.mark.parametrize(
    ("dtype", "scales"),
    [
        (torch.float64, (1e-300, 1e-160, 1.0, 1e160, 1e300)),
        (torch.float32, (1e-36, 1e-25, 1.0, 1e25, 1e37)),
        (torch.bfloat16, (1e-36, 1e-25, 1.0, 1e25, 1e37)),
        (torch.float16, (1e-4, 1.0, 1e3)),
    ],
)
def test_lengths_and_directions_at_every_scale(dtype, scales):
    """The squares leave the range of the type at both ends: confident networks have gradients of 1e-25."""
    unit = torch.tensor([[0.6, 0.0, -0.8], [0.0, 0.0, 0.0]], dtype=torch.float64)
    tolerance = 4 * torch.finfo(dtype).eps
    for scale in scales:
        v = (scale * unit).to(dtype)
        torch.testing.assert_close(
            norm(v, 2.0).double() / scale, torch.tensor([1.0, 0.0]).double(), rtol=0, atol=tolerance
        )
        torch.testing.assert_close(dual_direction(v, 2.0).double(), unit, rtol=0, atol=tolerance)


def test_what_is_not_finite_has_no_finite_length():
    assert norm(torch.tensor([[math.nan, 1.0]]), 2.0).isnan().all()
    assert norm(torch.tensor([[math.inf, 1.0]]), 2.0).item() == math.inf


def test_the_length_is_differentiable_twice_and_flat_at_zero():
    v = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: norm(t, 2.0), v)
    assert torch.autograd.gradgradcheck(lambda t: norm(t, 2.0), v)
    zero = torch.zeros(1, 4, requires_grad=True)
    (slope,) = torch.autograd.grad(norm(zero, 2.0).sum(), zero, create_graph=True)
    (bend,) = torch.autograd.grad(slope.square().sum(), zero)
    assert not slope.any()
    assert not bend.any()
