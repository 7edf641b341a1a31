"""Certificates against the strongest attack there is in low dimension: a search of the whole sphere, and ascent."""

import math

import pytest
import torch

from holomorph.errors import ConfigError
from holomorph.exact import FockKernel, PolynomialHolomorphic, fock_kernel
from holomorph.exact.certificate import certified_radius, degree_norms, through_codes
from holomorph.exact.classifier import ExactClassifier
from holomorph.exact.recentred import recentred_radius
from holomorph.nn.embedding import Complexification, Pairing, random_rotation
from holomorph.nn.readout import make_codes


def problem(classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    y = torch.arange(90) % classes
    angle = 2 * math.pi * y / classes
    centre = torch.stack([angle.cos(), angle.sin(), angle.cos() * 0, angle.sin()], 1).double()
    return centre + 0.4 * torch.randn(90, 4, generator=g, dtype=torch.float64), y


def fitted(solver: str, embedding: object, code: str) -> tuple[ExactClassifier, torch.Tensor]:
    x, y = problem(2 if code == "signs" else 3)
    codes = make_codes(code, 2 if code == "signs" else 3)
    if solver != "polynomial":
        relative, loss = VALUES[solver]
        h = FockKernel(0.5, 1e-2, 0.6, relative=relative, loss=loss) if relative else FockKernel(1.0, 1e-3)
        model = ExactClassifier(h, embedding, codes)
        h.fit(model.embed(x), codes[y] if code == "roots" else codes[y].real)
    else:
        h = PolynomialHolomorphic(3, 1e-3, 1e-3, embedding).fit(x, codes[y])
        model = ExactClassifier(h, embedding, codes)
    return model, x


VALUES = {
    "fock": (0.0, "squared"),
    "half relative": (0.5, "squared"),
    "relative": (True, "squared"),
    "relative margin": (True, "squared-hinge"),
}
CASES = [
    ("fock", Complexification(), "one-hot"),
    ("fock", Pairing(), "one-hot"),
    ("fock", Pairing("halves"), "roots"),
    ("fock", Complexification(), "signs"),
    ("half relative", Complexification(), "one-hot"),
    ("relative", Complexification(), "one-hot"),
    ("relative", Complexification(), "roots"),
    ("relative margin", Complexification(), "one-hot"),
    ("relative margin", Pairing(), "signs"),
    ("polynomial", Complexification(), "one-hot"),
    ("polynomial", Pairing(), "signs"),
]


def worst_margin(model: ExactClassifier, x: torch.Tensor, radius: torch.Tensor, p: float) -> torch.Tensor:
    """The least margin of the clean winner that projected ascent from 4 starts finds inside the ball."""
    winner = model(x).argmax(1)
    g = torch.Generator().manual_seed(1)
    worst = torch.full((len(x),), math.inf, dtype=torch.float64)
    for _ in range(4):
        step = torch.randn(x.shape, generator=g, dtype=torch.float64)
        for _ in range(15):
            step = _onto_sphere(step, radius, p).requires_grad_(True)
            logits = model(x + step)
            own = logits.gather(1, winner[:, None])[:, 0]
            margin = own - logits.scatter(1, winner[:, None], -math.inf).amax(1)
            worst = torch.minimum(worst, margin.detach())
            (slope,) = torch.autograd.grad(margin.sum(), step)
            step = (step - radius[:, None] * _steepest(slope, p)).detach()
    return worst


def _steepest(slope: torch.Tensor, p: float) -> torch.Tensor:
    if p == math.inf:
        return slope.sign()
    if p == 1:
        return torch.where(slope.abs() == slope.abs().amax(1, keepdim=True), slope.sign(), 0.0)
    return slope / slope.norm(dim=1, keepdim=True).clamp_min(1e-30)


def _onto_sphere(step: torch.Tensor, radius: torch.Tensor, p: float) -> torch.Tensor:
    if p == math.inf:
        return torch.maximum(torch.minimum(step.detach(), radius[:, None]), -radius[:, None])
    return (step / step.norm(p, dim=1, keepdim=True) * radius[:, None]).detach()


@pytest.mark.slow
@pytest.mark.parametrize(("solver", "embedding", "code"), CASES)
@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_no_attack_inside_the_certified_radius_succeeds(solver, embedding, code, p):
    model, x = fitted(solver, embedding, code)
    x = x[:45]
    radius = model.certified_radius(x, p=p)
    assert float(radius.median()) > 0.02
    assert float(worst_margin(model, x, 0.99 * radius, p).min()) > 0
    assert float(worst_margin(model, x, 12 * radius, p).median()) < 0  # the attack is not blind


@pytest.mark.parametrize(("solver", "embedding", "code"), CASES)
def test_using_the_gradient_never_certifies_less(solver, embedding, code):
    model, x = fitted(solver, embedding, code)
    sharp, plain = model.certified_radius(x), model.certified_radius(x, order=0)
    assert bool((sharp >= plain * (1 - 1e-6)).all())
    assert float(sharp.median()) > 1.2 * float(plain.median())


def test_the_plain_bound_is_norm_times_distance_of_the_kernel_functions():
    """Order 0 against the formula written out: |h|_K |k_x - k_x'| with x' = (1 + r/|x|) x, two classes."""
    x, y = problem(2)
    codes = make_codes("signs", 2)
    h = FockKernel(0.5, 1e-2).fit(x, codes.real[y])
    r = h.certified_radius(x, codes, order=0)
    w = (x - h.centre) / h.unit
    away = w * (1 + r / h.unit / w.norm(dim=1))[:, None]
    here, there, across = (_diagonal(h, a, b) for a, b in ((w, w), (away, away), (w, away)))
    distance = (here + there - 2 * across).sqrt()
    torch.testing.assert_close(h.norm() * distance, h(x)[:, 0].abs(), rtol=1e-5, atol=1e-8)


def _diagonal(h: FockKernel, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return fock_kernel((a * b).sum(1), h.weight)


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_around_the_sample_the_bound_is_that_of_weyls_operator(weight):
    """h = k_w on the line: its values, slope and Fock norm are known, so that the radius solves a known equation."""
    w, x = torch.tensor([[1.3]]).double(), torch.tensor([[0.4]]).double()
    norms = degree_norms(w, torch.tensor([[1.0, -1.0]]).double(), weight)
    value, slope = (float(fock_kernel(x * w, weight, derivative=k)) for k in (0, 1))
    slope *= 1.3
    degrees = torch.arange(60).double()
    norm2 = 4 * float((1.3 ** (2 * degrees) / (torch.lgamma(degrees + 1).exp() * (1 + weight * degrees) ** 2)).sum())
    scores, gradients = torch.tensor([[value, -value]]).double(), torch.tensor([[[slope], [-slope]]]).double()
    r = float(recentred_radius(norms, x, scores, gradients, torch.zeros(2).double()))
    damp = math.exp(-(0.4**2) / 2)
    gap, lean = 2 * value * damp, 2 * (slope - value * 0.4) * damp
    rest = math.sqrt(norm2 - gap**2 - lean**2)
    assert math.isclose(abs(lean) * r + rest * math.sqrt(math.expm1(r * r) - r * r), gap, rel_tol=1e-6)


def test_moving_to_the_sample_certifies_more_than_the_centre_does_where_samples_lie_far_out():
    x, y = problem()
    codes = make_codes("one-hot", 3)
    h = FockKernel(0.0, 1e-2, 0.3, relative=True).fit(x, codes.real[y])
    both = h.certified_radius(x, codes)
    w = (x - h.centre) / h.unit
    scores, gradients, combine = through_codes(h(x), h.derivative(x) * h.unit, codes, Complexification())
    norms = degree_norms(h.points, combine(h.coefficients), 0.0)
    centre = certified_radius(norms, torch.linalg.vector_norm(w, dim=1), scores, gradients) * h.unit
    assert bool((both >= centre).all())
    assert float(both.median()) > 1.5 * float(centre.median())


def test_relative_values_need_codes_of_one_length():
    x, y = problem()
    codes = torch.diag(torch.tensor([1.0, 2.0, 3.0])).to(torch.complex128)
    with pytest.raises(ConfigError, match="codes of one length"):
        FockKernel(relative=True).fit(x, codes.real[y]).certified_radius(x, codes)


def test_of_a_linear_function_it_is_the_exact_distance():
    x, y = problem(2)
    codes = make_codes("signs", 2)
    h = PolynomialHolomorphic(1, 0.0, 1e-6).fit(x, codes.real[y])
    slope = torch.func.jacrev(lambda v: h(v[None])[0, 0])(x[0])
    torch.testing.assert_close(h.certified_radius(x, codes), h(x)[:, 0].abs() / slope.norm(), rtol=1e-7, atol=0)
    for p, dual in ((math.inf, slope.abs().sum()), (1.0, slope.abs().max())):
        torch.testing.assert_close(h.certified_radius(x, codes, p=p), h(x)[:, 0].abs() / dual, rtol=1e-7, atol=0)


@pytest.mark.parametrize("solver", ["fock", "polynomial"])
@pytest.mark.parametrize("p", [1.0, math.inf])
def test_after_a_rotation_the_norm_is_that_of_the_inputs(solver, p):
    """The lead changes along one rotated coordinate, which is many input coordinates: an l_inf ball goes far there."""
    embedding = Pairing(rotation=random_rotation(16, 1))
    x = torch.randn(60, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z, codes = embedding(x), make_codes("signs", 2)
    targets = codes.real[(z[:, 0].real > 0).long()]
    if solver == "fock":
        h = FockKernel(1.0, 1e-3, 4.0).fit(z, targets)
    else:
        h = PolynomialHolomorphic(1, 0.0, 1e-3, embedding).fit(x, targets)
    model = ExactClassifier(h, embedding, codes)
    radius = model.certified_radius(x, p=p)
    assert float(radius.median()) > 0.02
    assert float(worst_margin(model, x, 0.99 * radius, p).min()) > 0


@pytest.mark.slow
@pytest.mark.parametrize("embedding", [Complexification(), Pairing()])
def test_there_is_a_certificate_where_the_powers_of_the_degrees_overflow(embedding):
    x, y = problem(2)
    codes = make_codes("signs", 2)
    h = FockKernel(0.5, 1e-3, 0.15, relative=True)
    model = ExactClassifier(h, embedding, codes)
    h.fit(model.embed(x), codes[y].real)
    radius = model.certified_radius(x)
    assert float(radius.min()) > 1e-3
    assert float(worst_margin(model, x, 0.99 * radius, 2.0).min()) > 0


def test_each_set_of_codes_is_certified_by_itself():
    x, y = problem(2)
    codes = make_codes("signs", 2)

    def fit() -> FockKernel:
        return FockKernel(0.5, 1e-2).fit(x, codes.real[y])

    h = fit()
    h.certified_radius(x, codes / 100)
    radius = h.certified_radius(x, 100 * codes)  # the norms are 10,000 times larger
    assert bool((radius == fit().certified_radius(x, 100 * codes)).all())
    assert bool((fit().certified_radius(x, 100 * codes.real) == radius).all())


def test_other_norms_are_refused():
    model, x = fitted("fock", Complexification(), "signs")
    with pytest.raises(ConfigError, match="p = 1, 2 or infinity"):
        model.certified_radius(x, p=3.0)


@pytest.mark.parametrize("ridge", [1e-15, 1e-12, 1e-10, 1e-8])
def test_no_answer_changes_within_a_radius_although_scores_are_rounded(ridge):
    """At tiny ridges the coefficients are huge and the scores lose digits: the radius must know it."""
    x = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    codes = torch.eye(2, dtype=torch.float64)
    h = FockKernel(ridge=ridge).fit(x, codes[torch.tensor([0, 1, 0, 1, 1])])
    generator = torch.Generator().manual_seed(0)
    query = x + 1e-3 * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    radius = h.certified_radius(query, codes)
    steps = torch.randn(400, *x.shape, generator=generator, dtype=torch.float64)
    steps *= (radius / 2 * torch.rand(400, 5, generator=generator, dtype=torch.float64) / steps.norm(dim=2))[..., None]
    moved = torch.stack([h(query + step).argmax(1) for step in steps])
    assert bool((moved == h(query).argmax(1)).all())
    assert (radius > 0).any() == (ridge >= 1e-12)
