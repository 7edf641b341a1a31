"""Holomorphic hypotheses with a global optimum: polynomials and the Fock space of entire functions."""

from holomorph.exact.fock import FockKernel
from holomorph.exact.kernel import fock_kernel
from holomorph.exact.polynomial import PolynomialHolomorphic

__all__ = ["FockKernel", "PolynomialHolomorphic", "fock_kernel"]
