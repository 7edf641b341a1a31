"""Every attack: how it is made for a situation, and in which plans it is run. A new attack is one line here."""

from collections.abc import Callable
from dataclasses import dataclass

from holomorph.attacks.autoattack import AutoAttackName, AutoAttackStage
from holomorph.attacks.base import Attack, Situation
from holomorph.attacks.bisected import Bisected
from holomorph.attacks.foolbox import FoolboxAttack, Name
from holomorph.attacks.numerical import NumericalPgd
from holomorph.attacks.on_grid import OnGridPgd
from holomorph.attacks.on_rows import OnRows
from holomorph.attacks.pgd import AttackLoss, Pgd
from holomorph.attacks.surrogate import Surrogate
from holomorph.attacks.targeted import Targeted
from holomorph.attacks.transferred import Transferred
from holomorph.errors import ConfigError, unknown_name
from holomorph.threats.constraints import FeatureThreat


def _by_name_only(_: Situation) -> bool:
    return False


@dataclass(frozen=True)
class Entry:
    """One attack: its factory, and when a plan runs it besides what its needs say."""

    make: Callable[[Situation], Attack]
    planned: Callable[[Situation], bool] = _by_name_only


def _quick(s: Situation) -> bool:
    return s.effort == "quick"


def _full(s: Situation) -> bool:
    return s.effort != "quick"


def _few(s: Situation, quick: int, full: int) -> int:
    """How many steps or queries: those of a quick plan shrink with the time that a slow model leaves."""
    return max(3, round(s.pace * quick)) if _quick(s) else full


def _autoattack(name: AutoAttackName) -> Callable[[Situation], Attack]:
    """A stage with its standard settings; for a randomised model over 20 gradients a step; shorter in a quick plan."""

    def make(s: Situation) -> Attack:
        draws = 20 if s.randomised and name.startswith("apgd") else 1
        steps = _few(s, 15 if s.threat.norm == "1" else 50, 100)  # in l_1 the package starts five times
        queries = _few(s, 200 if s.gradients and not s.masked else 500, 5000)
        return AutoAttackStage(name, s.threat, s.classes, draws=draws, steps=steps, queries=queries)

    return make


def _nearest(name: Name) -> Callable[[Situation], Attack]:
    return lambda s: FoolboxAttack(name, s.threat, _few(s, 25 if s.threat.norm == "2" else 50, 100), everyone=True)


def _pgd(loss: AttackLoss, steps: int, *, far: bool = False) -> Callable[[Situation], Attack]:
    return lambda s: Pgd(s.threat, loss, steps=_few(s, 50, steps), far=far)


def _numerical(s: Situation) -> Attack:
    """On every sample where gradients mislead; else on a few, as a look from outside."""
    if _quick(s):
        few = None if s.gradients and s.masked else max(4, s.samples // (8 if s.gradients else 3))
        return NumericalPgd(s.threat, steps=_few(s, 10 if s.gradients else 20, 20), limit=few)
    everyone = s.masked or s.features or not s.gradients or s.effort == "thorough"
    return NumericalPgd(s.threat, steps=20, limit=None) if everyone else NumericalPgd(s.threat)


def _transferred(s: Situation) -> Attack:
    if s.source is None:
        raise ConfigError("The attack transferred needs another model to take examples from: give a baseline.")
    return Transferred(s.threat, s.source)


def _on_grid(s: Situation) -> Attack:
    if s.grid is None:
        raise ConfigError("The attack pgd-on-grid needs data on a grid, such as 8-bit values.")
    return OnGridPgd(s.threat, s.grid, steps=_few(s, 40, 40))


def _standard(s: Situation) -> bool:
    return _full(s) and not s.randomised


def _blind(s: Situation) -> bool:
    """Gradients do not exist, or mislead."""
    return s.masked or not s.gradients


#: Every attack by name, in the order in which a plan runs them. AutoAttack comes first and undisturbed, so that its
#: numbers are those of its own script; then what draws the accuracy-eps curve; then what the others may have missed.
REGISTRY: dict[str, Entry] = {
    "apgd-ce": Entry(_autoattack("apgd-ce"), lambda s: True),
    "pgd-cross-entropy": Entry(_pgd("cross-entropy", 100), lambda s: s.features),
    "pgd-margin": Entry(
        lambda s: Pgd(s.threat, "margin", restarts=10 if s.effort == "thorough" else 3 if s.features else 2),
        lambda s: _full(s) and (s.features or s.classes < 4),  # the targeted ratio loss is undefined
    ),
    "apgd-dlr": Entry(_autoattack("apgd-dlr"), lambda s: _full(s) and s.randomised),
    "apgd-t": Entry(_autoattack("apgd-t"), _standard),
    "fab-t": Entry(_autoattack("fab-t"), _standard),
    "square": Entry(_autoattack("square"), lambda s: not s.randomised or _blind(s)),
    "pgd-scaled": Entry(_pgd("scaled", 60), lambda s: _full(s) or s.classes < 3),
    "fmn": Entry(_nearest("fmn"), lambda s: True),
    "ddn": Entry(_nearest("ddn"), lambda s: True),
    "pgd-bisected": Entry(lambda s: Bisected(s.threat, steps=_few(s, 30, 40)), lambda s: True),
    "transferred": Entry(_transferred, lambda s: s.source is not None and (_full(s) or not s.gradients)),
    "pgd-targeted": Entry(lambda s: Targeted(s.threat, targets=3, steps=_few(s, 40, 60)), lambda s: True),
    "pgd-margin-far": Entry(_pgd("margin", 60, far=True), _full),
    "pgd-on-grid": Entry(_on_grid, lambda s: s.grid is not None),
    "pgd-on-rows": Entry(
        lambda s: OnRows(s.threat, steps=_few(s, 20, 40), rounds=_few(s, 10, 40)),
        lambda s: isinstance(s.threat, FeatureThreat) and s.threat.features.constrained,
    ),
    "cw": Entry(lambda s: FoolboxAttack("cw", s.threat), _full),
    "pgd-numerical": Entry(_numerical, lambda s: True),
    "surrogate": Entry(lambda s: Surrogate(s.threat), _blind),
    "pgd-restarts": Entry(
        lambda s: Pgd(s.threat, "margin", restarts=10, label="pgd-restarts"),
        lambda s: s.effort == "thorough" and not s.features,
    ),
    "boundary": Entry(
        lambda s: FoolboxAttack("boundary", s.threat, steps={"quick": 200, "full": 2000, "thorough": 5000}[s.effort]),
        lambda s: s.effort == "thorough" or (_blind(s) and s.threat.norm == "2"),
    ),
}


def stronger(s: Situation, level: int) -> list[Attack]:
    """What is run when attacks that read outputs only beat those with gradients, stronger from round to round.

    More starts in corners with a larger first step, more targets, Square with more queries, an imitation, and for a
    randomised model more gradients a step.
    """
    steps, queries = _few(s, 50, 100), _few(s, 1000, 5000) * (level + 1)
    found: list[Attack] = [
        Pgd(s.threat, "margin", steps, restarts=3 * level, far=True, corners=True, label="pgd-corners"),
        Targeted(s.threat, targets=4 * level + 1, steps=steps),
        NumericalPgd(s.threat, steps=20 * level, directions=64 * level, limit=None),
        AutoAttackStage("square", s.threat, s.classes, queries=queries),
        Surrogate(s.threat, rounds=4 * level),
    ]
    if s.randomised:
        found.append(AutoAttackStage("apgd-ce", s.threat, s.classes, draws=20 * (level + 1), steps=steps))
    return [attack for attack in found if not s.refusal(attack.needs)]


def plan(s: Situation) -> list[Attack]:
    """The attacks to run, in order: those that the registry plans for the situation and whose needs it meets.

    In a quick plan those that read outputs only come last: Square needs many queries for each sample that is left.

    >>> from holomorph.threats import ThreatModel
    >>> [attack.name for attack in plan(Situation(ThreatModel("inf", 0.1), classes=10, effort="quick"))]
    ['apgd-ce', 'fmn', 'pgd-bisected', 'pgd-targeted', 'square', 'pgd-numerical']
    """
    wanted = [entry.make(s) for entry in REGISTRY.values() if entry.planned(s)]
    serving = [attack for attack in wanted if not s.refusal(attack.needs)]
    return sorted(serving, key=lambda attack: _quick(s) and not attack.needs.gradients)


def named(name: str, s: Situation) -> Attack:
    """The attack of this name.

    Raises
    ------
    ConfigError
        For an unknown name, or an attack that cannot serve in this situation.
    """
    if name not in REGISTRY:
        raise unknown_name("attack", name, REGISTRY)
    chosen = REGISTRY[name].make(s)
    if reason := s.refusal(chosen.needs):
        others = [other for other in REGISTRY if other != name and _serves(other, s)]
        raise ConfigError(f"The attack {name} {reason}. Use one of {', '.join(others)}.")
    return chosen


def _serves(name: str, s: Situation) -> bool:
    return REGISTRY[name].make not in (_transferred, _on_grid) and not s.refusal(REGISTRY[name].make(s).needs)
