import pytest
import torch
from torch import nn

from holomorph.calculus import curvature, hessian_vector, input_gradient, jacobian, jvp, vjp
from holomorph.errors import ConfigError, DomainError, ModelError, NotDifferentiableError
from oracles import central_jacobian, dense_hessian, dense_jacobian, mixed_network, smooth_mlp

G = torch.Generator().manual_seed(0)
X = torch.randn(3, 4, dtype=torch.float64, generator=G)
V = torch.randn(3, 4, dtype=torch.float64, generator=G)
IMAGES = torch.randn(2, 2, 2, 2, dtype=torch.float64, generator=G)


def bowl(x):
    """x^T A x / 2 with a known spectrum."""
    return (x.square() * torch.tensor([-5.0, 1.0, 2.0, 3.0], dtype=x.dtype)).sum(1) / 2


def test_jacobian_agrees_with_two_oracles_in_any_chunks():
    for model, x in ((smooth_mlp(), X), (mixed_network(), IMAGES)):
        J = dense_jacobian(model, x)
        torch.testing.assert_close(central_jacobian(model, x), J, rtol=1e-6, atol=1e-8)
        for chunk in (1, 2, 100):
            torch.testing.assert_close(jacobian(model, x, chunk), J)


def test_directional_derivatives_contract_the_jacobian():
    model = smooth_mlp()
    J = dense_jacobian(model, X)
    u = torch.ones(3, 3, dtype=torch.float64)
    value, jv = jvp(model, X, V)
    torch.testing.assert_close(value, model(X))
    torch.testing.assert_close(jv, torch.einsum("bki,bi->bk", J, V))
    torch.testing.assert_close(vjp(model, X, u)[1], J.sum(1))
    torch.testing.assert_close(input_gradient(lambda t: model(t)[:, 1], X), J[:, 1])


def test_hessian_vector_and_curvature_agree_with_the_dense_hessian():
    model = smooth_mlp(12, 1)
    x, v = torch.randn(2, 2, 12, dtype=torch.float64, generator=G)
    H = dense_hessian(model, x)[:, 0]
    torch.testing.assert_close(hessian_vector(model, x, v), torch.einsum("bij,bj->bi", H, v))
    spectrum = torch.linalg.eigvalsh(H)
    torch.testing.assert_close(curvature(model, x, "largest"), spectrum[:, -1], rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(curvature(model, x, "smallest"), spectrum[:, 0], rtol=1e-5, atol=1e-8)
    assert curvature(bowl, X).tolist() == pytest.approx([-5.0] * 3)
    assert curvature(bowl, X, "largest").tolist() == pytest.approx([3.0] * 3)
    assert curvature(lambda t: t.sum(1), torch.ones(1, 20)).tolist() == [0.0]


def test_without_gradients_there_is_no_graph():
    model = smooth_mlp()
    with torch.no_grad():
        assert not jacobian(model, X).requires_grad
        assert not jvp(model, X, V)[1].requires_grad


def test_the_callers_graph_is_followed():
    x = X.clone().requires_grad_()
    gradient = input_gradient(lambda t: (t**3).sum(1), 2 * x)
    (back,) = torch.autograd.grad(gradient.sum(), x)
    torch.testing.assert_close(back, 24 * X)


def test_bad_input():
    with pytest.raises(DomainError, match="NaN"):
        jacobian(torch.log, torch.tensor([[-1.0]]))
    with pytest.raises(NotDifferentiableError, match="argmax"):
        input_gradient(lambda t: t.argmax(1).float(), torch.ones(2, 3))
    with pytest.raises(NotDifferentiableError, match="parameters"):
        jacobian(nn.Sequential(Detach(), nn.Linear(3, 2)), torch.ones(2, 3))
    with pytest.raises(ModelError, match="one number a sample"):
        input_gradient(lambda t: t, torch.ones(2, 3))
    with pytest.raises(ModelError, match="one row"):
        jacobian(lambda t: t.sum(), torch.ones(2, 3))
    with pytest.raises(ModelError, match="wirtinger"):
        jacobian(lambda t: t * (1 + 1j), torch.ones(2, 3))
    with pytest.raises(ModelError, match="direction"):
        jvp(torch.sin, torch.ones(2, 3), torch.ones(2, 4))
    with pytest.raises(ConfigError):
        jacobian(torch.sin, torch.ones(2, 3), chunk=0)
    with pytest.raises(ConfigError):
        curvature(bowl, X, "middle")


class Detach(nn.Module):
    def forward(self, x):
        return x.detach()


def test_forward_mode_is_right_where_torch_is_not():
    """pytorch #196700: the second forward derivative of layer_norm; against its elementary form."""
    norm = nn.LayerNorm(4).double()
    nested = jvp(lambda t: jvp(norm, t, V)[1], X, V)[1]
    H = dense_hessian(norm, X)
    torch.testing.assert_close(nested, torch.einsum("bkij,bi,bj->bk", H, V, V))
    norm = nn.BatchNorm1d(4, track_running_stats=False).double()
    plain = (X - X.mean(0)) / (X.var(0, correction=0) + norm.eps).sqrt()
    torch.testing.assert_close(jvp(norm, X, V)[0], plain)
