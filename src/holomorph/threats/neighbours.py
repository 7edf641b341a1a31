"""A radius for embeddings, which have no unit of their own: a share of the distances between them."""

from typing import Any

import torch

from holomorph.errors import DataError
from holomorph.threats.model import ThreatModel


def relative(embeddings: Any, share: float = 0.1, *, labels: Any = None, norm: str | float = 2) -> ThreatModel:
    r"""A threat whose eps is a share of the median distance to the nearest neighbour.

    $$\varepsilon = s\,\mathrm{med}_i \min_j \|e_i - e_j\|_p$$

    Parameters
    ----------
    embeddings:
        (samples, n), at least two different ones; duplicates of a sample are no neighbours.
    share:
        s > 0. Below 1/2 the balls of most samples and their neighbours do not meet.
    labels:
        Where given, only neighbours of another class count.
    norm:
        2, ``"inf"`` or 1. The box is the range of the embeddings, wider by eps.

    Raises
    ------
    DataError
        Where there are no neighbours.

    >>> relative([[0.0, 0.0], [0.0, 2.0], [0.0, 9.0]], share=0.5).eps
    1.0
    """
    e = torch.as_tensor(embeddings).detach().flatten(1).double().cpu()
    y = None if labels is None else torch.as_tensor(labels).cpu()
    p, nearest = ThreatModel(norm, 0.1).p, []
    for rows in torch.split(torch.arange(len(e)), 512):
        apart = torch.cdist(e[rows], e, p=p, compute_mode="donot_use_mm_for_euclid_dist")  # duplicates are at 0
        same = apart == 0 if y is None else (apart == 0) | (y[rows][:, None] == y)
        nearest.append(apart.masked_fill(same, torch.inf).amin(1))
    found = torch.cat(nearest)
    if not bool(found.isfinite().any()):
        raise DataError(
            "The embeddings have no neighbours. Give at least two different ones, of two classes with labels."
        )
    eps = share * float(found[found.isfinite()].median())
    return ThreatModel(norm, eps, (float(e.min()) - eps, float(e.max()) + eps))
