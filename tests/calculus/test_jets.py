import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from holomorph.calculus import jets
from holomorph.errors import DomainError, ModelError, NotDifferentiableError, NotHolomorphicError
from oracles import dense_hessian, dense_jacobian, mixed_network, smooth_mlp

G = torch.Generator().manual_seed(0)
X = torch.randn(3, 2, 2, 2, dtype=torch.float64, generator=G)
V = torch.randn(3, 2, 2, 2, dtype=torch.float64, generator=G)
FLAT, ALONG = X.reshape(3, 8), V.reshape(3, 8)
WEIGHT = torch.randn(8, 8, dtype=torch.float64, generator=G)

ANALYTIC = {
    "gelu": F.gelu,
    "gelu by tanh": lambda t: F.gelu(t, approximate="tanh"),
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": lambda t: F.softplus(t, 1.5),
    "exp": torch.exp,
    "log": lambda t: torch.log(3 + t * t),
    "sin cos": lambda t: t.sin() + torch.cos(t),
    "sinh cosh": lambda t: torch.sinh(t) * torch.cosh(t),
    "erf": torch.erf,
    "square": torch.square,
    "powers": lambda t: t**3 + t.pow(2) + t**1 + t**4 + t.pow(5.0) + t**-2 + t**0,
    "other powers": lambda t: (1 + t * t) ** 1.5 + 2**t,
    "attributes": lambda t: t.real * (t[:, None].mH @ t[:, None]).sum(1),
    "roots": lambda t: (2 + t.square()).sqrt() + (2 + t.square()).rsqrt(),
    "reciprocal": lambda t: (2 + t * t).reciprocal() + 1 / (3 + t.square()),
    "differences": lambda t: 1 - t + torch.sub(t * t, t, alpha=2) - (t - 2 * t.exp()),
    "quotient": lambda t: t / (2 + t * t),
    "softmax": lambda t: torch.softmax(t, -1),
    "log_softmax": lambda t: F.log_softmax(t, 1),
    "logsumexp": lambda t: torch.logsumexp(t, 1),
    "matmul": lambda t: t @ WEIGHT + (t[:, None] @ t[:, :, None])[:, 0],
    "einsum": lambda t: torch.einsum("bi,bj,ij->b", t, t, WEIGHT),
    "in place": lambda t: (t * t).add_(t).mul_(2),
    "join and split": lambda t: torch.cat([t[:, :3] ** 2, *t.chunk(2, 1), torch.ones_like(t)], 1),
    "stack": lambda t: torch.stack([t, t * t], 2).unbind(2)[1],
    "broadcast": lambda t: t.sum(1, keepdim=True) ** 2 + WEIGHT[0] + t[:, :1],
    "pad, flip, permute": lambda t: F.pad(t.flip(1).reshape(3, 2, 4).permute(0, 2, 1), (1, 1)).square(),
    "pad with a constant": lambda t: F.pad(t, (1, 2), value=2.0).square(),
    "layer norm": nn.LayerNorm(8, elementwise_affine=False),
    "group norm": lambda t: nn.GroupNorm(2, 4).double()(t.reshape(-1, 4, 2)),
    "instance norm": lambda t: nn.InstanceNorm1d(2)(t.reshape(-1, 2, 4)),
}
REAL_ONLY = {
    "relu": torch.relu,
    "leaky relu": lambda t: F.leaky_relu(t, 0.2),
    "elu": lambda t: F.elu(t, 1.3),
    "maximum pooling": lambda t: F.max_pool1d(t[:, None], 2)[:, 0].square(),
    "absolute values": lambda t: t.abs().sqrt(),
    "clamp": lambda t: t.clamp(-1, 1) ** 2,
    "mish": F.mish,
    "sorting": lambda t: t.sort(1).values[:, :2] ** 2,
    "norm": lambda t: t.norm(dim=1),
    "where": lambda t: torch.where(t > 0, t * t, t**3),
    "softplus with a low threshold": lambda t: F.softplus(t, 1.5, 0.5),
    "rounding": lambda t: t * torch.div(t, 0.3, rounding_mode="floor") * (5 * t).to(torch.int64),
    "layer norm without weight": lambda t: F.layer_norm(t, (8,), None, WEIGHT[0]).square(),
}


@pytest.fixture(scope="module")
def network():
    return mixed_network()


@pytest.mark.parametrize("name", [*ANALYTIC, *REAL_ONLY])
def test_operations_against_the_dense_oracle(name):
    f = {**ANALYTIC, **REAL_ONLY}[name]
    J, H = dense_jacobian_whole(f, FLAT), None
    value, jv = jets.dual(f, FLAT, ALONG)
    torch.testing.assert_close(value, f(FLAT))
    torch.testing.assert_close(jv.reshape(3, -1), torch.einsum("bki,bi->bk", J, ALONG))
    value, jv, vhv = jets.second(f, FLAT, ALONG)
    torch.testing.assert_close(jv.reshape(3, -1), torch.einsum("bki,bi->bk", J, ALONG))
    H = dense_hessian_whole(f, FLAT)
    torch.testing.assert_close(vhv.reshape(3, -1), torch.einsum("bkij,bi,bj->bk", H, ALONG, ALONG))
    torch.testing.assert_close(
        jets.value_gradient_laplacian(f, FLAT)[2].reshape(3, -1), torch.einsum("bkii->bk", H), rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("name", ANALYTIC)
def test_complex_step_gives_the_derivative_to_full_precision(name):
    f, t = ANALYTIC[name], 1e-15
    value, imaginary = jets.complex(f, FLAT, t * ALONG)
    torch.testing.assert_close(value, f(FLAT))
    torch.testing.assert_close(imaginary / t, jets.dual(f, FLAT, ALONG)[1], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ANALYTIC)
def test_complex_evaluation_is_the_power_series(name):
    """Second order at a finite imaginary part: Re f(x + itv) = f - t^2 f''/2 + O(t^4)."""
    f, t = ANALYTIC[name], 1e-3
    value, _, bend = jets.second(f, FLAT, ALONG)
    real, _ = jets.complex(f, FLAT, t * ALONG)
    torch.testing.assert_close((value - real) * 2 / t**2, bend, rtol=2e-3, atol=2e-3)


def test_a_network_of_every_layer(network):
    J, H = dense_jacobian(network, X).flatten(2), dense_hessian(network, X)
    v = V.flatten(1)
    value, jv, vhv = jets.second(network, X, V)
    torch.testing.assert_close(value, network(X))
    torch.testing.assert_close(jv, torch.einsum("bki,bi->bk", J, v))
    torch.testing.assert_close(vhv, torch.einsum("bkij,bi,bj->bk", H, v, v))
    value, gradient, laplacian = jets.value_gradient_laplacian(network, X)
    torch.testing.assert_close(gradient.movedim(0, -1), J)
    torch.testing.assert_close(laplacian, torch.einsum("bkii->bk", H))
    _, imaginary = jets.complex(network, X, 1e-12 * V)
    torch.testing.assert_close(imaginary / 1e-12, jv)


@sdpa_kernel(SDPBackend.MATH)
def test_parameter_gradients_of_every_layer(network):
    """The gradient of |Jv|^2 with respect to parameters, against double backward."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    _, jv = jets.dual(network, X, V)
    ours = torch.autograd.grad(jv.square().sum(), parameters, allow_unused=True)
    x = X.clone().requires_grad_()
    columns = network(x).unbind(1)
    rows = [torch.autograd.grad(h.sum(), x, create_graph=True)[0] for h in columns]
    jv = torch.stack([(row * V).flatten(1).sum(1) for row in rows], 1)
    for a, b in zip(ours, torch.autograd.grad(jv.square().sum(), parameters, allow_unused=True), strict=True):
        torch.testing.assert_close(torch.zeros(()) if a is None else a, torch.zeros(()) if b is None else b)


@pytest.mark.parametrize("activation", [F.gelu, F.silu, torch.tanh, torch.sigmoid, F.softplus, F.elu, torch.erf])
def test_fused_activations_pass_gradcheck_and_gradgradcheck(activation):
    a = FLAT[:2, :3].clone().requires_grad_()
    t = ALONG[:2, :3].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, t: jets.dual(activation, a, t), (a, t))
    assert torch.autograd.gradgradcheck(lambda a, t: jets.dual(activation, a, t), (a, t))


def test_batch_norm_in_training_has_fixed_statistics_and_learns_nothing():
    norm = nn.BatchNorm1d(8).double()
    value, jv = jets.dual(norm, FLAT, ALONG)
    torch.testing.assert_close(value, nn.BatchNorm1d(8).double()(FLAT))
    scale = (FLAT.var(0, correction=0) + norm.eps).rsqrt()
    torch.testing.assert_close(jv, ALONG * scale)
    assert bool((norm.running_var == 1).all() and (norm.running_mean == 0).all())


def test_dropout_has_one_mask():
    torch.manual_seed(0)
    x = torch.ones(1, 1000, dtype=torch.float64)
    value, jv = jets.dual(nn.Dropout(0.5), x, 3 * x)
    assert 300 < int((value == 0).sum()) < 700
    torch.testing.assert_close(jv, 3 * value)


def test_relu_in_place_and_modules_keep_their_mode():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True), nn.Dropout(0.0)).double().train()
    model[2].eval()
    _, jv = jets.dual(model, FLAT, ALONG)
    torch.testing.assert_close(jv, torch.func.jvp(model, (FLAT,), (ALONG,))[1])
    assert model.training
    assert not model[2].training


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch itself, on importing its compiler
def test_a_compiled_model_runs_as_it_was():
    model = smooth_mlp(8)
    torch.testing.assert_close(jets.dual(torch.compile(model), FLAT, ALONG), jets.dual(model, FLAT, ALONG))


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (nn.ReLU(), "relu"),
        (nn.MaxPool1d(2), "max_pool1d"),
        (lambda t: t.abs(), "abs"),
        (lambda t: torch.where(t > 0, t, -t), "gt"),
        (lambda t: t.norm(), "norm"),
        (lambda t: t.max(), "max"),
        (lambda t: t.clamp(0, 1), "clamp"),
        (lambda t: torch.div(t, 0.3, rounding_mode="floor"), "div"),
    ],
)
def test_non_holomorphic_operations_are_named(operation, name):
    with pytest.raises(NotHolomorphicError, match=name):
        jets.complex(operation, FLAT, ALONG)


def test_the_error_says_where():
    model = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.Tanh(), nn.ReLU())).double()
    with pytest.raises(NotHolomorphicError, match=r"module '1\.1' \(ReLU\): relu"):
        jets.complex(model, FLAT, ALONG)


def test_bad_input():
    with pytest.raises(NotDifferentiableError):
        jets.dual(lambda t: torch.ones(3, 1), FLAT, ALONG)
    with pytest.raises(NotDifferentiableError):
        jets.dual(lambda t: t.argmax(1), FLAT, ALONG)
    with pytest.raises(ModelError, match="Make them equal"):
        jets.dual(torch.sin, FLAT, ALONG[:2])
    with pytest.raises(ModelError, match="cannot follow the complex tensors"):
        jets.dual(lambda t: t + torch.complex(t, t).abs(), FLAT, ALONG)
    with pytest.raises(DomainError):
        jets.complex(F.softplus, FLAT, 100 * ALONG)


def dense_jacobian_whole(f, x):
    """Also for functions that name the batch size."""
    whole = torch.autograd.functional.jacobian(lambda t: f(t).reshape(3, -1), x)
    return torch.stack([whole[b, :, b] for b in range(3)])


def dense_hessian_whole(f, x):
    outputs = f(x).reshape(3, -1).shape[1]
    found = [
        torch.autograd.functional.hessian(lambda t, k=k: f(t).reshape(3, -1)[:, k].sum(), x) for k in range(outputs)
    ]
    return torch.stack([torch.stack([h[b, :, b] for h in found]) for b in range(3)])
