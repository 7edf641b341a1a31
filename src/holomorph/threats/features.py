"""Tabular inputs: an eps and a box for each feature, zero eps for those that nobody can change."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from holomorph._utils.io import read_npz
from holomorph.errors import DataError
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import FeatureThreat
from holomorph.threats.ranges import FeatureRanges
from holomorph.threats.rows import Rows

#: The constraints that may be left out.
_FURTHER = ("direction", "whole", "groups", "matrix", "bound", "equal")


@dataclass(frozen=True, eq=False)
class Features:
    r"""The unit, the range and the freedom of each feature.

    $$\Bigl\|\bigl(\delta_j / \varepsilon_j\bigr)_{\varepsilon_j > 0}\Bigr\|_p \le \varepsilon, \qquad
    \delta_j = 0 \text{ where } \varepsilon_j = 0, \qquad \mathrm{lo}_j \le x_j + \delta_j \le \mathrm{hi}_j$$

    The threat's own eps counts in these units: under ``inf:1`` every feature moves by at most its own eps, under
    ``2:1`` the perturbations fill an ellipsoid.

    Parameters
    ----------
    eps, low, high:
        One number a feature, of the shape of a sample, in the feature's unit; a feature with eps 0 is frozen.
    direction:
        1 where a feature may only rise, -1 where it may only fall, 0 (the default) where it may do both.
    whole:
        Where True, a feature is a whole number and stays one.
    groups:
        Features with the same number above 0 are the one-hot code of one category and stay one. A category changes
        only where the eps of its features and the threat's eps allow a step of 1 in each.
    matrix, bound, equal:
        Linear relations among the flattened features that every row keeps: matrix x <= bound, or matrix x = bound in
        the rows where ``equal`` is True.

    Gradients know nothing of whole numbers and categories: attacks move in the ball between the walls, and each
    proposal is turned into a possible row before it counts.

    Raises
    ------
    DataError
        For a negative or infinite eps, none above 0, other shapes, or an empty or infinite range.

    Source: docs/evaluation.md; a change of units, our own.

    Examples
    --------
    >>> features = Features(torch.tensor([0.5, 0.0]), torch.tensor([0.0, 10.0]), torch.tensor([2.0, 100.0]))
    >>> features.encode(torch.tensor([[1.0, 40.0]])).tolist()
    [[2.0, 30.0]]
    """

    eps: Tensor
    low: Tensor
    high: Tensor
    direction: Tensor | None = None
    whole: Tensor | None = None
    groups: Tensor | None = None
    matrix: Tensor | None = None
    bound: Tensor | None = None
    equal: Tensor | None = None
    rows: Rows = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("eps", "low", "high"):
            object.__setattr__(self, name, torch.as_tensor(getattr(self, name)).double())
        object.__setattr__(self, "rows", self._rows())
        if not self.eps.shape == self.low.shape == self.high.shape:
            shapes = [tuple(part.shape) for part in (self.eps, self.low, self.high)]
            raise DataError(f"eps, low and high of the features have the shapes {shapes}. Give one number a feature.")
        if not torch.stack([self.eps, self.low, self.high]).isfinite().all():
            raise DataError("eps, low and high of the features must be finite. Give every feature a range.")
        if (self.eps < 0).any() or not (self.eps > 0).any():
            raise DataError("Every eps must be at least 0, and one of them positive.")
        if (self.low > self.high).any() or ((self.low == self.high) & self.free).any():
            raise DataError("The range of a feature is empty. Give low < high wherever eps is positive.")

    def _rows(self) -> Rows:
        """The constraints on flattened rows, with what was left out."""
        count = self.eps.numel()
        kinds = {"direction": torch.float64, "whole": torch.bool, "groups": torch.int64}
        shaped = {}
        for name, dtype in kinds.items():
            given = getattr(self, name)
            shaped[name] = (torch.zeros(count) if given is None else torch.as_tensor(given)).to(dtype).flatten()
        matrix = torch.zeros(0, count) if self.matrix is None else torch.as_tensor(self.matrix)
        bound = torch.zeros(0) if self.bound is None else torch.as_tensor(self.bound)
        equal = torch.zeros(len(bound)) if self.equal is None else torch.as_tensor(self.equal)
        if any(len(part) != count for part in shaped.values()) or matrix.ndim != 2 or matrix.shape[1] != count:
            raise DataError(f"direction, whole, groups and each row of matrix need {count} numbers, one a feature.")
        if not len(matrix) == len(bound) == len(equal):
            raise DataError(
                f"There are {len(matrix)} relations, {len(bound)} bounds and {len(equal)} entries of equal."
            )
        return Rows(low=self.low.flatten(), high=self.high.flatten(), free=(self.eps > 0).flatten(), **shaped,
                    matrix=matrix.double(), bound=bound.double(), equal=equal.bool())  # fmt: skip

    @property
    def constrained(self) -> bool:
        """Whether rows must be more than inside a ball and a box."""
        r: Rows = self.rows
        return bool(r.whole.any() or (r.groups > 0).any() or len(r.bound))

    def possible(self, before: Tensor, x: Tensor) -> Tensor:
        """Which samples x are possible rows that come from ``before``: (batch,) bool, whatever their distance."""
        rows = self.rows.on(x.device)
        return rows.holds(before.flatten(1).double(), x.flatten(1).double())

    def settle(self, before: Tensor, proposal: Tensor, p: float, radius: float) -> Tensor:
        """Possible rows near proposals, at most ``radius`` eps away; both in units."""
        rows, unit = self.rows.on(proposal.device), self.unit.to(proposal.device).flatten()
        start, end = (self.decode(part).flatten(1) for part in (before, proposal))
        found = rows.nearest(start, end, unit, p, radius)
        moved = found != start
        return torch.where(moved.reshape(before.shape), self.encode(found.reshape(before.shape)).to(before), before)

    @classmethod
    def load(cls, path: str | Path) -> Features:
        """Read the arrays ``eps``, ``low``, ``high`` and those of the constraints there are from an npz file."""
        try:
            arrays = read_npz(path)
            more = {name: torch.from_numpy(arrays[name]) for name in _FURTHER if name in arrays}
            return cls(*(torch.from_numpy(arrays[name]) for name in ("eps", "low", "high")), **more)
        except FileNotFoundError:
            raise DataError(f"There is no file {path}.") from None
        except (KeyError, ValueError, TypeError, OSError) as error:
            raise DataError(f"{path} is not an npz file with the arrays eps, low and high: {error}") from None

    @classmethod
    def recorded(cls, ranges: FeatureRanges, shape: tuple[int, ...]) -> Features:
        """Take them from a record."""
        further = {name: torch.tensor(getattr(ranges, name)) for name in _FURTHER if getattr(ranges, name)}
        walls = (torch.tensor(part, dtype=torch.float64) for part in (ranges.eps, ranges.low, ranges.high))
        return cls(*(part.reshape(shape) for part in walls), **further)

    def record(self) -> FeatureRanges:
        """Put them into a record."""
        eps, low, high = (tuple(part.flatten().tolist()) for part in (self.eps, self.low, self.high))
        further = {name: _listed(getattr(self, name)) for name in _FURTHER if getattr(self, name) is not None}
        return FeatureRanges(eps=eps, low=low, high=high, **further)

    @property
    def free(self) -> Tensor:
        """Which features can be changed."""
        return self.eps > 0

    @property
    def unit(self) -> Tensor:
        """The eps of each feature, 1 where it is frozen."""
        return torch.where(self.free, self.eps, 1.0)

    @property
    def hull(self) -> tuple[float, float]:
        """One box around all samples in units: that of the threats."""
        return 0.0, float(((self.high - self.low) / self.unit)[self.free].max())

    def encode(self, x: Tensor) -> Tensor:
        """Samples to units above the lower wall, in double precision: (x - low) / unit."""
        return (x.double() - self.low.to(x.device)) / self.unit.to(x.device)

    def decode(self, u: Tensor) -> Tensor:
        """Units back to samples, in double precision; whole numbers and categories are free of the units' rounding."""
        x = self.low.to(u.device) + u * self.unit.to(u.device)
        exact = (self.rows.whole | (self.rows.groups > 0)).reshape(self.eps.shape).to(u.device)
        near = exact & ((x - x.round()).abs() < 1e-9 * (1 + x.abs()))
        return torch.where(near, x + (x.round() - x).detach(), x)

    def threat(self, threat: ThreatModel | str = "inf:1") -> FeatureThreat:
        """The threat in units, between the features' walls: what rules, ``fit`` and every measurement take.

        >>> features = Features(torch.tensor([0.5, 0.0]), torch.tensor([0.0, 10.0]), torch.tensor([2.0, 100.0]))
        >>> features.threat("2:1").box
        (0.0, 4.0)
        """
        found = ThreatModel.parse(threat, self.hull) if isinstance(threat, str) else threat
        return FeatureThreat.of(found, self)

    def check(self, x: Tensor) -> None:
        """Refuse samples of another shape, or outside their ranges."""
        if x.shape[1:] != self.eps.shape:
            raise DataError(f"The samples have the shape {tuple(x.shape[1:])}, the features {tuple(self.eps.shape)}.")
        slack = 1e-6 * (self.high - self.low).clamp_min(1).to(x.device)
        if (x < self.low.to(x.device) - slack).any() or (x > self.high.to(x.device) + slack).any():
            raise DataError("Some samples lie outside the box of their features. Widen low and high, or clip the data.")
        self.rows.on(x.device).check(x.flatten(1).double())


def _listed(values: Tensor) -> tuple[Any, ...]:
    """A tensor as nested tuples."""
    parts = torch.as_tensor(values)
    return tuple(_listed(part) for part in parts) if parts.ndim > 1 else tuple(parts.tolist())
