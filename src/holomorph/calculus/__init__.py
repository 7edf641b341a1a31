"""Analytic quantities of any differentiable callable; knows nothing of training."""

from holomorph.calculus import jets, special
from holomorph.calculus.contour import cauchy_estimate, hardy_norm, radius_of_convergence, taylor_coefficients
from holomorph.calculus.derivatives import curvature, hessian_vector, input_gradient, jacobian, jvp, vjp
from holomorph.calculus.energy import Estimate, dirichlet_energy, dirichlet_gram
from holomorph.calculus.gaussian import gaussian_energy
from holomorph.calculus.laplacian import laplacian
from holomorph.calculus.measures import Ball, Measure, Noise, Samples, Segments
from holomorph.calculus.spheres import Violations, harnack_interval, maximum_principle_violations, mean_value_gap
from holomorph.calculus.wirtinger import cauchy_riemann_residual, wirtinger

__all__ = [
    "Ball", "Estimate", "Measure", "Noise", "Samples", "Segments", "Violations", "cauchy_estimate",
    "cauchy_riemann_residual", "curvature", "dirichlet_energy", "dirichlet_gram", "gaussian_energy", "hardy_norm",
    "harnack_interval", "hessian_vector", "input_gradient", "jacobian", "jets", "jvp", "laplacian",
    "maximum_principle_violations", "mean_value_gap", "radius_of_convergence", "special", "taylor_coefficients", "vjp",
    "wirtinger",
]  # fmt: skip
