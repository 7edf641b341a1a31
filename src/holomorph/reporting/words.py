"""Numbers as a person reads them: percent, intervals, times, and threats in plain words."""

from collections.abc import Sequence

from holomorph._utils.words import counted as counted
from holomorph.records.base import Interval
from holomorph.threats import ThreatModel

_THIN = "\u202f"  # a narrow space at which no line breaks
_NORMS = {"inf": "l∞", "2": "l₂", "1": "l₁"}


def percentage(share: float | None, digits: int = 1) -> str:
    """Write a share as percent.

    >>> print(percentage(0.7825), percentage(1.0), percentage(None))
    78.2\u202f% 100\u202f% –
    """
    if share is None:
        return "–"
    return f"{100 * share:.{digits}f}".removesuffix("." + "0" * digits) + f"{_THIN}%"


def percent_range(interval: Interval) -> str:
    """Write a share's confidence interval.

    >>> print(percent_range(Interval(value=0.5, low=0.414, high=0.586)))
    41.4 to 58.6\u202f%
    """
    return f"{100 * interval.low:.1f} to {percentage(interval.high)}"


def duration(seconds: float) -> str:
    """Write a time.

    >>> duration(0.24), duration(75), duration(4000)
    ('0.2 s', '1 min 15 s', '1 h 7 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def times(factor: float) -> str:
    """Write a ratio: one digit after the point where that says something.

    >>> times(2.94), times(1.0), times(31.7)
    ('2.9×', '1×', '32×')
    """
    return (f"{factor:.1f}".removesuffix(".0") if factor < 10 else f"{factor:.0f}") + "×"


def setting(value: object) -> str:
    """Write a setting as a record keeps it.

    >>> setting({"type": "Ball", "scale": 1.0}), setting(True), setting(0.25), setting([1, None])
    ('Ball(scale=1)', 'yes', '0.25', '1, none')
    >>> setting({"norm": "inf", "eps": "8/255", "box": [0.0, 1.0]})
    'inf:8/255'
    """
    if isinstance(value, dict) and {"norm", "eps"} <= value.keys():
        return f"{value['norm']}:{setting(value['eps'])}"
    if isinstance(value, dict):
        inside = ", ".join(f"{key}={setting(item)}" for key, item in value.items() if key not in ("type", "rule"))
        return f"{value.get('type', value.get('rule', ''))}({inside})"
    if isinstance(value, list | tuple):
        return ", ".join(setting(item) for item in value)
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def model_name(name: str) -> str:
    """Write the name of a class without its module; other names stay as they are.

    >>> model_name("torch.nn.modules.container.Sequential"), model_name("runs/eps-0.1"), model_name("my.nets:make")
    ('Sequential', 'runs/eps-0.1', 'my.nets:make')
    """
    parts = name.split(".")
    return parts[-1] if all(part.isidentifier() for part in parts) else name


def listed(words: Sequence[str]) -> str:
    """Join words as a sentence does.

    >>> listed([]), listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('', 'a', 'a and b', 'a, b and c')
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def in_plot(text: str) -> str:
    r"""Escape a text of the user's for a plot, where a dollar sign would begin a formula.

    >>> print(in_plot("price in $"))
    price in \$
    """
    return text.replace("$", r"\$")


def size(value: float, threat: ThreatModel) -> str:
    """Write the size of a perturbation in the unit in which the threat's eps was asked for.

    >>> size(0.0203, ThreatModel("inf", "8/255")), size(0.0203, ThreatModel("inf", 0.1))
    ('5.18/255', '0.0203')
    """
    if isinstance(threat.eps, str) and "/" in threat.eps:
        unit = float(threat.eps.partition("/")[2])
        return f"{value * unit:.3g}/{unit:g}"
    return f"{value:.3g}"


def norm_name(norm: str) -> str:
    """Name a norm in symbols."""
    return _NORMS[norm]


def threat_name(threat: ThreatModel) -> str:
    """Name a threat in symbols.

    >>> threat_name(ThreatModel("inf", "8/255"))
    'l∞ ≤ 8/255'
    """
    eps = threat.eps if isinstance(threat.eps, str) else f"{threat.eps:g}"
    return f"{_NORMS[threat.norm]} ≤ {eps}"


def change_withstood(threat: ThreatModel) -> str:
    """Say in words what a sample withstands.

    >>> change_withstood(ThreatModel("inf", "8/255"))
    'every change of up to 8/255 in each input value'
    """
    eps = threat.eps if isinstance(threat.eps, str) else f"{threat.eps:g}"
    return (
        f"every change of up to {eps} "
        + {"inf": "in each input value", "2": "in Euclidean distance", "1": "in the sum over the input values"}[
            threat.norm
        ]
    )


def threat_sentence(threat: ThreatModel) -> str:
    """Say in words what the attacker may do.

    >>> threat_sentence(ThreatModel("inf", 0.1))
    'every input value may change by up to 0.1'
    """
    eps = threat.eps if isinstance(threat.eps, str) else f"{threat.eps:g}"
    return {
        "inf": f"every input value may change by up to {eps}",
        "2": f"the input may move by a Euclidean distance of up to {eps}",
        "1": f"the input values may change by up to {eps} in sum",
    }[threat.norm]
