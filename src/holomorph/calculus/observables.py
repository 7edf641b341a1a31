r"""Observables $g$ of a hypothesis: the functions of its logits whose energy a rule or a measurement takes.

Each maps logits (batch, K) and labels (batch,) to one number a sample, (batch,), or to several, (batch, k).

Source: docs/mathematics.md, section 1.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import cross_entropy

from holomorph.contract.classifier import margin
from holomorph.errors import unknown_name


def loss(logits: Tensor, y: Tensor) -> Tensor:
    r"""$\ell = -\log \operatorname{softmax}(h)_y$ of each sample."""
    return cross_entropy(logits, y, reduction="none")


def logits(logits: Tensor, y: Tensor) -> Tensor:
    """Return h itself."""
    return logits


def probabilities(logits: Tensor, y: Tensor) -> Tensor:
    """Return softmax h."""
    return logits.softmax(1)


def fisher(logits: Tensor, y: Tensor) -> Tensor:
    r"""Return $2\sqrt{\operatorname{softmax} h}$: the simplex with its Fisher metric, laid on a sphere of radius 2.

    >>> import torch
    >>> fisher(torch.zeros(1, 4), torch.tensor([0])).norm()
    tensor(2.)
    """
    return 2 * (logits.log_softmax(1) / 2).exp()


OBSERVABLES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "loss": loss,
    "margin": margin,
    "logits": logits,
    "probabilities": probabilities,
    "fisher": fisher,
}

#: Those with one number a sample; the others are vectors.
SCALAR = frozenset({"loss", "margin"})


def observable(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Look an observable up by name.

    Raises
    ------
    ConfigError
        For an unknown name, with the nearest known ones.
    """
    if name not in OBSERVABLES:
        raise unknown_name("observable", name, OBSERVABLES)
    return OBSERVABLES[name]
