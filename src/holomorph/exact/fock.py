r"""Kernel regression in the Fock space of entire functions: the exact minimiser of risk + norm + energy."""

from __future__ import annotations

import logging
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from holomorph.contract import check_batch
from holomorph.errors import ConfigError, DataError, DomainError, unknown_name
from holomorph.exact.certificate import DegreeNorms, certified_radius, degree_norms, through_codes
from holomorph.exact.kernel import fock_kernel
from holomorph.exact.margin import squared_hinge
from holomorph.exact.recentred import recentred_radius
from holomorph.exact.solve import orthonormal, solve_kernel, weighed
from holomorph.nn.embedding import Complexification, Embedding, Pairing

_log = logging.getLogger("holomorph")

FockLoss = Literal["squared", "hinge", "squared-hinge"]


class FockKernel(nn.Module):
    r"""The entire function that minimises mean |h(z_i) - c_i|^2 + ridge * (Fock norm^2 + weight * energy).

    $$\min_h \frac1N\sum_i |h(z_i) - c_i|^2 + \rho \sum_\alpha (1 + \lambda|\alpha|)\,\alpha!\,|a_\alpha|^2,\qquad
      h = \sum_i \alpha_i K(\cdot, z_i),\quad (K + N\rho I)\,\alpha = c$$
    $$K(z, w) = {}_1F_1(1/\lambda; 1 + 1/\lambda; \langle z, w\rangle)$$

    The norm is $|h|^2$ plus lambda times the energy $|\partial h|^2$, both weighted with $e^{-|z|^2}/\pi^m$; the
    minimum is over *all* entire functions, not over a class of given size.

    Parameters
    ----------
    weight:
        lambda, the weight of the energy against the norm.
    ridge:
        rho; the mean squared error has weight one, so that rho does not depend on the number of samples.
    scale:
        z is divided by ``scale`` times the root mean square of |z| over the centred samples. Small values let h
        vary fast.
    loss:
        ``"squared"`` (closed form by Cholesky), ``"hinge"`` (scikit-learn's SVM on the precomputed kernel, one
        machine a code coordinate, with C = 1/(2 N ridge)) or ``"squared-hinge"`` (the same without intercept, see
        :func:`holomorph.exact.margin.squared_hinge`).
    relative:
        An exponent t between 0 and 1 (False and True): h is measured in the unit $|k_z|_K^t$, where $|k_z|_K$ is the
        largest value that a function of norm one takes at z. The risk is the mean of
        $|h(z_i)/|k_{z_i}|^t - c_i|^2$, with the kernel $K(z, w)/(|k_z||k_w|)^t$. Entire functions grow like
        $e^{|z|^2/2}$; asked for the same value everywhere they are left a thin margin where samples lie far from the
        centre, and asked for values in that unit a thick one. The decision between codes of one length stays that
        of h. On real points without energy the kernel is the Gaussian $e^{-|z-w|^2/2}$ at t = 1.
    landmarks:
        h is sought in the span of so many samples, drawn at random (Nystroem): memory of samples times landmarks
        instead of samples squared. None takes 2,000 beyond ``max_samples`` samples, and all of them up to there.
    seed:
        Seeds the choice of landmarks.

    A fitted object is a module: (batch, m) real or complex to (batch, outputs); real if samples and targets are.
    Source: docs/mathematics.md, section 4 (kernel and certificate are our derivation).

    Examples
    --------
    >>> z = torch.linspace(-1, 1, 7, dtype=torch.float64)[:, None]
    >>> h = FockKernel(weight=0.1, ridge=1e-9).fit(z, torch.sin(3 * z))
    >>> bool((h(z) - torch.sin(3 * z)).abs().max() < 1e-2)
    True
    """

    max_samples = 10_000

    def __init__(
        self,
        weight: float = 1.0,
        ridge: float = 1e-4,
        scale: float = 1.0,
        *,
        loss: FockLoss = "squared",
        relative: float = False,
        landmarks: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not (weight >= 0 and ridge > 0 and scale > 0):
            raise ConfigError(f"FockKernel needs weight >= 0, ridge > 0, scale > 0, not {weight}, {ridge}, {scale}.")
        if loss not in get_args(FockLoss):
            raise unknown_name("loss", loss, list(get_args(FockLoss)))
        if landmarks is not None and not (landmarks >= 1 and loss == "squared"):
            raise ConfigError("Landmarks are a number >= 1, for the squared loss. Leave them out for a hinge loss.")
        if not 0 <= relative <= 1:
            raise ConfigError(f"FockKernel needs relative between 0 and 1, not {relative}.")
        if relative and loss == "hinge":
            raise ConfigError(
                "The hinge loss has an intercept, which is no multiple of |k_z|. Use loss='squared-hinge'."
            )
        self.weight, self.ridge, self.scale, self.loss, self.relative = weight, ridge, scale, loss, float(relative)
        self.landmarks, self.seed = landmarks, seed
        for name in ("centre", "unit", "points", "coefficients", "bias"):
            self.register_buffer(name, None)
        self.centre: Tensor | None
        self.unit: Tensor
        self.points: Tensor
        self.coefficients: Tensor
        self.bias: Tensor
        self._norms: DegreeNorms | None = None
        self._counts = torch.empty(0)  # of the samples of the fit
        self._read_out = torch.empty(0)  # the codes that the norms are for

    def fit(self, z: Tensor, targets: Tensor, weights: Tensor | None = None) -> FockKernel:
        """Fit to samples (N, m), real or complex, and target codes (N, outputs); ``weights`` (N,) count the samples."""
        if z.ndim != 2 or targets.ndim != 2 or len(z) != len(targets) or len(z) == 0:
            raise DataError(
                f"Give samples (N, m) and targets (N, outputs), not {tuple(z.shape)}, {tuple(targets.shape)}."
            )
        check_batch(z)
        z, targets, self._counts = weighed(z, targets, weights)
        self.centre = (self._counts[:, None] * z).mean(0)
        largest = (z - self.centre).abs().max()  # whose square may leave the range of the type
        shares = (z - self.centre) / torch.where(largest > 0, largest, torch.ones_like(largest))
        rms = largest * (self._counts * torch.linalg.vector_norm(shares, dim=1).square()).mean().sqrt()
        self.unit = self.scale * torch.where(rms > 0, rms, torch.ones_like(rms))
        w = self._normalise(z)
        self._norms = None
        if self.loss != "squared":
            self._fit_hinge(w, targets)
        elif self.landmarks is not None or len(w) > self.max_samples:
            self._fit_landmarks(w, targets, self.landmarks or 2_000)
        else:
            self._fit_squared(w, targets)
        return self

    def gram(self, z: Tensor, w: Tensor) -> Tensor:
        """K(z_i, w_j), (len(z), len(w)); before a fit without centring and with ``scale`` as the unit of length."""
        return fock_kernel(_inner(self._normalise(z), self._normalise(w)), self.weight)

    def forward(self, z: Tensor) -> Tensor:
        """Evaluate h: (batch, m) to (batch, outputs)."""
        return self._combine(fock_kernel(_inner(self._fitted(z), self.points), self.weight)) + self.bias

    def derivative(self, z: Tensor) -> Tensor:
        r"""The complex derivative $\partial h$: (batch, outputs, m), in the units of z."""
        slope = fock_kernel(_inner(self._fitted(z), self.points), self.weight, derivative=1)
        weighted = slope.unsqueeze(1) * self.coefficients.mT  # (batch, outputs, samples)
        dtype = torch.promote_types(weighted.dtype, self.points.dtype)
        return weighted.to(dtype) @ self.points.conj().to(dtype) / self.unit

    def size(self, z: Tensor) -> Tensor:
        r"""$|k_z|_K = K(z, z)^{1/2}$, the largest |h(z)| over h of norm one: (batch,)."""
        return self._size(self._fitted(z))

    def unit_of_values(self, z: Tensor) -> Tensor:
        r"""$|k_z|_K^t$, what values are measured in: (batch,), ones if absolute."""
        return self._value_unit(self._fitted(z))

    def norm(self) -> Tensor:
        """$|h|_K$ of each output, (outputs,), without the SVM's intercept."""
        self._fitted(self.points[:0])
        image = self._combine(fock_kernel(_inner(self.points, self.points), self.weight))
        return (self.coefficients.conj() * image).sum(0).real.clamp_min(0).sqrt()

    def certified_radius(
        self, z: Tensor, codes: Tensor, *, p: float = 2.0, order: int = 1, embedding: Embedding | None = None
    ) -> Tensor:
        r"""Radius up to which the nearest code to h provably stays the nearest; (batch,), in the units of z.

        Scores are $\mathrm{Re}\langle h, c_k\rangle - |c_k|^2/2$, that is $-|h - c_k|^2/2$ up to what all share.

        Parameters
        ----------
        z:
            (batch, m); an embedding of the real inputs that is an isometry.
        codes:
            (classes, outputs).
        p, order:
            See :func:`holomorph.exact.certificate.certified_radius`.
        embedding:
            That which made z: the norm is that of the inputs. None: of the real and imaginary parts of z.
        """
        w = self._fitted(z)
        if self.relative and not _one_length(codes):
            raise ConfigError("Relative values decide between codes of one length. Use one-hot, +-1 or roots of unity.")
        if embedding is None:
            embedding = Pairing() if z.is_complex() else Complexification()
        scores, gradients, combine = through_codes(self(z), self.derivative(z) * self.unit, codes, embedding)
        if self._norms is None or not torch.equal(self._read_out, codes.to(torch.complex128)):
            self._norms = degree_norms(self.points, combine(self.coefficients), self.weight)
            self._read_out = codes.to(torch.complex128, copy=True)
        radius = certified_radius(self._norms, torch.linalg.vector_norm(w, dim=1), scores, gradients, p=p, order=order)
        if order == 1 and not w.is_complex():
            offsets = combine(self.bias[None]).real[0] - codes.abs().square().sum(1) / 2
            radius = torch.maximum(radius, recentred_radius(self._norms, w, scores, gradients, offsets, p=p))
        return radius * self.unit

    def _normalise(self, z: Tensor) -> Tensor:
        return z / self.scale if self.centre is None else (z - self.centre) / self.unit

    def _fitted(self, z: Tensor) -> Tensor:
        if self.centre is None:
            raise ConfigError("This FockKernel has not been fitted. Call fit(z, targets) first.")
        return self._normalise(z)

    def _combine(self, gram: Tensor) -> Tensor:
        dtype = torch.promote_types(gram.dtype, self.coefficients.dtype)
        return gram.to(dtype) @ self.coefficients.to(dtype)

    def _size(self, w: Tensor) -> Tensor:
        return fock_kernel((w.conj() * w).sum(1).real, self.weight).sqrt()

    def _value_unit(self, w: Tensor) -> Tensor:
        return self._size(w) ** self.relative if self.relative else torch.ones_like(w[:, 0].real)

    def _risk_gram(self, z: Tensor, w: Tensor) -> Tensor:
        """The kernel of the values that the risk looks at."""
        gram = fock_kernel(_inner(z, w), self.weight)
        return gram / (self._value_unit(z)[:, None] * self._value_unit(w)) if self.relative else gram

    def _fit_squared(self, w: Tensor, targets: Tensor) -> None:
        gram = self._risk_gram(w, w)
        gram.diagonal().add_(len(w) * self.ridge / self._counts)
        self._keep(w, solve_kernel(gram, targets))

    def _fit_landmarks(self, w: Tensor, targets: Tensor, landmarks: int) -> None:
        chosen = torch.randperm(len(w), generator=torch.Generator().manual_seed(self.seed))[:landmarks]
        _log.info("Nystroem: %d of %d samples span the hypothesis.", len(chosen), len(w))
        points = w[chosen]
        inner = self._risk_gram(points, points)
        inner.diagonal().mul_(1 + 1e-12)
        try:
            coefficients = solve_kernel(*self._normal_equations(w, targets, points, inner))
        except DomainError:  # many landmarks of a smooth kernel depend on each other to working precision
            basis = orthonormal(inner)
            unit = torch.eye(basis.shape[1], dtype=basis.dtype)
            coefficients = solve_kernel(*self._normal_equations(w, targets, points, unit, basis))
            coefficients = basis.to(coefficients.dtype) @ coefficients
        self._keep(points, coefficients)

    def _normal_equations(
        self, w: Tensor, targets: Tensor, points: Tensor, inner: Tensor, basis: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Matrix and right side of the regression on the kernel's functions of the points, or on combinations of them.

        ``inner`` are the functions' inner products, ``basis`` the combinations (points, functions).
        """
        normal = len(w) * self.ridge * inner
        right = torch.zeros(len(inner), targets.shape[1], dtype=torch.promote_types(inner.dtype, targets.dtype))
        for start in range(0, len(w), 4096):
            cross = self._risk_gram(points, w[start : start + 4096])
            cross = cross if basis is None else basis.mH @ cross
            counts = self._counts[start : start + 4096]
            normal += (counts * cross) @ cross.mH
            right += (counts * cross).to(right.dtype) @ targets[start : start + 4096].to(right.dtype)
        return normal, right

    def _fit_hinge(self, w: Tensor, targets: Tensor) -> None:
        if targets.is_complex() and bool((targets.imag != 0).any()):
            raise ConfigError("The hinge loss needs real codes. Use one-hot or +-1 codes, or the squared loss.")
        gram = self._risk_gram(w, w).real  # of Re h, whose minimiser has real coefficients
        level = (self._counts[:, None] * targets.real).mean(0)
        signs = torch.where(targets.real > level, 1.0, -1.0).to(gram.dtype)
        if self.loss == "hinge":
            columns, bias = self._machines(gram, signs)
        else:
            columns, bias = (
                squared_hinge(gram, signs, self.ridge, weights=self._counts),
                torch.zeros(signs.shape[1], dtype=gram.dtype),
            )
        used = columns.abs().sum(1) > 0
        self._keep(w[used], columns[used], bias)

    def _machines(self, gram: Tensor, signs: Tensor) -> tuple[Tensor, Tensor]:
        from sklearn.svm import SVC

        columns, bias = torch.zeros_like(signs), []
        for j, sign in enumerate(signs.mT):
            machine = SVC(kernel="precomputed", C=1 / (2 * len(gram) * self.ridge))
            machine.fit(gram.numpy(), sign.numpy(), sample_weight=self._counts.numpy())
            columns[torch.as_tensor(machine.support_, dtype=torch.long), j] = torch.as_tensor(machine.dual_coef_[0])
            bias.append(float(machine.intercept_[0]))
        return columns, torch.tensor(bias, dtype=gram.dtype)

    def _keep(self, points: Tensor, coefficients: Tensor, bias: Tensor | None = None) -> None:
        self.points = points
        self.coefficients = coefficients / self._value_unit(points)[:, None]
        self.bias = torch.zeros(coefficients.shape[1], dtype=points.real.dtype) if bias is None else bias


def _inner(z: Tensor, w: Tensor) -> Tensor:
    dtype = torch.promote_types(z.dtype, w.dtype)
    return z.to(dtype) @ w.to(dtype).mH


def _one_length(codes: Tensor) -> bool:
    lengths = torch.linalg.vector_norm(codes, dim=1)
    return bool((lengths - lengths[0]).abs().max() < 1e-12 * lengths[0])
