"""``holomorph geometry``: the gallery of boundaries, hypotheses and angles on data in the plane."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holomorph._utils import progress
from holomorph._utils.output import output
from holomorph.cli import options
from holomorph.cli.common import check_output, either, say
from holomorph.research.planar import PLANAR_SETS, Planar, planar

if TYPE_CHECKING:
    from torch import nn

    from holomorph.records.geometry import PlanarResult
    from holomorph.rules.base import Rule

_HOLOMORPHIC, _PLAIN = "holomorphic network", "real network, plain"
_PGD, _DIRICHLET = "real, PGD", "real, Dirichlet rule"


def geometry_command(
    data: Annotated[str, typer.Option(help=f"all, or some with commas: {either(PLANAR_SETS)}.")] = "all",
    out: Annotated[Path, typer.Option(help="Folder for the pictures and geometry.json.")] = Path("geometry"),
    samples: Annotated[int, typer.Option(help="Of each data set.", min=1)] = 200,
    epochs: Annotated[int, typer.Option(help="Of each training.", min=1)] = 40,
    eps: Annotated[float, typer.Option(help="l_2 radius that the rules train for.")] = 0.2,
    force: options.Force = False,
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
) -> None:
    """Train a holomorphic network and three real ones on data in the plane; draw them and measure their angles."""
    from holomorph.records.geometry import GeometryRecord

    check_output(out)
    names = list(PLANAR_SETS) if data == "all" else [name.strip() for name in data.split(",")]
    sets = [planar(name, samples, seed=seed) for name in names]
    written = ["geometry.json", *(f"{name}.png" for name in PLANAR_SETS)]
    with output(out, "geometry", written, force=force), progress.shown(enabled=not quiet):
        results = [_one(found, out, epochs, eps, seed) for found in progress.track(sets, "geometry", len(sets))]
        path = GeometryRecord(seed=seed, results=tuple(results)).save(out / "geometry.json")
    for result in results:
        for model in result.models:
            angle = "-" if model.median_angle is None else f"{model.median_angle:.0f}°"
            say(f"{result.data:8} {model.name:22} accuracy {100 * model.accuracy:5.1f} %, median angle {angle}")
    say(f"Pictures and values are in {path.parent}.")


def _one(data: Planar, out: Path, epochs: int, eps: float, seed: int) -> PlanarResult:
    import torch

    from holomorph.nn.networks import HolomorphicMLP
    from holomorph.records.geometry import PlanarModel, PlanarResult
    from holomorph.research.gallery import draw
    from holomorph.research.geometry import crossing_angles, decision_boundary, disc_image
    from holomorph.research.separability import can_separate

    models, angles, rows = {}, {}, []
    for name, (model, rule) in _candidates(data, eps, seed).items():
        begin = time.perf_counter()
        _train(model, data, rule, epochs, seed)
        seconds = time.perf_counter() - begin
        models[name] = model
        angles[name] = crossing_angles(decision_boundary(model, (-2.5, 2.5)), data.curve, data.tangent)
        with torch.no_grad():
            accuracy = float((model(data.x).argmax(1) == data.y).double().mean())
        median = float(angles[name].median()) if len(angles[name]) else None
        rows.append(
            PlanarModel(
                name=name, accuracy=accuracy, angles=tuple(angles[name].tolist()), median_angle=median, seconds=seconds
            )
        )
    first = models[_HOLOMORPHIC]
    disc = disc_image(first.hypothesis, 0.0, 1.0) if isinstance(first, HolomorphicMLP) and data.classes == 2 else None
    draw(data, models, angles, out / f"{data.name}.png", disc)
    return PlanarResult(
        data=data.name,
        separable=can_separate(data.x, data.y).verdict,
        area=disc.area if disc and math.isfinite(disc.area) else None,
        energy=disc.energy if disc and math.isfinite(disc.energy) else None,
        models=tuple(rows),
    )


def _candidates(data: Planar, eps: float, seed: int) -> dict[str, tuple[nn.Module, Rule]]:
    import torch

    from holomorph.nn.classifiers import MLP
    from holomorph.nn.networks import HolomorphicMLP
    from holomorph.rules import build_rule
    from holomorph.threats import ThreatModel

    threat = ThreatModel(2, eps, (-4.0, 4.0))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        complex_net = HolomorphicMLP((2,), data.classes, width=16).double()
        real = [MLP((2,), data.classes, width=32).double() for _ in range(3)]
    return {
        _HOLOMORPHIC: (complex_net, build_rule("holomorphic", threat, weight=0.1, risk_of="logits", seed=seed)),
        _PLAIN: (real[0], build_rule("plain", threat, seed=seed)),
        _PGD: (real[1], build_rule("pgd", threat, steps=5, seed=seed)),
        _DIRICHLET: (real[2], build_rule("dirichlet", threat, seed=seed)),
    }


def _train(model: nn.Module, data: Planar, rule: Rule, epochs: int, seed: int) -> None:
    from holomorph.training.fit import fit

    fit(model, (data.x, data.y), rule, epochs=epochs, batch_size=25, lr=2e-2, seed=seed)
    model.eval()
