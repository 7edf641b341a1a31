"""Holomorphic polynomials by least squares with energy: one linear system, solved to the optimum."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from holomorph.calculus.measures import Measure, Samples
from holomorph.errors import ConfigError, DataError, DomainError
from holomorph.exact.certificate import DegreeNorms, certified_radius, through_codes
from holomorph.exact.monomials import Monomials, count_monomials
from holomorph.exact.recentred import recentred_radius
from holomorph.exact.solve import weighed
from holomorph.nn.embedding import Complexification, Embedding

_BLOCK = 2048


class PolynomialHolomorphic(nn.Module):
    r"""The polynomial that minimises mean |h - c|^2 + weight * mean |d h|^2 over a measure + ridge * Fock norm^2.

    $$\Bigl(\tfrac1N\Phi^H\Phi + \lambda\,\tfrac1M\sum_j(\partial_j\Phi)^H\partial_j\Phi + \rho I\Bigr)A
      = \tfrac1N\Phi^H C$$

    The features $z^\alpha/\sqrt{\alpha!}$ are orthonormal in the Fock space, so its norm is the identity. Without it
    (and with the energy at the samples only) a polynomial of high degree can have zero loss and zero derivative at
    every sample; the ridge is what forbids that. Unlike :class:`FockKernel`, whose energy is Gaussian-weighted, the
    energy here is taken where ``measure`` draws: the two solve different problems.

    Parameters
    ----------
    degree:
        Highest total degree d; there are binomial(m + d, d) features.
    weight:
        lambda.
    ridge:
        rho > 0.
    embedding:
        Real inputs to complex ones; complexified real data are computed with real numbers.
    measure:
        Where the energy is taken, on the real inputs: ``Samples()`` or ``Ball(threat)``.
    draws:
        Points drawn a sample.
    scale:
        z is centred and divided by ``scale`` times the root mean square of |z|.
    max_bytes:
        The memory that the solver may use.
    seed:
        Seeds the measure.

    Up to 20,000 features the Gram matrix is accumulated in blocks and factored (Cholesky); beyond, conjugate
    gradients evaluate the features block by block in every step and store none.

    Raises
    ------
    DomainError
        If the estimate of bytes exceeds ``max_bytes``, or the iteration does not reach its tolerance.

    Source: docs/mathematics.md, section 4.

    Examples
    --------
    >>> from holomorph.nn.embedding import embedding
    >>> x = torch.rand(50, 2, dtype=torch.float64)
    >>> square = torch.complex(x[:, :1], x[:, 1:]) ** 2
    >>> h = PolynomialHolomorphic(2, weight=0.0, ridge=1e-12, embedding=embedding("pairing")).fit(x, square)
    >>> bool((h(x) - square).abs().max() < 1e-8)
    True
    """

    direct_features = 20_000

    def __init__(
        self,
        degree: int = 3,
        weight: float = 1e-3,
        ridge: float = 1e-4,
        embedding: Embedding | None = None,
        measure: Measure | None = None,
        *,
        draws: int = 1,
        scale: float = 1.0,
        max_bytes: int = 2**31,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not (weight >= 0 and ridge > 0 and scale > 0 and draws >= 1):
            raise ConfigError("PolynomialHolomorphic needs weight >= 0, ridge > 0, scale > 0 and draws >= 1.")
        self.degree, self.weight, self.ridge, self.scale = degree, weight, ridge, scale
        self.embedding = embedding if embedding is not None else Complexification()
        self.measure: Measure = measure if measure is not None else Samples()
        self.draws, self.max_bytes, self.seed = draws, max_bytes, seed
        for name in ("centre", "unit", "coefficients"):
            self.register_buffer(name, None)
        self.centre: Tensor
        self.unit: Tensor
        self.coefficients: Tensor
        self.basis: Monomials | None = None

    def fit(self, x: Tensor, targets: Tensor, weights: Tensor | None = None) -> PolynomialHolomorphic:
        """Fit to real samples (N, n) and codes (N, outputs), real or complex; ``weights`` (N,) count the samples."""
        if x.ndim != 2 or targets.ndim != 2 or len(x) != len(targets) or len(x) == 0:
            raise DataError(
                f"Give samples (N, n) and targets (N, outputs), not {tuple(x.shape)}, {tuple(targets.shape)}."
            )
        x, targets, counts = weighed(x, targets, weights)
        z = self._embed(x)
        self._check_size(z, targets.shape[1])
        self.centre = (counts[:, None] * z).mean(0)
        rms = (counts * torch.linalg.vector_norm(z - self.centre, dim=1).square()).mean().sqrt()
        self.unit = self.scale * torch.where(rms > 0, rms, torch.ones_like(rms))
        self.basis = Monomials(z.shape[1], self.degree)
        weight = self.weight / float(self.unit) ** 2  # the energy is one in the units of x
        problem = _Problem(self.basis, self._normalise(z), self._drawn(x), targets, weight, self.ridge, counts)
        self.coefficients = problem.factor() if len(self.basis) <= self.direct_features else problem.iterate()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate h at real inputs: (batch, n) to (batch, outputs)."""
        return self.hypothesis(self._embed(x))

    def hypothesis(self, z: Tensor) -> Tensor:
        """Evaluate h at embedded inputs (batch, m), real or complex."""
        if self.basis is None:
            raise ConfigError("This PolynomialHolomorphic has not been fitted. Call fit(x, targets) first.")
        features = self.basis(self._normalise(z))
        dtype = torch.promote_types(features.dtype, self.coefficients.dtype)
        return features.to(dtype) @ self.coefficients.to(dtype)

    def objective(self, x: Tensor, targets: Tensor, coefficients: Tensor) -> Tensor:
        """What :meth:`fit` minimised, at other coefficients (D, outputs); x and targets as in the fit."""
        if self.basis is None:
            raise ConfigError("This PolynomialHolomorphic has not been fitted. Call fit(x, targets) first.")
        drawn = self._drawn(x)
        loss = self.basis(self._normalise(self._embed(x))).to(coefficients.dtype) @ coefficients - targets
        features = self.basis(drawn).to(coefficients.dtype)
        derivatives = [features @ self.basis.differentiate(coefficients, j) for j in range(self.basis.coordinates)]
        energy = sum((d.abs().square().sum() for d in derivatives), torch.zeros(())) / (len(drawn) * self.unit**2)
        return (
            loss.abs().square().sum() / len(x) + self.weight * energy + self.ridge * coefficients.abs().square().sum()
        )

    def certified_radius(self, x: Tensor, codes: Tensor, *, p: float = 2.0, order: int = 1) -> Tensor:
        r"""Radius up to which the nearest code to h provably stays the nearest; (batch,), in the units of x.

        A polynomial lies in the Fock space, whose norm its coefficients carry by degree. See
        :mod:`holomorph.exact.certificate`.
        """
        if self.basis is None:
            raise ConfigError("This PolynomialHolomorphic has not been fitted. Call fit(x, targets) first.")
        z = self._embed(x)
        w = self._normalise(z)
        features = self.basis(w)
        dtype = torch.promote_types(features.dtype, self.coefficients.dtype)
        slopes = [
            features.to(dtype) @ self.basis.differentiate(self.coefficients.to(dtype), j) for j in range(z.shape[1])
        ]
        scores, gradients, combine = through_codes(self.hypothesis(z), torch.stack(slopes, 2), codes, self.embedding)
        parts = torch.split(combine(self.coefficients), self.basis.sizes)
        mass = torch.zeros(len(codes), dtype=scores.dtype)
        sizes = torch.stack([part.abs().sum(0) for part in parts])
        norms = DegreeNorms(torch.stack([part.mH @ part for part in parts]), mass, 0.0, 0.0, sizes, len(self.basis))
        radius = certified_radius(norms, torch.linalg.vector_norm(w, dim=1), scores, gradients, p=p, order=order)
        if order == 1 and not w.is_complex():
            offsets = -codes.abs().square().sum(1) / 2
            radius = torch.maximum(radius, recentred_radius(norms, w, scores, gradients, offsets, p=p))
        return radius * self.unit

    def _drawn(self, x: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        return torch.cat([self._normalise(self._embed(self.measure.draw(x, generator))) for _ in range(self.draws)])

    def _embed(self, x: Tensor) -> Tensor:
        return x if isinstance(self.embedding, Complexification) else self.embedding(x).flatten(1)

    def _normalise(self, z: Tensor) -> Tensor:
        return (z - self.centre) / self.unit

    def _check_size(self, z: Tensor, outputs: int) -> None:
        features = count_monomials(z.shape[1], self.degree)
        size = 16 if z.is_complex() else 8
        matrices = 4 * features**2 if features <= self.direct_features else 8 * features * outputs
        estimate = size * (matrices + 3 * min(_BLOCK, len(z) * self.draws) * features) + 24 * features * z.shape[1]
        if estimate > self.max_bytes:
            raise DomainError(
                f"Degree {self.degree} in {z.shape[1]} coordinates has {features:,} features and needs about "
                f"{estimate / 2**30:.1f} GiB, more than the {self.max_bytes / 2**30:.1f} GiB allowed. "
                f"Use random features of all degrees, FockKernel(landmarks=1000) or "
                f"HolomorphicClassifier('fock', landmarks=1000); or lower the degree, or raise max_bytes."
            )


class _Problem:
    """The normal equations of one fit."""

    def __init__(
        self, basis: Monomials, z: Tensor, drawn: Tensor, targets: Tensor, weight: float, ridge: float, counts: Tensor
    ) -> None:
        self.basis, self.z, self.drawn, self.weight, self.ridge = basis, z, drawn, weight, ridge
        self.counts, self.drawn_counts = counts[:, None], counts.repeat(len(drawn) // len(z))[:, None]
        self.dtype = torch.promote_types(z.dtype, targets.dtype)
        self.right = torch.zeros(len(basis), targets.shape[1], dtype=self.dtype)
        for block, wanted in zip(torch.split(z, _BLOCK), torch.split(self.counts * targets, _BLOCK), strict=True):
            self.right += basis(block).mH.to(self.dtype) @ wanted.to(self.dtype) / len(z)

    def _gram(self, z: Tensor, counts: Tensor) -> Tensor:
        gram = torch.zeros(len(self.basis), len(self.basis), dtype=z.dtype)
        for block, times in zip(torch.split(z, _BLOCK), torch.split(counts, _BLOCK), strict=True):
            features = self.basis(block)
            gram.addmm_(features.mH, times * features)
        return gram / len(z)

    def factor(self) -> Tensor:
        """Solve by Cholesky."""
        matrix = self._gram(self.z, self.counts)
        if self.weight > 0:
            matrix += self.weight * self.basis.energy_gram(self._gram(self.drawn, self.drawn_counts))
        matrix.diagonal().add_(self.ridge)
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if failed:
            raise DomainError("The normal equations are singular to working precision. Raise the ridge.")
        return torch.cholesky_solve(self.right, factor.to(self.dtype))

    def apply(self, a: Tensor) -> Tensor:
        """Multiply coefficients (D, outputs) by the matrix, without forming it."""
        result = self.ridge * a
        for block, times in zip(torch.split(self.z, _BLOCK), torch.split(self.counts, _BLOCK), strict=True):
            features = self.basis(block).to(a.dtype)
            result += features.mH @ (times * (features @ a)) / len(self.z)
        lower = len(self.basis) - self.basis.sizes[-1]
        drawn = zip(torch.split(self.drawn, _BLOCK), torch.split(self.drawn_counts, _BLOCK), strict=True)
        for block, times in drawn if self.weight > 0 else ():
            features = self.basis(block)[:, :lower].to(a.dtype)  # derivatives have a degree less
            for j in range(self.basis.coordinates):
                derivative = features @ self.basis.differentiate(a, j)[:lower]
                lifted = self.basis.adjoint(features.mH @ (times * derivative), j)
                result += self.weight / len(self.drawn) * lifted
        return result

    def iterate(self, tolerance: float = 1e-10, steps: int = 2000) -> Tensor:
        """Solve by conjugate gradients, all outputs at once, to a relative residual."""
        a = torch.zeros_like(self.right)
        residual = self.right.clone()
        direction = residual.clone()
        square = residual.abs().square().sum(0)
        goal = tolerance**2 * square.clamp_min(torch.finfo(square.dtype).tiny)
        for _ in range(steps):
            if bool((square <= goal).all()):
                return a
            image = self.apply(direction)
            length = square / (direction.conj() * image).sum(0).real.clamp_min(1e-300)
            a += length * direction
            residual -= length * image
            new = residual.abs().square().sum(0)
            direction = residual + new / square.clamp_min(1e-300) * direction
            square = new
        worst = math.sqrt(float((square / goal).max())) * tolerance
        raise DomainError(
            f"Conjugate gradients stopped at a residual of {worst:.1e} after {steps} steps. Raise the ridge."
        )
