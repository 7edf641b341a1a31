"""Every rule by name: an explicit table, and the reader of texts such as ``dirichlet(weight=2,power=2)``."""

from __future__ import annotations

import ast
import dataclasses
from typing import Any

from holomorph.errors import ConfigError, unknown_name
from holomorph.rules.base import Rule
from holomorph.rules.dirichlet import Dirichlet
from holomorph.rules.finite import FiniteEnergy
from holomorph.rules.nfgsm import NFGSM
from holomorph.rules.pgd import PGD
from holomorph.rules.plain import Plain
from holomorph.rules.trades import TRADES
from holomorph.types import ThreatModel

RULES: dict[str, type[Rule]] = {rule.name: rule for rule in (Plain, Dirichlet, FiniteEnergy, NFGSM, PGD, TRADES)}


def build(name: str, threat: ThreatModel, **settings: Any) -> Rule:
    """Make the rule of this name; every default needs the threat only.

    Raises
    ------
    ConfigError
        For an unknown rule or setting, with the nearest known names.

    >>> build("dirichlet", ThreatModel("inf", 0.1), weight=2.0).weight
    2.0
    """
    if name not in RULES:
        raise unknown_name("rule", name, RULES)
    rule = RULES[name]
    known = {f.name for f in dataclasses.fields(rule) if f.init} - {"threat"}
    for key in settings:
        if key not in known:
            raise unknown_name(f"setting of the rule {name!r}", key, known)
    needs_threat = any(f.name == "threat" for f in dataclasses.fields(rule))
    arguments: dict[str, Any] = {"threat": threat, **settings} if needs_threat else settings
    return rule(**arguments)


def parse(text: str, threat: ThreatModel, **defaults: Any) -> Rule:
    """Read a rule with its settings as written on the command line.

    Values are Python literals; a bare word is text. ``defaults`` hold unless the text says otherwise.

    >>> rule = parse("dirichlet(weight=2, power=1, risk_at=samples)", ThreatModel("inf", 0.1))
    >>> rule.weight, rule.power, rule.risk_at
    (2, 1, 'samples')
    """
    call: ast.expr | None
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        call = None
    if isinstance(call, ast.Name):
        return build(call.id, threat, **defaults)
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args:
        settings = {k.arg: _value(k.value) for k in call.keywords if k.arg}
        return build(call.func.id, threat, **{**defaults, **settings})
    if text.strip().replace("-", "_").isidentifier():
        raise unknown_name("rule", text.strip(), RULES)
    raise ConfigError(f"Cannot read the rule {text!r}. Write it as NAME or NAME(setting=value, ...).")


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return node.id
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ConfigError(f"{ast.unparse(node)!r} is not a number, a word or a list.") from None
