"""Random networks and random functions: every quantity of the calculus against reverse mode, differences and mpmath.

``make fuzz`` runs it with a new seed for as long as it is told; the tests run a fixed number of networks of a fixed
seed, the same on a slow machine and on a fast one. Environment: FUZZ_SEED, FUZZ_SECONDS.
"""

import itertools
import os
import random
import re
import time
from functools import partial

import mpmath
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from fuzz_steps import NAMES, step
from holomorph import calculus
from holomorph.calculus import jets
from holomorph.calculus.jets.operations import name_of
from holomorph.errors import HolomorphError

D = torch.float64
SEED = int(os.environ.get("FUZZ_SEED", "7"))
SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))

#: Random networks where no time is given.
NETWORKS = 40


#: Steps whose constants depend on the parameters, so that a difference in these is no derivative.
STOPPING = {"views", "no_grad"}


class Tally:
    """What was tried, for the closing line."""

    def __init__(self) -> None:
        self.networks, self.numbers, self.operations, self.refusals, self.skipped = 0, 0, set(), 0, 0

    def close(self, found, expected, what, rtol=1e-6, atol=1e-8):
        self.numbers += expected.numel()
        torch.testing.assert_close(found, expected, rtol=rtol, atol=atol, msg=lambda text: f"{what}: {text}")


@pytest.fixture(scope="module")
def tally():
    counted = Tally()
    yield counted
    print(
        f"\nfuzz seed {SEED}: {counted.networks} networks and functions, {len(counted.operations)} operations, "
        f"{counted.numbers} numbers, {counted.refusals} refusals, {counted.skipped} skipped"
    )


def oracle(f, x, v):
    """Value, Jv and v^T H v of each sample and output by reverse mode on samples one by one, at most two deep."""
    with sdpa_kernel(SDPBackend.MATH):
        return _oracle(f, x, v)


def _oracle(f, x, v):
    rows = []
    for a, d in zip(x.split(1), v.split(1), strict=True):
        t = torch.zeros(1, dtype=D, requires_grad=True)
        h = f(a + t * d).reshape(-1)
        first = [torch.autograd.grad(h[k], t, create_graph=True)[0] for k in range(len(h))]
        bends = [_bend(f, a, d, g, t, k) for k, g in enumerate(first)]
        rows.append((h.detach(), torch.cat(first).detach(), torch.cat(bends)))
    return tuple(torch.stack(parts) for parts in zip(*rows, strict=True))


class Operations(TorchFunctionMode):
    """The names of the operations that a network runs."""

    def __init__(self):
        super().__init__()
        self.names = {"no_grad"}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.add(name_of(func)[0])
        return func(*args, **(kwargs or {}))


def _bend(f, a, d, slope, t, k):
    """The derivative of one slope; by a difference where torch has none."""
    if not slope.requires_grad:
        return torch.zeros(1, dtype=D)
    try:
        found = torch.autograd.grad(slope, t, retain_graph=True, allow_unused=True)[0]
        return torch.zeros(1, dtype=D) if found is None else found
    except (RuntimeError, NotImplementedError):
        return _difference(f, a, d, k)


class Held(TorchFunctionMode):
    """What a network detaches or computes without a graph stays as it was at the first point: it has no derivative."""

    def __init__(self):
        super().__init__()
        self.kept, self.at = [], None

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if not isinstance(result, torch.Tensor) or (torch.is_grad_enabled() and name_of(func)[0] != "detach"):
            return result
        if self.at is not None:
            return self.kept[next(self.at)].clone()
        self.kept.append(result.clone())
        return result


def _difference(f, a, d, k):
    """The same to fourth order; NaN where a kink is so near that two steps differ."""
    held = Held()

    def slope(t):
        end = torch.tensor([t], dtype=D, requires_grad=True)
        with held:
            value = f(a + end * d).reshape(-1)[k]
        held.at = itertools.count()
        return torch.autograd.grad(value, end)[0]

    slope(0.0)
    coarse, fine = ((8 * (slope(s) - slope(-s)) - (slope(2 * s) - slope(-2 * s))) / (12 * s) for s in (1e-3, 3e-4))
    return fine if torch.isclose(coarse, fine, rtol=1e-6, atol=1e-8) else fine * torch.nan


def refused(tally, label, operations, quantity):
    """The quantity, or None where it was refused with the name of an operation of the network."""
    text = None
    try:
        return quantity()
    except HolomorphError as error:
        text = str(error)
    tally.refusals += 1
    assert set(re.findall(r"[a-z0-9]+(?:_[a-z0-9]+)*", text)) & {n.strip("_") for n in operations}, (label, text)
    return None


def network(rng, names):
    torch.manual_seed(rng.randrange(2**31))
    return nn.Sequential(
        nn.Linear(5, 24), nn.Unflatten(1, (4, 6)), *map(step, names), nn.Flatten(), nn.Linear(24, 3)
    ).double()


def check_network(tally, rng, names):
    net = network(rng, names)
    g = torch.Generator().manual_seed(rng.randrange(2**31))
    x, v = torch.randn(2, 2, 5, dtype=D, generator=g)
    value, first, bend = oracle(net, x, v)
    if not all(part.isfinite().all() for part in (value, first, bend)):
        tally.skipped += 1  # or a kink under a difference: nothing to compare with
        return
    label = " > ".join(names)
    with Operations() as ran:
        net(x)
    tally.operations |= ran.names
    for name, quantity in {
        "second": lambda: jets.second(net, x, v),
        "dual": lambda: jets.dual(net, x, v),
        "jvp": lambda: calculus.jvp(net, x, v),
        "forward Laplacian": lambda: jets.push_forward(net, x, v.expand(2, *v.shape) / 2**0.5, 2)[::2],
        "taylor": lambda: calculus.taylor_coefficients(net, x, v, 2, method="forward").unbind(1),
    }.items():
        found = refused(tally, label, ran.names, quantity)
        if found is None:
            continue
        wanted = {
            "second": (value, first, bend),
            "forward Laplacian": (value, bend),
            "taylor": (value, first, bend / 2),
        }
        for i, (a, b) in enumerate(zip(found, wanted.get(name, (value, first)), strict=True)):
            tally.close(a.detach(), b, f"{label}, {name}, part {i}")
    tally.close(calculus.vjp(net, x, torch.ones_like(value))[0].detach(), value, f"{label}, vjp")
    along = (calculus.jacobian(net, x).detach() * v[:, None]).sum(2)
    tally.close(along, first, f"{label}, jacobian")
    product = calculus.hessian_vector(lambda z: net(z).sum(1), x, v).detach()
    tally.close((product * v).sum(1), bend.sum(1), f"{label}, hessian_vector")
    imaginary = refused(tally, label, ran.names, lambda: jets.complex(net, x, 1e-12 * v))
    if imaginary is not None:
        tally.close(imaginary[1].detach() / 1e-12, first, f"{label}, complex step")
    if not STOPPING & set(names):
        check_parameters(tally, net, ran.names, x, v, label)


def check_parameters(tally, net, operations, x, v, label):
    """Gradients in the parameters along a random direction, against a central difference."""
    parameters = [p for p in net.parameters() if p.requires_grad]
    g = torch.Generator().manual_seed(0)
    directions = [torch.randn(p.shape, dtype=D, generator=g) for p in parameters]

    def moved(t):
        with torch.no_grad():
            for p, d in zip(parameters, directions, strict=True):
                p.add_(d, alpha=t)

    for name, quantity in {
        "dual": lambda: sum(part.square().sum() for part in jets.dual(net, x, v)),
        "second": lambda: jets.second(net, x, v)[2].square().sum(),
        "hessian_vector": lambda: calculus.hessian_vector(lambda z: net(z).sin().sum(1), x, v).square().sum(),
    }.items():
        loss = refused(tally, label, operations, quantity)
        if loss is None or not loss.requires_grad or not loss.isfinite():
            continue
        try:
            slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
        except RuntimeError:  # torch has no such derivative, and says so: of glu, of norm
            tally.refusals += 1
            continue
        found = sum((s * d).sum() for s, d in zip(slopes, directions, strict=True) if s is not None)
        differences, gaps = [], []
        for t in (1e-5, 1e-6):
            moved(t)
            above = quantity().detach()
            moved(-2 * t)
            below = quantity().detach()
            moved(t)
            differences.append((above - below) / (2 * t))
            gaps.append(abs(above + below - 2 * loss.detach()) / t)
        allowed = 1e-4 * (1 + differences[1].abs())
        apart = gaps[1] - (gaps[0] - gaps[1]) / 9  # of the slopes on either side, as the step goes to 0
        if (differences[0] - differences[1]).abs() > allowed or apart > allowed:
            continue  # a kink lies between the two, or at the point: the difference says nothing
        tally.close(
            found, differences[1], f"{label}, parameters of {name}", rtol=2e-4, atol=2e-4 * float(loss.detach() + 1)
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_each_step_alone(tally, name):
    check_network(tally, random.Random(f"{SEED} {name}"), [name])
    tally.networks += 1


@pytest.mark.slow
def test_random_networks(tally):
    rng = random.Random(SEED + 1)
    end, count = time.monotonic() + SECONDS, 0
    while time.monotonic() < end if SECONDS else count < NETWORKS:
        count += 1
        names = rng.choices(NAMES, k=rng.randint(2, 4))
        check_network(tally, rng, names)
        tally.networks += 1


UNARY = {
    "exp": (lambda z: torch.exp(z / 2), lambda z: mpmath.exp(z / 2)),
    "sin": (torch.sin, mpmath.sin),
    "tanh": (torch.tanh, mpmath.tanh),
    "erf": (torch.erf, mpmath.erf),
    "gelu": (nn.functional.gelu, lambda z: z * (1 + mpmath.erf(z / mpmath.sqrt(2))) / 2),
    "silu": (nn.functional.silu, lambda z: z / (1 + mpmath.exp(-z))),
    "softplus": (nn.functional.softplus, lambda z: mpmath.log(1 + mpmath.exp(z))),
    "root": (lambda z: torch.sqrt(3 + z * z), lambda z: mpmath.sqrt(3 + z * z)),
    "log": (lambda z: torch.log(3 + z * z), lambda z: mpmath.log(3 + z * z)),
    "quotient": (lambda z: z / (4 + z * z), lambda z: z / (4 + z * z)),
    "power": (lambda z: (2 + z * z) ** 1.5, lambda z: (2 + z * z) ** 1.5),
}


def test_random_functions_of_one_variable(tally):
    """Taylor coefficients to order 4 on a circle and by nested forward mode, against mpmath."""
    rng = random.Random(SEED + 2)
    for _ in range(max(12, int(SECONDS))):
        parts = [rng.choice(list(UNARY)) for _ in range(rng.randint(1, 3))]
        point = rng.uniform(-1, 1)

        def f(x, parts=parts):
            for part in parts:
                x = UNARY[part][0](x) / 2
            return x

        def exact(z, parts=parts):
            for part in parts:
                z = UNARY[part][1](z) / 2
            return z

        with mpmath.workdps(40):
            wanted = torch.tensor([float(c) for c in mpmath.taylor(exact, point, 4)], dtype=D)
            largest = max(abs(exact(point + 0.3 * mpmath.expjpi(k / 8))) for k in range(16))  # rounding is of this size
        x, one = torch.tensor([[point]], dtype=D), torch.ones(1, 1, dtype=D)
        label = " of ".join(reversed(parts))
        for method in ("contour", "forward"):
            coefficients = partial(calculus.taylor_coefficients, f, x, one, 4, radius=0.3, method=method)
            found = refused(tally, label, parts, coefficients)  # a circle may leave the tube where softplus is analytic
            if found is not None:
                size = 0.3 ** torch.arange(5) if method == "contour" else 1
                allowed = 1e-10 if method == "forward" else 1e-12 * (1 + float(largest))
                tally.close(found.flatten() * size, wanted * size, f"{label} at {point}, {method}", 1e-8, allowed)
        tally.networks += 1
        tally.operations.update(parts)
