"""First and second derivatives with respect to parameters of every function with a graph, by finite differences."""

import pytest
import torch
from torch.nn.functional import linear

from holomorph import calculus

G = torch.Generator().manual_seed(0)
X, V = torch.randn(2, 2, 2, dtype=torch.float64, generator=G)
W = torch.randn(2, 2, dtype=torch.float64, generator=G).requires_grad_()


def seeded():
    return torch.Generator().manual_seed(0)


FUNCTIONS = {
    "input_gradient": lambda f: calculus.input_gradient(lambda x: f(x).sum(1), X),
    "jvp": lambda f: calculus.jvp(f, X, V)[1],
    "vjp": lambda f: calculus.vjp(f, X, V)[1],
    "jacobian": lambda f: calculus.jacobian(f, X),
    "hessian_vector": lambda f: calculus.hessian_vector(lambda x: f(x).sum(1), X, V),
    "exact energy": lambda f: calculus.dirichlet_energy(f, X).value,
    "energy, q = 1": lambda f: calculus.dirichlet_energy(f, X, q=1.0).value,
    "projection": lambda f: calculus.dirichlet_energy(f, X, "projection", generator=seeded()).value,
    "dual": lambda f: calculus.dirichlet_energy(f, X, "dual", generator=seeded()).value,
    "complex step": lambda f: calculus.dirichlet_energy(f, X, "complex-step", step=1e-3, generator=seeded()).value,
    "antithetic": lambda f: calculus.dirichlet_energy(f, X, "antithetic", step=0.1, generator=seeded()).value,
    "gram": lambda f: calculus.dirichlet_gram([f, torch.sin], X),
    "second": lambda f: calculus.jets.second(f, X, V)[2],
    "laplacian exact": lambda f: calculus.laplacian(f, X),
    "laplacian forward": lambda f: calculus.laplacian(f, X, "forward"),
    "hutchinson": lambda f: calculus.laplacian(f, X, "hutchinson", generator=seeded()),
    "mean_value_gap": lambda f: calculus.mean_value_gap(f, X, 0.5, directions=2, generator=seeded()),
    "taylor_coefficients": lambda f: calculus.taylor_coefficients(f, X, V, 2, points=8),
    "hardy_norm": lambda f: calculus.hardy_norm(f, X, V, 0.1, points=8, centred=True),
    "input-projection": lambda f: calculus.dirichlet_energy(f, X, "input-projection", generator=seeded()).value,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradcheck_once_and_twice(name):
    def of_weight(w):
        return FUNCTIONS[name](lambda x: torch.tanh(linear(x, w)))

    assert torch.autograd.gradcheck(of_weight, (W,))
    assert torch.autograd.gradgradcheck(of_weight, (W,), atol=1e-4)
