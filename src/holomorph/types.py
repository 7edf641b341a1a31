"""What everything else speaks of: the threat model, the record, and the shapes of callables."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from torch import Tensor

from holomorph.errors import ConfigError, DataError

#: A differentiable map from a batch of inputs to a batch of outputs: an ``nn.Module`` or a function.
Differentiable = Callable[[Tensor], Tensor]

_NORMS: dict[str, Literal["inf", "2", "1"]] = {
    **dict.fromkeys(("inf", "linf", "l_inf"), "inf"),
    **dict.fromkeys(("2", "2.0", "l2", "l_2"), "2"),
    **dict.fromkeys(("1", "1.0", "l1", "l_1"), "1"),
}


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

    def __init__(self, norm: str | float, eps: float | str, box: tuple[float, float] = (0.0, 1.0)) -> None:
        try:
            super().__init__(norm=norm, eps=eps, box=box)
        except ValidationError as error:
            raise ConfigError(_first_sentence(error)) from None

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
            value = float(Fraction(eps))
        except (ValueError, ZeroDivisionError, OverflowError):
            raise ValueError(f"eps {eps!r} is not a number or a fraction such as 8/255.") from None
        if not value > 0:
            raise ValueError(f"eps must be positive, not {eps}.")
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
    def radius(self) -> float:
        """eps as a number."""
        return float(Fraction(self.eps))

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


class Record(BaseModel):
    """What a command found: frozen, saved as JSON with its kind and schema version.

    Rates and accuracies are fractions in [0, 1]; times are seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    KIND: ClassVar[str] = "record"
    kind: str = ""
    schema_version: int = 1

    def model_post_init(self, _context: object) -> None:
        """Fill in the kind, or refuse that of another record."""
        if self.kind == "":
            object.__setattr__(self, "kind", self.KIND)
        elif self.kind != self.KIND:
            raise ValueError(f"This is a record of kind {self.kind!r}, not {self.KIND!r}.")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the record as JSON; the file appears whole or not at all."""
        return write_atomically(path, (self.model_dump_json(indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a record; nothing in the file is executed."""
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except FileNotFoundError:
            raise DataError(f"There is no record at {path}.") from None
        except IsADirectoryError:
            raise DataError(f"{path} is a folder, not a record. Name the file.") from None
        except (ValidationError, json.JSONDecodeError) as error:
            reason = _first_sentence(error) if isinstance(error, ValidationError) else str(error)
            raise DataError(f"{path} is not a {cls.KIND} record that this version can read: {reason}") from None


def beside(record: Path, suffix: str) -> Path:
    """Name what belongs to a record: its own name with another ending, whole where it does not end in ``.json``.

    >>> [beside(Path(name), ".npz").name for name in ("evaluation.json", "eps-0.1")]
    ['evaluation.npz', 'eps-0.1.npz']
    """
    return record.with_name(record.name.removesuffix(".json") + suffix)


def write_atomically(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file through a temporary neighbour and a rename, so that no half-written file is ever seen.

    Raises
    ------
    ConfigError
        If a folder has that name.
    """
    target = Path(path)
    if target.is_dir():
        raise ConfigError(f"{target} is a folder. Name a file.")
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target


def _first_sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    where = ".".join(str(part) for part in first["loc"])
    return message if message.endswith(".") else f"{where}: {message}."


class Interval(BaseModel):
    """A figure with its confidence interval."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    value: float
    low: float
    high: float
    level: float = Field(default=0.95, description="the confidence level")


def check_batch(x: Tensor, y: Tensor | None = None, *, box: tuple[float, float] | None = None) -> None:
    """Refuse inputs that no rule and no attack can use, with a sentence that says what to do.

    Raises
    ------
    DataError
        For empty data, integers, what is no tensor, NaN or infinities, values outside the box, or mismatched labels.
    """
    for what, values in (("samples", x), ("labels", y)):
        if values is not None and not isinstance(values, Tensor):
            raise DataError(f"The {what} are {type(values).__name__}, not a tensor. Convert them with torch.as_tensor.")
    if x.ndim == 0 or len(x) == 0:
        raise DataError("There are no samples. Give a batch with at least one.")
    if not x.is_floating_point() and not x.is_complex():
        raise DataError(f"The samples are {x.dtype}; gradients need floating point. Convert with x.float().")
    if not torch.isfinite(x).all():
        raise DataError("The samples hold NaN or infinite values. Remove or impute them first.")
    if box is not None and not x.is_complex():
        _check_range(x, box)
    if y is not None and len(y) != len(x):
        raise DataError(f"There are {len(x)} samples but {len(y)} labels. Give one label a sample.")


def as_long(y: Tensor) -> Tensor:
    """Widen whole numbers to 64 bits, which losses ask of labels; what is no label is left for others to refuse.

    >>> as_long(torch.tensor([0, 2], dtype=torch.uint8))
    tensor([0, 2])
    """
    return y if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool else y.long()


def at_least_one(**counts: int) -> None:
    """Refuse counts that must be 1, 2, 3, ...

    Raises
    ------
    ConfigError
        With the count's name.
    """
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(f"{name} is {count}; it must be at least 1.")


def _check_range(x: Tensor, box: tuple[float, float]) -> None:
    low, high = float(x.min()), float(x.max())
    slack = 1e-6 * max(1.0, box[1] - box[0])  # resizing and casting leave values such as -3e-8
    if low < box[0] - slack or high > box[1] + slack:
        hint = " Divide 8-bit images by 255." if 1.5 < high <= 255 and box == (0.0, 1.0) else ""
        raise DataError(
            f"The samples range over [{low:g}, {high:g}], outside the box [{box[0]:g}, {box[1]:g}].{hint} "
            f"Scale the data or state their box."
        )
