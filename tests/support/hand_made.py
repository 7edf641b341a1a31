"""Records as the commands write them, small and by hand, about the embedded digits."""

import functools
import math

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from holomorph.explanation.energy_profile import diagnose
from holomorph.explanation.explain import explain
from holomorph.records.base import Interval
from holomorph.records.certificate import CertificateRecord, ThreatCertificate
from holomorph.records.comparison import ComparisonRecord, Difference, RuleResult
from holomorph.records.diagnostics import DiagnosticsRecord
from holomorph.records.evaluation import (
    AccuracyCurve,
    AttackResult,
    Check,
    ClassResult,
    EvaluationRecord,
    Example,
    ThreatResult,
)
from holomorph.records.explanation import ExplanationRecord
from holomorph.records.training import BaselineSummary, Epoch, TrainRecord
from holomorph.threats import ThreatModel

THREAT = ThreatModel("inf", 0.1)
SAMPLES = 360


def interval(value: float) -> Interval:
    reach = 1.96 * math.sqrt(max(value * (1 - value), 1e-4) / SAMPLES)
    return Interval(value=value, low=max(0.0, value - reach), high=min(1.0, value + reach))


def threat_result(threat: ThreatModel, robust: float, clean: float = 0.97, decay: float = 1.0) -> ThreatResult:
    eps = np.linspace(0, 2.5 * threat.radius, 60)
    rate = math.log(robust / clean) / threat.radius**2
    curve = AccuracyCurve(
        norm=threat.norm,
        samples=SAMPLES,
        attacks=("fmn", "ddn"),
        eps=tuple(eps),
        accuracy=tuple(clean * np.exp(decay * rate * eps**2)),
    )
    lost = round((1 - robust) * SAMPLES)
    smallest = tuple(threat.radius * i / lost if i < lost else None for i in range(SAMPLES))
    return ThreatResult(
        threat=threat, robust=robust, interval=interval(robust), curve=curve, broken_by=(), smallest=smallest
    )


def gallery(count: int = 6) -> tuple[Example, ...]:
    images, labels = load_digits(return_X_y=True)
    random = np.random.default_rng(0)
    examples = []
    for index in range(count):
        x = images[index] / 16
        perturbed = np.clip(x + 0.1 * np.sign(random.standard_normal(x.shape)), 0, 1)
        label = int(labels[index])
        examples.append(
            Example(index=index, label=label, threat=str(THREAT), attack="fmn", shape=(1, 8, 8), input=tuple(x),
                    adversarial=tuple(perturbed), distance=float(np.abs(perturbed - x).max()), prediction=label,
                    prediction_adversarial=(label + 5) % 10, baseline_prediction=label,
                    baseline_prediction_adversarial=(label + 1) % 10)
        )  # fmt: skip
    return tuple(examples)


def check(number: int, name: str, verdict: str, reason: str) -> Check:
    return Check(
        number=number,
        name=name,
        guards="gradients that hide from the attack",
        verdict=verdict,
        reason=reason,
        source="Carlini et al. 2019",
    )


CHECKS = (
    check(1, "one step against many", "pass", "PGD breaks 21.4 % and FGSM 17.9 %."),
    check(2, "white box against black box", "warn", "Square broke 1 sample that no white-box attack broke (0.3 %)."),
    check(8, "zero gradients", "pass", "0.0 % of the gradient entries are exactly zero."),
    check(
        22, "undefended baseline", "not run", "No baseline was given. Pass baseline= or train without --no-baseline."
    ),
)


def evaluation(*, robust: float = 0.78, baseline: bool = True, **changes) -> EvaluationRecord:
    attack = AttackResult(
        name="apgd-ce",
        package="pyautoattack 0.2.0",
        threat=str(THREAT),
        access="white box",
        tried=350,
        broken=66,
        accuracy=0.79,
        seconds=7.3,
    )
    values = {
        "model": "runs/first",
        "data": "digits",
        "samples": SAMPLES,
        "classes": 10,
        "seed": 0,
        "clean": 0.972,
        "clean_interval": interval(0.972),
        "robust": robust,
        "robust_interval": interval(robust),
        "threats": (threat_result(THREAT, robust),),
        "attacks": (attack, attack.model_copy(update={"name": "square", "access": "black box", "broken": 1})),
        "checks": CHECKS,
        "per_class": tuple(ClassResult(label=k, samples=36, clean=0.97, robust=0.7 + 0.02 * k) for k in range(10)),
        "gallery": gallery(),
        "baseline": evaluation(robust=0.031, baseline=False, checks=(), gallery=()) if baseline else None,
        "versions": {"holomorph": "0.1.0", "torch": "2.13.0", "pyautoattack": "0.2.0"},
        "command": "holomorph evaluate runs/first",
        "seconds": 41.0,
    }
    return EvaluationRecord(**{**values, **changes})


def training(**changes) -> TrainRecord:
    def history(floor: float, top: float) -> tuple[Epoch, ...]:
        return tuple(
            Epoch(
                number=k + 1,
                loss=floor + 2 * math.exp(-k / 4),
                lr=0.002,
                seconds=0.8,
                validation_accuracy=top - 0.6 * math.exp(-k / 3),
                measured={"risk": 0.2 + math.exp(-k / 5), "energy": 0.05 + 0.3 * math.exp(-k / 8)},
            )
            for k in range(20)
        )

    values = {
        "model": "cnn", "parameters": 54_321, "data": "digits", "samples": 1077, "rule": "dirichlet",
        "rule_settings": {"weight": 1.0, "power": 2, "measure": {"type": "Ball", "scale": 1.0}, "box_aware": False},
        "threat": THREAT, "seed": 0, "epochs": 20, "batch_size": 64, "optimizer": "adam", "lr": 0.002,
        "weight_decay": 0.0, "history": history(0.4, 0.975), "seconds": 18.4, "cost": 3.0, "measured_cost": 2.91,
        "baseline": BaselineSummary(history=history(0.05, 0.985), seconds=6.3),
        "versions": {"holomorph": "0.1.0", "torch": "2.13.0"},
        "command": "holomorph train --data digits --rule dirichlet --threat inf:0.1 --out runs/first",
        "started": "2026-01-01T12:00:00+00:00",
    }  # fmt: skip
    return TrainRecord(**{**values, **changes})


@functools.cache
def diagnostics() -> DiagnosticsRecord:
    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images[:SAMPLES] / 16).float(), torch.tensor(labels[:SAMPLES])

    def net(scale: float) -> nn.Module:
        layers = nn.Sequential(nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 10))
        with torch.no_grad():
            layers[2].weight.mul_(scale)
        return layers

    return diagnose(net(1.0), x, y, threat=THREAT, baseline=net(20.0))


@functools.cache
def explanation() -> ExplanationRecord:
    torch.manual_seed(0)
    x = torch.rand(24, 3)
    model = nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Linear(8, 2))
    return explain(model, x, (x[:, 0] > 0.5).long(), threat=THREAT, steps=20)


def _near(value: float, half: float = 0.02) -> Interval:
    return Interval(value=value, low=value - half, high=value + half)


def _rule(text: str, clean: float, robust: float, cost: float) -> RuleResult:
    return RuleResult(
        text=text,
        settings={},
        cost=cost,
        seconds=cost,
        runs=(),
        accuracies={"clean": _near(clean), "inf:0.1": _near(robust)},
    )


@functools.cache
def comparison() -> ComparisonRecord:
    """Three rules on the digits, two of them not told apart."""
    return ComparisonRecord(
        data="digits", model="mlp", training={}, budget="6epochs", seeds=3, trained_for=THREAT, threats=(THREAT,),
        split="val", attack="pgd", samples=200,
        rules=(_rule("plain", 0.97, 0.4, 1), _rule("nfgsm", 0.96, 0.71, 2), _rule("dirichlet", 0.95, 0.7, 3)),
        differences=(
            Difference(first="plain", second="nfgsm", quantity="inf:0.1", interval=_near(-0.31)),
            Difference(first="plain", second="dirichlet", quantity="inf:0.1", interval=_near(-0.3)),
            Difference(first="nfgsm", second="dirichlet", quantity="inf:0.1", interval=_near(0.01)),
        ),
    )  # fmt: skip


def all_records() -> list:
    return [training(), evaluation(), certificate(evaluation()), diagnostics(), explanation()]


def certificate(found: EvaluationRecord, *, proved: float = 0.5, **changes) -> CertificateRecord:
    """A certificate of the samples of an evaluation under its threats, consistent with what attacks found."""
    threats = []
    for result in found.threats:
        count = round(proved * found.samples)
        order = sorted(range(found.samples), key=lambda i: -(result.smallest[i] or math.inf))
        safe = set(order[:count])
        radii = tuple(1.25 * result.threat.radius if i in safe else 0.0 for i in range(found.samples))
        radii = tuple(r if s is None else min(r, 0.99 * s) for r, s in zip(radii, result.smallest, strict=True))
        share = sum(r >= result.threat.radius for r in radii) / found.samples
        by = tuple("lines" if r > 0 else None for r in radii)
        threats.append(ThreatCertificate(threat=result.threat, proved=share, interval=interval(share), radii=radii,
                                         proved_by=by))  # fmt: skip
    values = {
        "model": "runs/first", "data": "digits", "samples_hash": found.samples_hash, "samples": found.samples,
        "classes": 10, "method": "auto", "precision": "float32", "clean": 0.972, "clean_interval": interval(0.972),
        "threats": tuple(threats),
    }  # fmt: skip
    return CertificateRecord(**{**values, **changes})
