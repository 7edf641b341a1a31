"""Proofs for samples that were received: radii by bounds, by exact certificates or by smoothing, as a record."""

import copy
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from holomorph._utils import progress
from holomorph._utils.cache import Cache
from holomorph._utils.devices import has_doubles
from holomorph._utils.fingerprint import digest, fingerprint
from holomorph._utils.seeding import generator
from holomorph._utils.statistics import proportion_interval
from holomorph._utils.versions import versions
from holomorph.calculus.norms import random_in_ball
from holomorph.certification.bounds import Bounds
from holomorph.certification.exact import adapter_for
from holomorph.certification.search import jobs_in_order
from holomorph.certification.smoothing import Smoothed
from holomorph.contract import at_least_one, check_labels
from holomorph.contract.classifier import Classifier
from holomorph.contract.receiving import Received
from holomorph.errors import ConfigError, unknown_name
from holomorph.records.certificate import CertificateRecord, Smoothing, ThreatCertificate
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import into, movable

Method = Literal["auto", "exact", "intervals", "slopes", "lines", "branching", "smoothing"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class ProofSettings:
    """How to prove; the fields are arguments of :func:`holomorph.certify`."""

    method: Method = "auto"
    steps: int = 5
    batch_size: int = 50
    seconds: float | None = None
    broken: Tensor | None = None
    sigma: float | None = None
    draws: int = 10_000
    failure: float = 0.001
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown_name("method", self.method, METHODS)
        at_least_one(steps=self.steps, batch_size=self.batch_size)

    def check(self, given: Received) -> None:
        """Refuse a method that cannot serve what was received."""
        if given.asked is not None and self.method == "smoothing":
            raise ConfigError("method='smoothing' knows one eps for all features. Use method='auto'.")


@dataclass(frozen=True)
class _Found:
    """Answers, and for each threat the radii with what proved them."""

    predictions: Tensor
    classes: int
    radii: Sequence[Tensor]
    by: Sequence[Sequence[str | None]]
    smoothing: Smoothing | None = None
    untried: int = 0
    searched: tuple[bool, ...] = ()


def prove(
    given: Received, how: ProofSettings, parts: Path | None = None, *, model: str = "", data: str = ""
) -> CertificateRecord:
    """The certificate of a model in evaluation mode; finished batches lie in ``parts`` meanwhile."""
    started = time.perf_counter()
    guest = given.classifier.model
    if how.method != "smoothing" and not has_doubles(given.x.device) and isinstance(guest, nn.Module):
        host = Classifier(copy.deepcopy(guest).cpu())  # bounds count digits
        given = replace(given, classifier=host, x=given.x.cpu(), y=given.y.cpu())
    found = _smoothed(given, how, parts) if how.method == "smoothing" else _bounded(given, how, parts)
    clean = proportion_interval(int((found.predictions.cpu() == given.y.cpu()).sum()), len(given.y))
    return CertificateRecord(
        model=model, data=data, method=how.method, seed=how.seed,
        features=None if given.asked is None else given.asked.record(), samples_hash=digest(given.x, given.y),
        samples=len(given.y), classes=found.classes,
        precision="float64" if given.x.dtype == torch.float64 else "float32", clean=clean.value, clean_interval=clean,
        threats=tuple(map(_proved, given.threats, found.radii, found.by)), smoothing=found.smoothing,
        untried=found.untried, searched=found.searched, labels=tuple(given.y.tolist()),
        predictions=tuple(found.predictions.tolist()), versions=versions("numpy", "scipy"), device=str(given.x.device),
        command=" ".join(sys.argv) if "holomorph" in Path(sys.argv[0]).name else "",
        finished=datetime.now(UTC).isoformat(timespec="seconds"), seconds=time.perf_counter() - started,
    )  # fmt: skip


def _proved(threat: ThreatModel, radii: Tensor, by: Sequence[str | None]) -> ThreatCertificate:
    share, found = proportion_interval(int((radii >= threat.radius).sum()), len(radii)), tuple(radii.tolist())
    names = tuple(name if radius > 0 else None for name, radius in zip(by, found, strict=True))
    return ThreatCertificate(threat=threat, proved=share.value, interval=share, radii=found, proved_by=names)


def _bounded(given: Received, how: ProofSettings, parts: Path | None) -> _Found:
    """By exact certificates where the model has them, else by bounds of its layers."""
    x, y, threats, model = given.x, given.y, given.threats, given.classifier.model
    logits = given.classifier.logits(x)
    classes, predictions = logits.shape[1], logits.argmax(1)
    check_labels(y, classes)
    right = (predictions == y) & logits.isfinite().all(1)
    right = right if how.broken is None else right & ~how.broken.to(right)
    adapter = adapter_for(model, given.asked) if how.method in ("auto", "exact") else None
    if adapter is not None:
        exact = [adapter(model, x, threat).double() * right for threat in threats]
        return _Found(predictions, classes, exact, [["exact" if r > 0 else None for r in row] for row in exact])
    if how.method == "exact":
        by_feature = "" if given.asked is None else " with an eps for each feature"
        raise ConfigError(f"{type(model).__name__} has no exact certificate{by_feature}. Use method='auto'.")
    bounds = Bounds.of(model, x, logits, how.method, given.asked)
    radii, by, depths = _searched(bounds, given, how, right, parts)
    for threat in threats:  # a network that has changed meanwhile, or elsewhere, is not the one that was bounded
        noise = random_in_ball(x[:64], threat.p, threat.radius, generator(0, "certify"))
        near = x[:64] if given.asked is not None else into(x[:64], x[:64] + movable(noise, threat), threat)
        bounds.check_same(near, given.classifier.logits(near))
    searched = () if how.seconds is None else tuple((right.cpu() & (depths == how.steps).all(0)).tolist())
    untried = int((right.cpu() & (depths == 0).any(0)).sum())
    return _Found(predictions, classes, radii, by, untried=untried, searched=searched)


def _searched(
    bounds: Bounds, given: Received, how: ProofSettings, right: Tensor, parts: Path | None
) -> tuple[list[Tensor], list[list[str | None]], Tensor]:
    """For each threat and sample the radius, its proof, and how many radii were tried before the time was over."""
    x, y, threats, size = given.x, given.y, given.threats, how.batch_size
    described = f"{[t.model_dump() for t in threats]} {given.asked and given.asked.record()}"
    cache = _cache(given, parts, f"{how.method} {how.steps} {size} {described}")
    radii = [torch.zeros(len(x), dtype=torch.float64, device=x.device) for _ in threats]
    by: list[list[str | None]] = [[None] * len(x) for _ in threats]
    depths = torch.zeros(len(threats), len(x), dtype=torch.long)
    end = math.inf if how.seconds is None else time.perf_counter() + how.seconds
    with progress.bar("certifying", total=len(threats) * len(x)) as bar:
        for depth, number, start in jobs_in_order(radii, threats, size, how.steps, timed=how.seconds is not None):
            if time.perf_counter() > end:
                break
            rows = slice(start, start + size)
            batch = bounds, x[rows], y[rows], right[rows], threats[number], depth
            radii[number][rows], by[number][rows] = _batch(cache, f"threat-{number}-{start}-{depth}", *batch)
            bar.advance(int((depths[number, rows] == 0).sum()))
            depths[number, rows] = depth
    return radii, by, depths


def _batch(
    cache: Cache, key: str, bounds: Bounds, x: Tensor, y: Tensor, right: Tensor, threat: ThreatModel, steps: int
) -> tuple[Tensor, list[str | None]]:
    """The radii of one batch, taken from the cache where they were found before."""
    kept = cache.get(key)
    if kept is None:
        radii, by = bounds.radii(x, y, right, threat, steps)
        cache.put(key, radii=radii.cpu().numpy(), by=np.array([name or "" for name in by]))
        return radii, by
    return torch.from_numpy(kept["radii"]).to(x.device), [str(name) or None for name in kept["by"]]


def _smoothed(given: Received, how: ProofSettings, parts: Path | None) -> _Found:
    """The classifier under noise, and the radii up to which its answer stands."""
    x, y, threats = given.x, given.y, given.threats
    widest = max((t.radius for t in threats if t.norm != "inf"), default=threats[0].radius)
    sigma = widest if how.sigma is None else how.sigma
    smoothed = Smoothed(given.classifier, sigma, how.draws, how.failure, 20 * how.batch_size, how.seed)
    classes = given.classifier.logits(x[:1]).shape[1]
    check_labels(y, classes)
    cache = _cache(given, parts, f"smoothing {sigma} {how.draws} {smoothed.batch_size} {how.seed}")
    with progress.bar("smoothing", total=len(x)) as bar:
        predictions, radii = smoothed.certify(x, cache, bar.advance)
    mine = radii * (predictions == y.cpu())
    # The l_2 ball of radius r holds the l_1 ball of r and the l_inf ball of r / sqrt(n).
    scale = {"2": 1.0, "1": 1.0, "inf": 1 / math.sqrt(x[0].numel()) * (1 - 1e-9)}
    abstained = int((predictions < 0).sum())
    noise = Smoothing(sigma=sigma, draws=how.draws, failure=how.failure, abstained=abstained)
    by: list[str | None] = ["smoothing" if r > 0 else None for r in mine.tolist()]
    return _Found(predictions, classes, [mine * scale[threat.norm] for threat in threats], [by] * len(threats), noise)


def _cache(given: Received, parts: Path | None, settings: str) -> Cache:
    if parts is None:
        return Cache()
    return Cache(parts, fingerprint(settings + given.classifier.mark(given.x), given.x, given.y))
