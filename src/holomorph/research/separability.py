"""``can_separate``: before any training, whether a class of hypotheses can separate given data in the plane."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.ndimage import label
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist
from torch import Tensor

from holomorph.errors import DataError
from holomorph.exact.kernel import fock_kernel
from holomorph.nn.embedding import Complexification, embedding
from holomorph.nn.readout import make_codes, readout

_CELLS = 200


@dataclass(frozen=True)
class Separability:
    """What :func:`can_separate` found; true in a condition where the verdict is yes.

    Attributes
    ----------
    verdict:
        ``"yes"``, ``"no"`` or ``"not found"`` (no obstruction is known, but no separating hypothesis was found).
    accuracy:
        On the samples, of the best hypothesis tried.
    surrounded:
        Pairs (inner, outer) of classes of which one encloses the other.
    reason:
        One sentence.
    """

    verdict: Literal["yes", "no", "not found"]
    accuracy: float
    surrounded: tuple[tuple[int, int], ...]
    reason: str

    def __bool__(self) -> bool:
        return self.verdict == "yes"


def can_separate(
    x: Tensor, y: Tensor, *, embedding_name: str = "pairing", readout_name: str = "real", tolerance: float = 0.03
) -> Separability:
    r"""Whether hypotheses of this embedding and read-out can separate samples in the plane.

    *Obstruction*: under pairing, with a read-out whose differences are pluriharmonic, no decision region is bounded
    (maximum principle); a class that another one encloses is out of reach, though finitely many samples can always be
    interpolated. Class B encloses samples of class A if no path leads from them to infinity that keeps a distance
    from all samples of B of a typical long edge (95th percentile) of their minimum spanning tree. *Otherwise* the
    kernel of all entire functions is fitted at a few scales.

    Parameters
    ----------
    x, y:
        Samples (n, 2) and labels 0..K-1.
    embedding_name, readout_name:
        As for ``HolomorphicMLP``.
    tolerance:
        The share of samples that may be misclassified.

    Raises
    ------
    DataError
        If the samples are not in the plane.

    Source: docs/mathematics.md, section 4 (the obstruction is our own).

    >>> from holomorph.research.planar import planar
    >>> data = planar("circles", 200)
    >>> can_separate(data.x, data.y).verdict, can_separate(data.x, data.y, readout_name="modulus").verdict
    ('no', 'yes')
    """
    if x.ndim != 2 or x.shape[1] != 2:
        raise DataError(f"can_separate looks at data in the plane, (samples, 2), not at {tuple(x.shape)}.")
    classes = int(y.max()) + 1
    embed, read = embedding(embedding_name), readout(readout_name, classes)
    enclosed = tuple((a, b) for a in range(classes) for b in range(classes) if a != b and _encloses(x, y, a, b))
    harmonic = not isinstance(embed, Complexification) and read.pluriharmonic
    # Differences of enough squared moduli are dense in the continuous functions, like complexified entire functions.
    points = embed(x.double()) if harmonic else x.double()
    accuracy = max(_accuracy(points, y, classes, scale) for scale in (1.0, 0.5, 0.35))
    if harmonic and enclosed:
        inner, outer = enclosed[0]
        return Separability(
            "no",
            accuracy,
            enclosed,
            f"Class {outer} surrounds samples of class {inner}, and under pairing this read-out has no bounded "
            f"decision region. Use embedding='complexification' or readout='modulus'.",
        )
    if accuracy >= 1 - tolerance:
        return Separability("yes", accuracy, enclosed, f"An entire function separates {accuracy:.1%} of the samples.")
    return Separability(
        "not found",
        accuracy,
        enclosed,
        f"No obstruction is known, but the best entire function found separates {accuracy:.1%} only: the classes "
        f"overlap, or the boundary is too fine for the samples.",
    )


def _accuracy(points: Tensor, y: Tensor, classes: int, scale: float) -> float:
    """Of the entire function whose real part has the least squared distance to the codes; Im h is left free."""
    codes = make_codes("one-hot", classes).real
    w = (points - points.mean(0)) / (scale * (points - points.mean(0)).abs().square().sum(1).mean().sqrt())
    kernel = fock_kernel(w @ w.mH).real
    ridge = 1e-7 * len(w) + 1e-12 * kernel.diagonal()
    scores = kernel @ torch.linalg.solve(kernel + torch.diag(ridge), codes[y])
    return float((scores.argmax(1) == y).double().mean())


def _encloses(x: Tensor, y: Tensor, inner: int, outer: int) -> bool:
    """Whether at least a tenth of the inner samples cannot leave to infinity past discs around the outer ones."""
    a, b = x[y == inner].numpy(), x[y == outer].numpy()
    if len(a) == 0 or len(b) < 3:
        return False
    spacing = float(np.quantile(minimum_spanning_tree(cdist(b, b)).data, 0.95))
    low, high = x.numpy().min(0) - 3 * spacing, x.numpy().max(0) + 3 * spacing
    axes = [np.linspace(low[k], high[k], _CELLS) for k in (0, 1)]
    cells = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    free = (cdist(cells, b).min(1) > spacing).reshape(_CELLS, _CELLS)
    regions, _ = label(free)
    place = tuple(np.rint((a - low) / (high - low) * (_CELLS - 1)).astype(int).T)
    home = regions[place]
    return float(np.mean((home != 0) & (home != regions[0, 0]))) >= 0.1


__all__ = ["Separability", "can_separate"]
