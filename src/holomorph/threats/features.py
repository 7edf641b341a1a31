"""Tabular inputs: an eps and a box for each feature, zero eps for those that nobody can change."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from holomorph.contract import Differentiable
from holomorph.errors import DataError
from holomorph.evaluation.runner import fingerprint
from holomorph.records.evaluation import FeatureRanges
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import FeatureThreat


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

    def __post_init__(self) -> None:
        for name in ("eps", "low", "high"):
            object.__setattr__(self, name, torch.as_tensor(getattr(self, name)).double())
        if not self.eps.shape == self.low.shape == self.high.shape:
            shapes = [tuple(part.shape) for part in (self.eps, self.low, self.high)]
            raise DataError(f"eps, low and high of the features have the shapes {shapes}. Give one number a feature.")
        if not torch.stack([self.eps, self.low, self.high]).isfinite().all():
            raise DataError("eps, low and high of the features must be finite. Give every feature a range.")
        if (self.eps < 0).any() or not (self.eps > 0).any():
            raise DataError("Every eps must be at least 0, and one of them positive.")
        if (self.low > self.high).any() or ((self.low == self.high) & self.free).any():
            raise DataError("The range of a feature is empty. Give low < high wherever eps is positive.")

    @classmethod
    def load(cls, path: str | Path) -> Features:
        """Read the arrays ``eps``, ``low`` and ``high`` from an npz file."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(*(torch.from_numpy(arrays[name]) for name in ("eps", "low", "high")))
        except FileNotFoundError:
            raise DataError(f"There is no file {path}.") from None
        except (zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError) as error:
            raise DataError(f"{path} is not an npz file with the arrays eps, low and high: {error}") from None

    @classmethod
    def recorded(cls, ranges: FeatureRanges, shape: tuple[int, ...]) -> Features:
        """Take them from a record."""
        return cls(*(torch.tensor(part).reshape(shape) for part in (ranges.eps, ranges.low, ranges.high)))

    def record(self) -> FeatureRanges:
        """Put them into a record."""
        eps, low, high = (tuple(part.flatten().tolist()) for part in (self.eps, self.low, self.high))
        return FeatureRanges(eps=eps, low=low, high=high)

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
        """Units back to samples, in double precision."""
        return self.low.to(u.device) + u * self.unit.to(u.device)

    def threat(self, threat: ThreatModel) -> FeatureThreat:
        """The threat in units, between the features' walls."""
        return FeatureThreat.within(threat, torch.zeros_like(self.low), (self.high - self.low) / self.unit, self.free)

    def check(self, x: Tensor) -> None:
        """Refuse samples of another shape, or outside their ranges."""
        if x.shape[1:] != self.eps.shape:
            raise DataError(f"The samples have the shape {tuple(x.shape[1:])}, the features {tuple(self.eps.shape)}.")
        slack = 1e-6 * (self.high - self.low).clamp_min(1).to(x.device)
        if (x < self.low.to(x.device) - slack).any() or (x > self.high.to(x.device) + slack).any():
            raise DataError("Some samples lie outside the box of their features. Widen low and high, or clip the data.")


class InUnits(nn.Module):
    """A model of samples in units: frozen features give no gradient, and what rounding puts past a wall comes back."""

    def __init__(self, model: Differentiable, features: Features, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model
        self.features = features
        self.dtype = dtype
        self.differentiable = getattr(model, "differentiable", True)

    def forward(self, u: Tensor) -> Tensor:
        """Return the model's outputs."""
        f = self.features
        x = f.decode(torch.where(f.free.to(u.device), u, u.detach()))
        inside = x.detach().clamp(f.low.to(x.device), f.high.to(x.device))
        return self.model((x + (inside - x.detach())).to(self.dtype))

    def extra_repr(self) -> str:
        """Say which units, and of which model: kept batches must not be mixed."""
        f = self.features
        return f"{fingerprint(self.model)}, eps={f.eps.tolist()}, low={f.low.tolist()}, high={f.high.tolist()}"
