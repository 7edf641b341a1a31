"""A threat as it is given: an object, a text, or several of either."""

import warnings
from collections.abc import Sequence

from holomorph.errors import ConfigError, HolomorphWarning
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import FeatureThreat

#: What stands for a threat: ``ThreatModel("inf", "8/255")`` or ``"inf:8/255"``.
ThreatLike = ThreatModel | str

#: What stands for several, ``"inf:0.1,2:1.5"`` among them.
ThreatsLike = ThreatLike | Sequence[ThreatLike]

#: Below this part of the box eps is probably in another unit than the inputs.
_TINY = 1e-3


def as_threat(threat: ThreatLike, box: tuple[float, float] = (0.0, 1.0)) -> ThreatModel:
    """Read one threat; the box is that of a text.

    Raises
    ------
    ConfigError
        For a text that is no threat, and for anything that is neither.

    Warns
    -----
    HolomorphWarning
        If eps is below a thousandth of the box, unless each feature has its own.

    >>> as_threat("inf:8/255").radius == as_threat(ThreatModel("inf", "8/255")).radius
    True
    """
    found = ThreatModel.parse(threat, box) if isinstance(threat, str) else threat
    if not isinstance(found, ThreatModel):
        raise ConfigError(
            f"A threat is a ThreatModel or a text such as 'inf:8/255', not {type(threat).__name__}. "
            "Write ThreatModel(norm, eps, box)."
        )
    low, high = found.box
    if not isinstance(found, FeatureThreat) and found.radius < _TINY * (high - low):
        warnings.warn(
            f"eps {found.eps} is less than a thousandth of the box [{low:g}, {high:g}]. eps is in the unit of the "
            "inputs: for a box of 255 grey levels 8/255 is written 8.",
            HolomorphWarning,
            stacklevel=3,
        )
    return found


def as_threats(threats: ThreatsLike, box: tuple[float, float] = (0.0, 1.0)) -> list[ThreatModel]:
    """Read one threat or several, which share one box.

    >>> [str(threat) for threat in as_threats("inf:0.1,2:1.5")]
    ['inf:0.1', '2:1.5']
    """
    given = threats.split(",") if isinstance(threats, str) else threats
    found = [as_threat(threat, box) for threat in (given if isinstance(given, Sequence) else [given])]
    if not found:
        raise ConfigError("There is no threat. Give one, for instance ThreatModel('inf', '8/255').")
    if len({threat.box for threat in found}) > 1:
        raise ConfigError("The threats have different boxes. Give all of them the box of the data.")
    return found
