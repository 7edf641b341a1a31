"""``certify``: the proved side of a verdict, sample by sample."""

from __future__ import annotations

import copy
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from holomorph._utils import progress
from holomorph._utils.cache import Cache
from holomorph._utils.devices import has_doubles
from holomorph._utils.fingerprint import digest, fingerprint
from holomorph._utils.output import output
from holomorph._utils.seeding import generator
from holomorph._utils.statistics import proportion_interval
from holomorph._utils.versions import versions
from holomorph.calculus.norms import random_in_ball
from holomorph.certification.bounds import Bounds
from holomorph.certification.exact import adapter_for
from holomorph.certification.search import jobs_in_order
from holomorph.certification.smoothing import Smoothed
from holomorph.contract import at_least_one, check_labels, gradients
from holomorph.contract.classifier import Classifier
from holomorph.contract.receiving import receive, under_attack
from holomorph.contract.threats import ThreatsLike
from holomorph.errors import ConfigError, unknown_name
from holomorph.records.certificate import CertificateRecord, Smoothing, ThreatCertificate
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import into, movable
from holomorph.threats.features import Features

Method = Literal["auto", "exact", "intervals", "slopes", "lines", "branching", "smoothing"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class _Found:
    """Answers, and for each threat the radii with what proved them."""

    predictions: Tensor
    classes: int
    radii: list[Tensor]
    by: list[list[str | None]]
    smoothing: Smoothing | None = None
    untried: int = 0
    searched: tuple[bool, ...] = ()


@gradients()
def certify(
    model: Any,
    x: Any,
    y: Any = None,
    threat: ThreatsLike = (),
    *,
    method: Method = "auto",
    features: Features | None = None,
    n: int | None = None,
    steps: int = 5,
    seconds: float | None = None,
    broken: Tensor | None = None,
    batch_size: int = 50,
    sigma: float | None = None,
    draws: int = 10_000,
    failure: float = 0.001,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    force: bool = False,
    model_name: str = "",
    data_name: str = "",
) -> CertificateRecord:
    r"""Prove, sample by sample, up to which radius no change of the input alters a right answer.

    $$\text{proved} = \frac1n \#\{i : h(x_i + \delta) = y_i \text{ for every } \delta \text{ of the threat, by proof}\}
    \;\le\; \text{robust accuracy} \;\le\; \text{attacked}$$

    What is certified are the predictions that the model computes in its own precision: rounding is part of every bound.

    Parameters
    ----------
    model:
        Maps (batch, ...) to logits (batch, classes). In evaluation mode; every part gets its own mode back.
    x, y:
        Samples inside the threat's box, integer labels from 0.
    threat:
        One threat or several.
    method:
        ``"exact"``: for the exact holomorphic classifiers. ``"intervals"``: a range for every value. ``"slopes"``: a
        bound of the margin's gradient over the whole ball. ``"lines"``: linear bounds, backwards. ``"branching"``: the
        ball in parts, for few features. ``"smoothing"``: under noise. ``"auto"`` takes exact proofs where they exist.
        Else it tries slopes and lines, first from cheap enclosures, then from tight ones, then branching up to four
        features.
    features:
        Eps and range of each feature of a table, in which the threats then count; as in :func:`holomorph.evaluate`.
        What is proved holds for every row between the walls, possible or not.
    n:
        Use the first n samples.
    steps:
        How many radii are tried for a sample: eps first, then quarters until one is proved, then bisection.
    seconds:
        After so long no further batch is begun, and the record says which samples were not looked at. The largest
        radius is looked for in the first batch, then all samples are tried at eps; where eps is too large for the whole
        first batch, the largest radius is looked for in the others too.
    broken:
        Samples, by ``True``, that an attack has broken under every threat: bounds are not tried on them.
    batch_size:
        Samples at once; with smoothing, noisy copies are 20 times as many.
    sigma, draws, failure:
        Of smoothing: see :class:`~holomorph.certification.smoothing.Smoothed`. sigma is by default the largest
        of the threats' l_2 and l_1 radii.
    seed:
        Of smoothing's noise.
    out:
        A folder for ``certificate.json``; finished batches lie in it meanwhile. Nothing is written without it.
    resume:
        Go on from the batches that a stopped call has finished in ``out``.
    force:
        Replace an earlier certificate in ``out``.
    model_name, data_name:
        For the record: what was certified, on what.

    Raises
    ------
    DataError, ConfigError
        For samples, labels, threats or settings that cannot be used.
    ModelError
        For a network with a part that cannot be bounded, by its name.

    Source: docs/certificates.md; docs/mathematics.md, section 9.

    Examples
    --------
    >>> from torch import nn
    >>> model = nn.Linear(2, 2, bias=False)
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    >>> x, y = torch.tensor([[0.9, 0.1], [0.52, 0.48]]), torch.tensor([0, 0])
    >>> record = certify(model, x, y, ThreatModel("inf", 0.1))
    >>> record.clean, record.threats[0].proved
    (1.0, 0.5)
    """
    started = time.perf_counter()
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    at_least_one(steps=steps, batch_size=batch_size)
    model_name = model_name or type(model).__name__
    given = receive(model, x, y, threat, n=n, batch_size=batch_size, features=features)
    classifier, x, y, threats, features = given.classifier, given.x, given.y, given.threats, given.asked
    if method != "smoothing" and not has_doubles(x.device) and isinstance(classifier.model, nn.Module):
        classifier, x, y = Classifier(copy.deepcopy(classifier.model).cpu()), x.cpu(), y.cpu()  # bounds count digits
    if features is not None and method in ("smoothing", "exact"):
        raise ConfigError(f"method={method!r} knows one eps for all features. Use method='auto'.")
    own = output(out, "certificate", ("certificate.json",), work="certificate.parts", resume=resume, force=force)
    with own as place, under_attack(classifier):
        parts = None if place is None else place.work_folder
        if method == "smoothing":
            wide = max((t.radius for t in threats if t.norm != "inf"), default=threats[0].radius)
            smoothed = Smoothed(classifier, wide if sigma is None else sigma, draws, failure, 20 * batch_size, seed)
            found = _smoothed(classifier, x, y, threats, smoothed, parts)
        else:
            found = _bounded(classifier, x, y, threats, method, steps, batch_size, parts, features, seconds, broken)
        facts: dict[str, Any] = {"model": model_name, "data": data_name, "method": method, "seed": seed}
        facts["features"] = None if features is None else features.record()
        record = _record(found, x, y, threats, facts | {"seconds": time.perf_counter() - started})
        if place is not None:
            record.save(place.file("certificate.json"))
            place.clear_work()
    return record


def _bounded(
    classifier: Classifier, x: Tensor, y: Tensor, threats: Sequence[ThreatModel], method: str, steps: int,
    batch_size: int, parts: Path | None, features: Features | None, seconds: float | None,
    broken: Tensor | None,
) -> _Found:  # fmt: skip
    logits = classifier.logits(x)
    model = classifier.model
    predictions = logits.argmax(1)
    check_labels(y, logits.shape[1])
    right = (predictions == y) & logits.isfinite().all(1)
    right = right if broken is None else right & ~broken.to(right)
    adapter = adapter_for(model) if method in ("auto", "exact") and features is None else None
    if adapter is not None:
        exact = [adapter(model, x, threat).double() * right for threat in threats]
        return _Found(predictions, logits.shape[1], exact, [["exact" if r > 0 else None for r in row] for row in exact])
    if method == "exact":
        raise ConfigError(f"{type(model).__name__} has no exact certificate. Use method='auto'.")
    bounds = Bounds.of(model, x, logits, method, features)
    asked = f"{method} {steps} {batch_size} {[t.model_dump() for t in threats]} {features and features.record()}"
    cache = _cache(classifier, x, y, parts, asked)
    radii = [torch.zeros(len(x), dtype=torch.float64, device=x.device) for _ in threats]
    by: list[list[str | None]] = [[None] * len(x) for _ in threats]
    depth_of = torch.zeros(len(threats), len(x), dtype=torch.long)  # how many radii were tried
    found = _Found(predictions, logits.shape[1], radii, by)
    end = math.inf if seconds is None else time.perf_counter() + seconds
    jobs = jobs_in_order(radii, threats, batch_size, steps, timed=seconds is not None)
    with progress.bar("certifying", total=len(threats) * len(x)) as bar:
        for depth, number, start in jobs:
            if time.perf_counter() > end:
                break
            rows = slice(start, start + batch_size)
            batch = bounds, x[rows], y[rows], right[rows], threats[number], depth
            radii[number][rows], by[number][rows] = _batch(cache, f"threat-{number}-{start}-{depth}", *batch)
            bar.advance(int((depth_of[number, rows] == 0).sum()))
            depth_of[number, rows] = depth
    for threat in threats:  # a network that has changed meanwhile, or elsewhere, is not the one that was bounded
        noise = random_in_ball(x[:64], threat.p, threat.radius, generator(0, "certify"))
        near = x[:64] if features is not None else into(x[:64], x[:64] + movable(noise, threat), threat)
        bounds.check_same(near, classifier.logits(near))
    searched = () if seconds is None else tuple((right.cpu() & (depth_of == steps).all(0)).tolist())
    return replace(found, untried=int((right.cpu() & (depth_of == 0).any(0)).sum()), searched=searched)


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


def _smoothed(
    classifier: Classifier, x: Tensor, y: Tensor, threats: Sequence[ThreatModel], smoothed: Smoothed,
    parts: Path | None,
) -> _Found:  # fmt: skip
    classes = classifier.logits(x[:1]).shape[1]
    check_labels(y, classes)
    settings = f"smoothing {smoothed.sigma} {smoothed.draws} {smoothed.batch_size} {smoothed.seed}"
    with progress.bar("smoothing", total=len(x)) as bar:
        predictions, radii = smoothed.certify(x, _cache(classifier, x, y, parts, settings), bar.advance)
    mine = radii * (predictions == y.cpu())
    # The l_2 ball of radius r holds the l_1 ball of r and the l_inf ball of r / sqrt(n).
    scale = {"2": 1.0, "1": 1.0, "inf": 1 / math.sqrt(x[0].numel()) * (1 - 1e-9)}
    noise = Smoothing(sigma=smoothed.sigma, draws=smoothed.draws, failure=smoothed.failure,
                      abstained=int((predictions < 0).sum()))  # fmt: skip
    by: list[str | None] = ["smoothing" if r > 0 else None for r in mine.tolist()]
    return _Found(predictions, classes, [mine * scale[threat.norm] for threat in threats], [by] * len(threats), noise)


def _cache(classifier: Classifier, x: Tensor, y: Tensor, folder: str | Path | None, settings: str) -> Cache:
    if folder is None:
        return Cache()
    return Cache(Path(folder), fingerprint(settings + classifier.mark(x), x, y))


def _record(
    found: _Found, x: Tensor, y: Tensor, threats: Sequence[ThreatModel], facts: dict[str, Any]
) -> CertificateRecord:
    clean = proportion_interval(int((found.predictions.cpu() == y.cpu()).sum()), len(y))
    proved = []
    for threat, radii, by in zip(threats, found.radii, found.by, strict=True):
        share = proportion_interval(int((radii >= threat.radius).sum()), len(y))
        names = tuple(name if radius > 0 else None for name, radius in zip(by, radii.tolist(), strict=True))
        proved.append(ThreatCertificate(threat=threat, proved=share.value, interval=share,
                                        radii=tuple(radii.tolist()), proved_by=names))  # fmt: skip
    return CertificateRecord(
        samples_hash=digest(x, y),
        samples=len(y),
        classes=found.classes,
        precision="float64" if x.dtype == torch.float64 else "float32",
        clean=clean.value,
        clean_interval=clean,
        threats=tuple(proved),
        smoothing=found.smoothing,
        untried=found.untried,
        searched=found.searched,
        labels=tuple(y.tolist()),
        predictions=tuple(found.predictions.tolist()),
        versions=versions("numpy", "scipy"),
        device=str(x.device),
        command=" ".join(sys.argv) if "holomorph" in Path(sys.argv[0]).name else "",
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        **facts,
    )
