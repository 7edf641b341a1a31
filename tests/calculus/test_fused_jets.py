"""Normalisation and softmax of dual numbers in one node: against elementary operations and numerical derivatives."""

import pytest
import torch
import torch.nn.functional as F

from holomorph.calculus import jets
from holomorph.calculus.elementary import group_norm, layer_norm
from holomorph.calculus.jets.normalisation import dual_group_norm, dual_layer_norm, dual_softmax

G = torch.Generator().manual_seed(0)


def draw(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=G).requires_grad_()


X, T = draw(2, 4, 3), draw(2, 4, 3)
FUSED = {
    "layer norm over one axis": (lambda x, t, w, b: dual_layer_norm(x, t, (3,), w, b, 1e-2), (3,)),
    "layer norm over two axes": (lambda x, t, w, b: dual_layer_norm(x, t, (4, 3), w, b, 1e-2), (4, 3)),
    "group norm": (lambda x, t, w, b: dual_group_norm(x, t, 2, w, b, 1e-2), (4,)),
}
ELEMENTARY = {
    "layer norm over one axis": lambda x, w, b: layer_norm(x, (3,), w, b, 1e-2),
    "layer norm over two axes": lambda x, w, b: layer_norm(x, (4, 3), w, b, 1e-2),
    "group norm": lambda x, w, b: group_norm(x, 2, w, b, 1e-2),
}
PARAMETERS = [(True, True), (True, False), (False, False)]


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("given", PARAMETERS)
def test_against_forward_mode_of_the_elementary_form(name, given):
    fused, shape = FUSED[name]
    w, b = (draw(*shape) if there else None for there in given)
    plain = torch.func.jvp(lambda x: ELEMENTARY[name](x, w, b), (X,), (T,))
    torch.testing.assert_close(fused(X, T, w, b), plain, check_stride=False)


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("given", PARAMETERS)
def test_derivatives_of_the_normalisations(name, given):
    fused, shape = FUSED[name]
    w, b = (draw(*shape) if there else None for there in given)
    assert torch.autograd.gradcheck(fused, (X, T, w, b))
    assert torch.autograd.gradgradcheck(fused, (X, T, w, b))


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_derivatives_of_the_softmax(dim):
    def fused(a, t):
        return dual_softmax(a, t, dim)

    torch.testing.assert_close(fused(X, T), torch.func.jvp(lambda a: torch.softmax(a, dim), (X,), (T,)))
    assert torch.autograd.gradcheck(fused, (X, T))
    assert torch.autograd.gradgradcheck(fused, (X, T))


def test_a_constant_direction_and_a_constant_point():
    """The gradients that are not asked for are not made, and those that are asked for stay right."""
    fused, shape = FUSED["group norm"]
    w, b = draw(*shape), draw(*shape)
    assert torch.autograd.gradcheck(lambda x: fused(x, T.detach(), w.detach(), b.detach()), (X,))
    assert torch.autograd.gradcheck(lambda t, w: fused(X.detach(), t, w, b.detach()), (T, w))


def test_what_is_not_contiguous():
    x, t = (s.detach().permute(0, 2, 1) for s in (X, T))
    found = jets.dual(lambda s: F.group_norm(s, 3), x, t)
    torch.testing.assert_close(
        found, jets.dual(lambda s: F.group_norm(s, 3), x.contiguous(), t.contiguous()), check_stride=False
    )
    torch.testing.assert_close(jets.dual(lambda s: F.layer_norm(s, (4,)), x, t)[0], F.layer_norm(x, (4,)))


def test_far_from_zero_in_float32():
    """A mean a thousand times the spread costs no more digits than the value itself loses."""
    x = (1000 + X.detach()).float()
    _, exact = jets.dual(lambda s: F.layer_norm(s, (3,)), x.double(), T.detach())
    _, found = jets.dual(lambda s: F.layer_norm(s, (3,)), x, T.detach().float())
    torch.testing.assert_close(found.double(), exact, rtol=1e-3, atol=1e-3)
