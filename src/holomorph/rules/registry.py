"""Every rule by name: an explicit table, and the reader of texts such as ``dirichlet(weight=2,power=2)``."""

import ast
import dataclasses
import math
from numbers import Integral, Real
from typing import Any, get_args, get_type_hints

from holomorph.calculus.ascent import Ascent
from holomorph.calculus.measures import Ball, Samples
from holomorph.contract.threats import ThreatLike, as_threat
from holomorph.errors import ConfigError, known_name, unknown_name
from holomorph.rules.awp import AWP
from holomorph.rules.base import Rule
from holomorph.rules.cauchy_riemann import CauchyRiemann
from holomorph.rules.certified import Certified
from holomorph.rules.combinators import Growing, Sum
from holomorph.rules.dirichlet import Dirichlet
from holomorph.rules.finite import FiniteEnergy
from holomorph.rules.free import FreeAT
from holomorph.rules.gradalign import GradAlign
from holomorph.rules.hardy import Hardy
from holomorph.rules.harmonic import Harmonic
from holomorph.rules.holomorphic import Holomorphic, MaximumMargin
from holomorph.rules.jacobian import JacobianPenalty
from holomorph.rules.nfgsm import NFGSM
from holomorph.rules.noise import GaussianNoise
from holomorph.rules.pgd import PGD
from holomorph.rules.plain import Plain
from holomorph.rules.prior_guided import PriorGuided
from holomorph.rules.qub import QUB
from holomorph.rules.stable_embedding import StableEmbedding
from holomorph.rules.trades import TRADES
from holomorph.rules.weakly_harmonic import WeaklyHarmonic
from holomorph.threats import ThreatModel

#: Rules for any classifier: those of the analytic framework, then what a user would pick instead.
RULES: dict[str, type[Rule]] = {rule.name: rule for rule in (
    Dirichlet, FiniteEnergy, Harmonic, WeaklyHarmonic, Hardy, Certified,
    Plain, GaussianNoise, PGD, TRADES, AWP, NFGSM, QUB, PriorGuided, FreeAT, GradAlign, JacobianPenalty,
)}  # fmt: skip

#: The rule of the commands and of ``RobustClassifier`` when none is named: the cheapest of the framework's
#: (studies/energy says how robust).
DEFAULT = FiniteEnergy.name

#: Rules for networks that show a complex hypothesis (``holomorph.nn.networks``).
COMPLEX: dict[str, type[Rule]] = {rule.name: rule for rule in (Holomorphic, MaximumMargin, CauchyRiemann)}

#: Rules for encoders, which need no labels and teach no classes: no part of a comparison of classifiers.
ENCODERS: dict[str, type[Rule]] = {StableEmbedding.name: StableEmbedding}

_ALL = {**RULES, **COMPLEX, **ENCODERS}

#: Names that Python would take for differences, by the words that stand for them while a text is read.
_HYPHENATED = {name.replace("-", "_"): name for name in _ALL if "-" in name}

#: The largest whole number of a setting and the longest text of a rule: beyond, a machine would work for ever.
_MOST, _LONGEST = 10_000, 1_000

#: What a setting of each type may hold, and how a person calls it.
_TYPES: dict[Any, tuple[type[Any], str]] = {
    bool: (bool, "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "a word"),
}

#: The measures that a text may name; all but the samples need the threat.
MEASURES: dict[str, type[Any]] = {"samples": Samples, "ball": Ball, "ascent": Ascent}


def build_rule(name: str, threat: ThreatModel, **settings: Any) -> Rule:
    """Make the rule of this name; every default needs the threat only.

    Raises
    ------
    ConfigError
        For an unknown rule or setting, with the nearest known names, and for a value of another type or out of range.

    >>> build_rule("dirichlet", ThreatModel("inf", 0.1), weight=2.0).weight
    2.0
    """
    name = known_name("rule", name, _ALL)
    rule = _ALL[name]
    _check_settings("rule", name, rule, settings)
    needs_threat = any(f.name == "threat" for f in dataclasses.fields(rule))
    arguments: dict[str, Any] = {"threat": threat, **settings} if needs_threat else settings
    return rule(**arguments)


def as_rule(
    rule: Rule | str, threat: ThreatLike | None = None, *, box: tuple[float, float] = (0.0, 1.0), **defaults: Any
) -> Rule:
    """Read a rule as it is given: an object, or a text with the threat that it is for and :func:`parse`'s defaults.

    Raises
    ------
    ConfigError
        For a text without a threat, unless it is ``plain``, and for anything that is neither.

    >>> as_rule("pgd(steps=3)", "inf:8/255").threat.eps
    '8/255'
    """
    if isinstance(rule, Rule):
        if given := next((key for key, value in defaults.items() if value is not None), None):
            raise ConfigError(f"{given} is a setting of the rule. Give it where the rule is made: {given}=...")
        return rule
    if not isinstance(rule, str):
        raise ConfigError(f"A rule is an object such as Plain() or a text such as 'finite', not {type(rule).__name__}.")
    if threat is None:
        if rule.strip() == Plain.name:
            return Plain(**defaults)
        raise ConfigError(f"The rule {rule!r} needs a threat. Give threat='inf:8/255', or a rule as an object.")
    return parse(rule, as_threat(threat, box), **defaults)


def parse(text: str, threat: ThreatModel, **defaults: Any) -> Rule:
    """Read a rule with its settings as written on the command line.

    Values are Python literals; of bare words ``true`` and ``false`` are what they say, others are text. A measure is
    written ``measure=ball(scale=1.5)``. Rules add up: ``nfgsm + 0.1*dirichlet``; ``growing(pgd, start=0.2)`` lets
    the radius grow. ``defaults`` hold for every rule in the text that has such a setting, unless the text says
    otherwise.

    Raises
    ------
    ConfigError
        For a text that is no rule, with the nearest known names, and for a value of another type or out of range.

    >>> rule = parse("dirichlet(weight=2, power=1, risk_at=samples)", ThreatModel("inf", 0.1))
    >>> rule.weight, rule.power, rule.risk_at
    (2, 1, 'samples')
    >>> parse("nfgsm + 0.1*dirichlet(measure=ball(scale=2))", ThreatModel("inf", 0.1)).weights
    (1.0, 0.1)
    """
    if len(text) > _LONGEST:
        raise ConfigError(f"The rule's text has {len(text)} characters. Write it in at most {_LONGEST}.")
    try:
        return _rule(ast.parse(_without_hyphens(text.strip()), mode="eval").body, threat, defaults)
    except (SyntaxError, ValueError, MemoryError, RecursionError, _UnreadableError):
        if text.strip().replace("-", "_").isidentifier():
            known_name("rule", text.strip(), _ALL)
        raise ConfigError(
            f"Cannot read the rule {text[:60]!r}. Write it as NAME or NAME(setting=value, ...), sums as A + 0.5*B."
        ) from None


class _UnreadableError(Exception):
    """The text is Python but no rule."""


def _without_hyphens(text: str) -> str:
    """Spell names such as ``cauchy-riemann`` as Python can read them."""
    for word, name in _HYPHENATED.items():
        text = text.replace(name, word)
    return text


def _rule(node: ast.expr, threat: ThreatModel, defaults: dict[str, Any]) -> Rule:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        terms = [_term(side, threat, defaults) for side in _summands(node)]
        return Sum([rule for _, rule in terms], weights=[weight for weight, _ in terms], **_shared(Sum, defaults))
    if isinstance(node, ast.Name):
        node = ast.Call(func=node, args=[], keywords=[])
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        raise _UnreadableError
    name, settings = _HYPHENATED.get(node.func.id, node.func.id), _settings(node, threat)
    if name == Growing.name:
        if len(node.args) != 1:
            raise ConfigError("growing takes one rule whose radius grows: write growing(pgd, start=0.2).")
        _check_settings("rule", name, Growing, settings)
        inner = _rule(node.args[0], threat, defaults)
        return Growing(inner, **{**_shared(Growing, defaults), **settings})
    if node.args:
        raise _UnreadableError
    rule = _ALL.get(name)
    return build_rule(name, threat, **{**(_shared(rule, defaults) if rule else {}), **settings})


def _settings(call: ast.Call, threat: ThreatModel) -> dict[str, Any]:
    if any(k.arg is None for k in call.keywords):
        raise _UnreadableError
    return {k.arg: _value(k.value, threat, k.arg) for k in call.keywords if k.arg}


def _check_settings(kind: str, name: str, made: type[Any], settings: dict[str, Any]) -> None:
    """Refuse settings that a rule or a measure does not have, and values of another type than the field's."""
    hints = get_type_hints(made)
    known = {f.name for f in dataclasses.fields(made) if f.init} - {"threat", "rule"}
    for key, value in settings.items():
        if key not in known:
            raise unknown_name(f"setting of the {kind} {name!r}", key, known)
        _check_type(key, value, hints[key])


def _check_type(key: str, value: Any, hint: Any) -> None:
    types = get_args(hint) or (hint,)  # the parts of ``float | None``
    if value is None and type(None) in types:
        return
    if isinstance(value, int | float) and not isinstance(value, bool) and key != "seed":
        if isinstance(value, int) and abs(value) > _MOST:
            raise ConfigError(f"{key} is above {_MOST}, which no training would end with. Give a smaller number.")
        if not math.isfinite(value):
            raise ConfigError(f"{key} is {value}; it must be finite.")
    for accepted, words in (_TYPES[t] for t in types if t in _TYPES):
        if not isinstance(value, accepted) or (isinstance(value, bool) and accepted is not bool):
            raise ConfigError(f"{key} is {value!r}; it must be {words}.")


def _summands(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _summands(node.left) + _summands(node.right)
    return [node]


def _term(node: ast.expr, threat: ThreatModel, defaults: dict[str, Any]) -> tuple[float, Rule]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and isinstance(node.left, ast.Constant):
        if not isinstance(node.left.value, int | float):
            raise _UnreadableError
        return float(node.left.value), _rule(node.right, threat, defaults)
    return 1.0, _rule(node, threat, defaults)


def _shared(rule: type[Rule], defaults: dict[str, Any]) -> dict[str, Any]:
    known = {f.name for f in dataclasses.fields(rule) if f.init}
    return {key: value for key, value in defaults.items() if key in known}


def _value(node: ast.expr, threat: ThreatModel, setting: str) -> Any:
    if setting == "measure":
        return _measure(node, threat)
    if word := _word(node):
        return {"true": True, "false": False}.get(word, word)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        raise ConfigError(f"{ast.unparse(node)!r} is not a number, a word or a list.") from None


def _word(node: ast.expr) -> str | None:
    """A bare word, whose hyphens Python reads as differences; None for anything else."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
        left, right = _word(node.left), _word(node.right)
        return f"{left}-{right}" if left and right else None
    return node.id if isinstance(node, ast.Name) else None


def _measure(node: ast.expr, threat: ThreatModel) -> Any:
    name = ast.unparse(node.func if isinstance(node, ast.Call) else node)
    if name not in MEASURES:
        raise unknown_name("measure", name, MEASURES)
    if isinstance(node, ast.Call) and node.args:
        raise ConfigError(f"Cannot read the measure {ast.unparse(node)!r}. Name its settings, as in ball(scale=1.5).")
    measure, settings = MEASURES[name], _settings(node, threat) if isinstance(node, ast.Call) else {}
    _check_settings("measure", name, measure, settings)
    needs_threat = any(f.name == "threat" for f in dataclasses.fields(measure))
    return measure(**({"threat": threat} if needs_threat else {}), **settings)
