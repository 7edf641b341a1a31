"""The threat model: which perturbations a classifier must withstand."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError, field_validator, model_validator

from holomorph._utils.validation import first_sentence
from holomorph.errors import ConfigError

_NORMS: dict[str, Literal["inf", "2", "1"]] = {
    **dict.fromkeys(("inf", "linf", "l_inf"), "inf"),
    **dict.fromkeys(("2", "2.0", "l2", "l_2"), "2"),
    **dict.fromkeys(("1", "1.0", "l1", "l_1"), "1"),
}


def _number(eps: float | str) -> float:
    """A number or a fraction of two; no integer is built from a text, whose exponent could be of any size."""
    if not isinstance(eps, str):
        return float(eps)
    above, _, below = eps.partition("/")
    return float(above) / (float(below) if "/" in eps else 1.0)


class ThreatModel(BaseModel):
    r"""The set of perturbations that a classifier must withstand.

    $$\{\delta : \|\delta\|_p \le \varepsilon,\; x + \delta \in [\mathrm{lo}, \mathrm{hi}]^n\}$$

    Parameters
    ----------
    norm:
        ``"inf"``, ``2`` or ``1`` (as number or text).
    eps:
        The radius in input units: a number, or a fraction as text such as ``"8/255"``, kept as given.
    box:
        Lower and upper bound of every input coordinate.

    Raises
    ------
    ConfigError
        For an unknown norm, an eps that is not positive or exceeds the box, or an empty box.

    Source: docs/mathematics.md, section 1.

    Examples
    --------
    >>> threat = ThreatModel(norm="inf", eps="8/255")
    >>> threat.eps, round(threat.radius, 4), threat.q
    ('8/255', 0.0314, 1.0)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    norm: Literal["inf", "2", "1"]
    eps: float | str
    box: tuple[float, float] = (0.0, 1.0)
    _radius: Any = PrivateAttr(default=None)

    def __init__(self, norm: str | float, eps: float | str, box: tuple[float, float] = (0.0, 1.0)) -> None:
        try:
            super().__init__(norm=norm, eps=eps, box=box)
        except ValidationError as error:
            raise ConfigError(first_sentence(error)) from None

    @field_validator("norm", mode="before")
    @classmethod
    def _known_norm(cls, norm: object) -> str:
        key = str(norm).lower()
        if key not in _NORMS:
            raise ValueError(f"Unknown norm {norm!r}. Use inf, 2 or 1.")
        return _NORMS[key]

    @field_validator("eps")
    @classmethod
    def _readable_eps(cls, eps: float | str) -> float | str:
        try:
            value = _number(eps)
        except (ValueError, ZeroDivisionError, OverflowError):
            raise ValueError(f"eps {eps!r} is not a number or a fraction such as 8/255.") from None
        if not 0 < value < math.inf:
            raise ValueError(f"eps must be positive and finite, not {eps}.")
        return eps if isinstance(eps, str) and "/" in eps else value

    @model_validator(mode="after")
    def _sensible_box(self) -> Self:
        low, high = self.box
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"The box [{low:g}, {high:g}] is empty or unbounded. Give a finite LOW < HIGH.")
        if self.norm == "inf" and self.radius > high - low:
            raise ValueError(
                f"eps {self.eps} exceeds the box [{low:g}, {high:g}]: such a threat allows every input. "
                f"eps is in input units; for 8-bit images scaled to [0, 1] write it as N/255."
            )
        return self

    @property
    def radius(self) -> Any:
        """eps as a number."""
        return _number(self.eps) if self._radius is None else self._radius

    def with_radius(self, radius: Any) -> Self:
        """The same threat with another radius, which may be a scalar on a device."""
        made = self.model_copy()
        made._radius = radius
        return made

    @property
    def p(self) -> float:
        """The norm's exponent as a number."""
        return float(self.norm)

    @property
    def q(self) -> float:
        """The dual exponent: 1/p + 1/q = 1."""
        return {"inf": 1.0, "2": 2.0, "1": math.inf}[self.norm]

    def __str__(self) -> str:
        return f"{self.norm}:{self.eps:g}" if isinstance(self.eps, float) else f"{self.norm}:{self.eps}"

    @classmethod
    def parse(cls, text: str, box: tuple[float, float] = (0.0, 1.0)) -> ThreatModel:
        """Read ``"inf:8/255"``.

        >>> str(ThreatModel.parse("l2:0.5"))
        '2:0.5'
        """
        norm, colon, eps = text.strip().partition(":")
        if not colon:
            raise ConfigError(f"Cannot read the threat {text!r}. Write NORM:EPS, for instance inf:8/255 or 2:0.5.")
        return cls(norm, eps, box)

    @classmethod
    def parse_many(cls, text: str, box: tuple[float, float] = (0.0, 1.0)) -> list[ThreatModel]:
        """Read ``"inf:0.1,2:1.5"``: several threats separated by commas."""
        return [cls.parse(part, box) for part in text.split(",")]
