"""A fitted exact solution as a torch classifier, so that attacks, evaluation and the calculus can take it."""

import torch
from torch import Tensor, nn

from holomorph.errors import DomainError
from holomorph.exact.fock import FockKernel
from holomorph.exact.polynomial import PolynomialHolomorphic
from holomorph.nn.embedding import Complexification, Embedding


class ExactClassifier(nn.Module):
    r"""Logits $-\beta|h(\iota(x)) - c_k|^2$ of an exact hypothesis h, an embedding and one code a class.

    Parameters
    ----------
    solver:
        A fitted :class:`FockKernel` or :class:`PolynomialHolomorphic`.
    embedding:
        Real inputs (batch, n) to C^m.
    codes:
        (classes, outputs).
    sharpness:
        beta; it sets the probabilities, not the decision.

    A Fock solver with relative values is read in their unit, a power of $|k_z|$, which changes the logits' size, not
    their order.

    Source: docs/mathematics.md, section 4.
    """

    codes: Tensor
    sharpness: Tensor

    def __init__(
        self, solver: FockKernel | PolynomialHolomorphic, embedding: Embedding, codes: Tensor, sharpness: float = 1.0
    ) -> None:
        super().__init__()
        self.solver, self.embedding = solver, embedding
        self.register_buffer("codes", codes)
        self.register_buffer("sharpness", torch.tensor(sharpness, dtype=torch.float64))

    def embed(self, x: Tensor) -> Tensor:
        """Embed real inputs, flattened; complexified ones stay real, which is the same and cheaper."""
        flat = x.flatten(1).double()
        return flat if isinstance(self.embedding, Complexification) else self.embedding(flat)

    def hypothesis(self, z: Tensor) -> Tensor:
        """Evaluate h at embedded inputs (batch, m): (batch, outputs), always complex."""
        h = self.solver(z) if isinstance(self.solver, FockKernel) else self.solver.hypothesis(z)
        return h if h.is_complex() else torch.complex(h, torch.zeros_like(h))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        z = self.embed(x)
        h = self.hypothesis(z)
        if isinstance(self.solver, FockKernel) and self.solver.relative:
            h = h / self.solver.unit_of_values(z)[:, None]
        difference = h.unsqueeze(1) - self.codes
        return -self.sharpness * (difference.real.square() + difference.imag.square()).sum(2)

    def certified_radius(self, x: Tensor, *, p: float = 2.0, order: int = 1) -> Tensor:
        """Radius (batch,) below which no perturbation of the p-norm changes the decision; p is 1, 2, inf."""
        flat = x.flatten(1).double()
        if isinstance(self.solver, FockKernel):
            z = self.embed(flat)
            return self.solver.certified_radius(z, self.codes, p=p, order=order, embedding=self.embedding)
        if isinstance(self.solver, PolynomialHolomorphic):
            return self.solver.certified_radius(flat, self.codes, p=p, order=order)
        raise DomainError("There is a certificate for the Fock kernel and for polynomials only.")
