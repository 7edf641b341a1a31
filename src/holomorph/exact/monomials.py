r"""The monomials up to a degree, orthonormal in the Fock space: $\phi_\alpha(z) = z^\alpha/\sqrt{\alpha!}$."""

import itertools
import math

import torch
from torch import Tensor

from holomorph.errors import ConfigError


class Monomials:
    r"""Evaluate $\phi_\alpha(z)$, $|\alpha| \le d$, and differentiate in coefficient space.

    Since $\partial_j\phi_\alpha = \sqrt{\alpha_j}\,\phi_{\alpha - e_j}$, derivatives are index shifts: the energy needs
    no second evaluation of the features.

    Attributes
    ----------
    exponents:
        (features, m), ordered by degree.

    Source: docs/mathematics.md, section 4.

    >>> basis = Monomials(coordinates=2, degree=2)
    >>> basis.exponents.tolist()
    [[0, 0], [1, 0], [0, 1], [2, 0], [1, 1], [0, 2]]
    """

    def __init__(self, coordinates: int, degree: int) -> None:
        if degree < 0 or coordinates < 1:
            raise ConfigError(f"Monomials need degree >= 0 and coordinates >= 1, not {degree} and {coordinates}.")
        self.coordinates, self.degree = coordinates, degree
        exponents: list[list[int]] = []
        places: dict[tuple[int, ...], int] = {}
        parents, factors = [0], [0]  # each monomial is an earlier one times a coordinate
        for chosen in itertools.chain.from_iterable(
            itertools.combinations_with_replacement(range(coordinates), k) for k in range(degree + 1)
        ):
            places[chosen] = len(exponents)
            exponents.append([chosen.count(j) for j in range(coordinates)])
            if chosen:
                parents.append(places[chosen[1:]])
                factors.append(chosen[0])
        self.exponents = torch.tensor(exponents)
        self._parents, self._factors = torch.tensor(parents), torch.tensor(factors)
        self._lower = torch.tensor(
            [
                [places.get(_without(chosen, j), 0) if j in chosen else 0 for j in range(coordinates)]
                for chosen in places
            ]
        ).reshape(len(places), coordinates)
        self._roots = self.exponents.double().sqrt()
        self._ends = [count_monomials(coordinates, k) for k in range(degree + 1)]

    def __len__(self) -> int:
        return len(self.exponents)

    def __call__(self, z: Tensor) -> Tensor:
        """Features (batch, D) of points (batch, m), real or complex."""
        parts = [torch.ones(len(z), 1, dtype=z.dtype)]
        for start, end in itertools.pairwise(self._ends):
            # every parent has degree one less: it stands in the part before
            parent = self._parents[start:end] - (start - parts[-1].shape[1])
            factor = self._factors[start:end]
            root = self._roots[start:end].gather(1, factor[:, None])[:, 0].to(z.real.dtype)
            parts.append(parts[-1][:, parent] * z[:, factor] / root)
        return torch.cat(parts, dim=1)

    @property
    def sizes(self) -> list[int]:
        """How many monomials there are of each degree."""
        return [end - start for start, end in itertools.pairwise([0, *self._ends])]

    def differentiate(self, coefficients: Tensor, j: int) -> Tensor:
        r"""Coefficients (D, K) of $\partial_j h$ from those of $h = \sum_\alpha a_\alpha\phi_\alpha$."""
        scaled = coefficients * self._roots[:, j, None].to(coefficients.real.dtype)
        return torch.zeros_like(coefficients).index_add_(0, self._lower[:, j], scaled)

    def adjoint(self, coefficients: Tensor, j: int) -> Tensor:
        """The adjoint of :meth:`differentiate`."""
        return coefficients[self._lower[:, j]] * self._roots[:, j, None].to(coefficients.real.dtype)

    def energy_gram(self, gram: Tensor) -> Tensor:
        r"""$\sum_j (\partial_j\Phi)^H\partial_j\Phi$ from $\Phi^H\Phi$, both (D, D)."""
        energy = torch.zeros_like(gram)
        for j in range(self.coordinates):
            rows = self.exponents[:, j].nonzero()[:, 0]  # the derivatives of all others vanish
            lower = self._lower[rows, j]
            root = self._roots[rows, j].to(gram.real.dtype)
            energy[rows[:, None], rows] += gram[lower[:, None], lower] * root[:, None] * root
        return energy


def count_monomials(coordinates: int, degree: int) -> int:
    """How many monomials there are: binomial(m + d, d).

    >>> count_monomials(64, 3)
    47905
    """
    return math.comb(coordinates + degree, degree)


def _without(chosen: tuple[int, ...], j: int) -> tuple[int, ...]:
    if j not in chosen:
        return chosen
    place = chosen.index(j)
    return chosen[:place] + chosen[place + 1 :]
