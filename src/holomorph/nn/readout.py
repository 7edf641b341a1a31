r"""Read-outs: how the complex outputs of a hypothesis become real logits, the only place where holomorphy ends."""

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from holomorph.errors import ConfigError, ModelError, unknown_name


class Readout(nn.Module, ABC):
    """Complex outputs (batch, outputs) to logits (batch, classes); probabilities are the softmax of these.

    Attributes
    ----------
    codes:
        (classes, outputs): the values of h that the squared loss pulls each class towards.
    """

    codes: Tensor

    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", codes)

    @property
    def outputs(self) -> int:
        """How many complex outputs the hypothesis must have."""
        return self.codes.shape[1]

    def forward(self, h: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        if h.ndim != 2 or h.shape[1] != self.outputs:
            raise ModelError(f"The read-out expects (batch, {self.outputs}) outputs, not {tuple(h.shape)}.")
        return self.logits(h)

    @abstractmethod
    def logits(self, h: Tensor) -> Tensor:
        """Compute the logits; the shape has been checked."""

    @property
    def pluriharmonic(self) -> bool:
        """Whether differences of logits are pluriharmonic: then, under Pairing, no region is bounded."""
        return True


class RealReadout(Readout):
    r"""$\mathrm{Re}\,h_k$; one output serves two classes, as $(-\mathrm{Re}\,h, \mathrm{Re}\,h)$.

    Source: docs/mathematics.md, section 4.

    >>> RealReadout(2)(torch.tensor([[0.5 + 2j]]))
    tensor([[-0.5000,  0.5000]])
    """

    def __init__(self, classes: int) -> None:
        super().__init__(make_codes("signs" if classes == 2 else "one-hot", classes))

    def logits(self, h: Tensor) -> Tensor:
        """Take real parts."""
        return torch.cat([-h.real, h.real], dim=1) if self.outputs == 1 else h.real


class CodeReadout(Readout):
    r"""$-|h - c_k|^2$: the nearest code wins. Differences are affine in h, so that they are pluriharmonic.

    Parameters
    ----------
    classes:
        How many.
    codes:
        ``"one-hot"``, ``"roots"`` (of unity, one output for any number of classes) or ``"signs"`` (two classes).

    Source: docs/mathematics.md, section 4.

    >>> CodeReadout(4, "roots")(torch.tensor([[0.0 + 1.0j]])).argmax(1)
    tensor([1])
    """

    def __init__(self, classes: int, codes: Literal["one-hot", "roots", "signs"] = "one-hot") -> None:
        super().__init__(make_codes(codes, classes))

    def logits(self, h: Tensor) -> Tensor:
        """Take minus the squared distances."""
        difference = h.unsqueeze(1) - self.codes.to(h.dtype)
        return -(difference.real.square() + difference.imag.square()).sum(2)


class ModulusReadout(Readout):
    r"""$|h_k|^2$: differences are *not* pluriharmonic, so that one class can surround another in $\mathbb C^m$.

    Source: docs/mathematics.md, section 4 (the obstruction and this way around it are ours).

    >>> ModulusReadout(2)(torch.tensor([[1.0 + 0j, 3j]]))
    tensor([[1., 9.]])
    """

    def __init__(self, classes: int) -> None:
        super().__init__(make_codes("one-hot", classes))

    def logits(self, h: Tensor) -> Tensor:
        """Take squared moduli."""
        return h.real.square() + h.imag.square()

    @property
    def pluriharmonic(self) -> bool:
        """Never."""
        return False


def make_codes(name: str, classes: int) -> Tensor:
    r"""The code of each class, (classes, outputs), complex.

    ``"signs"``: -1 and +1 (two classes); ``"one-hot"``: unit rows; ``"roots"``: $e^{2\pi i k/K}$.

    >>> make_codes("signs", 2).real.flatten()
    tensor([-1.,  1.], dtype=torch.float64)
    """
    if classes < 2:
        raise ConfigError(f"A read-out needs at least two classes, not {classes}.")
    if name == "signs":
        if classes != 2:
            raise ConfigError(f"The codes +-1 serve two classes, not {classes}. Use one-hot or roots.")
        return torch.tensor([[-1.0], [1.0]], dtype=torch.complex128)
    if name == "one-hot":
        return torch.eye(classes, dtype=torch.complex128)
    if name == "roots":
        angle = 2 * math.pi * torch.arange(classes, dtype=torch.float64) / classes
        return torch.polar(torch.ones_like(angle), angle).unsqueeze(1)
    raise unknown_name("code", name, ["signs", "one-hot", "roots"])


def readout(name: str | Readout, classes: int) -> Readout:
    """Build a read-out by name: ``"real"``, ``"codes"``, ``"roots"`` or ``"modulus"``.

    >>> type(readout("real", 3)).__name__
    'RealReadout'
    """
    if isinstance(name, Readout):
        return name
    if name == "real":
        return RealReadout(classes)
    if name in ("codes", "roots"):
        return CodeReadout(classes, "roots" if name == "roots" else "one-hot")
    if name == "modulus":
        return ModulusReadout(classes)
    raise unknown_name("read-out", name, ["real", "codes", "roots", "modulus"])
