"""What training and evaluation cost on the accelerator that is there, or on the CPU, in about ten minutes.

    python -m studies.scale.device

Synthetic images of 3 x 32 x 32 pixels, a PreActResNet-18 and a ViT-S: steps of every rule over plain ones, peak memory
by batch and resolution, seconds of an evaluation and of AutoAttack alone, the share of a step that the host spends in
this library's Python, and steps of one and of several processes. ``--quick`` is a trial of the script.
"""

import argparse
import cProfile
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

import holomorph
from holomorph._utils.versions import versions
from holomorph.attacks.autoattack import AutoAttackStage
from holomorph.contract.classifier import Classifier
from holomorph.evaluation.evaluate import evaluate
from holomorph.evaluation.processes import share
from holomorph.nn.classifiers import ViT
from holomorph.nn.classifiers.resnet import Block
from holomorph.rules import RULES
from holomorph.rules.registry import parse
from holomorph.threats import ThreatModel
from holomorph.training.devices import one_device
from studies.kept import keep, results, save

THREAT = ThreatModel("inf", "8/255")
PACKAGE = str(Path(holomorph.__file__).parent)


def resnet(width: int = 64, side: int = 32) -> nn.Module:
    """PreActResNet-18: four stages of two residual blocks."""
    torch.manual_seed(0)
    sizes = [width, width, 2 * width, 4 * width, 8 * width]
    blocks = [Block(sizes[s + b], sizes[s + 1], 2 if s and not b else 1, "batch", "silu")
              for s in range(4) for b in range(2)]  # fmt: skip
    layers = [nn.Conv2d(3, width, 3, padding=1, bias=False), *blocks, nn.BatchNorm2d(sizes[-1]), nn.SiLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(sizes[-1], 10))


def vit(width: int = 384, side: int = 32) -> nn.Module:
    """ViT-S on patches of an eighth of the side."""
    torch.manual_seed(0)
    return ViT((3, side, side), 10, patch=side // 8, width=width, depth=12, heads=6)


def images(count: int, side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Noise, and labels of ten classes."""
    draws = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 10, (count,), generator=draws)
    return torch.rand(count, 3, side, side, generator=draws).to(device), labels.to(device)


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    """How long the work takes until the device is done with it."""
    start = time.perf_counter()
    work()
    if device.type != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter() - start


def steps(model: nn.Module, batch: int, repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Each rule's floor in plain steps by its passes, and its median over plain steps of the same turn."""
    x, y = images(batch, 32, device)
    rules = {name: parse(name, THREAT) for name in sorted(set(RULES) - {"certified", "free"})}
    turns = [{name: seconds(lambda rule=rule: rule(model, x, y).backward(), device) for name, rule in rules.items()}
             for _ in range(repeats + 1)][1:]  # fmt: skip
    found = {name: statistics.median(t[name] / t["plain"] for t in turns) for name in rules}
    return {name: [rules[name].cost.passes / 3, found[name]] for name in rules}


def memory(
    make: Callable[..., nn.Module], batches: list[int], sides: list[int], device: torch.device
) -> dict[str, int]:
    """Peak megabytes of a step of ``finite``, where the device counts them."""
    found, rule = {}, parse("finite", THREAT)
    for batch, side in [(b, 32) for b in batches] + [(batches[0], s) for s in sides]:
        model, (x, y) = make(side=side).to(device), images(batch, side, device)
        torch.get_device_module(device).reset_peak_memory_stats()
        rule(model, x, y).backward()
        found[f"{batch} x {side}"] = torch.get_device_module(device).max_memory_allocated() // 2**20
    return found


def attacks(model: nn.Module, count: int, device: torch.device) -> dict[str, float]:
    """Seconds of AutoAttack's four parts alone and of a whole evaluation of samples that are predicted correctly."""
    x, _ = images(count, 32, device)
    y, classifier = model.eval()(x).argmax(1), Classifier(model)
    names: Any = ("apgd-ce", "apgd-t", "fab-t", "square")
    alone = seconds(lambda: [AutoAttackStage(name, THREAT, 10)(classifier, x, y, 0) for name in names], device)
    return {"autoattack": alone, "evaluate": seconds(lambda: evaluate(model, x, y, THREAT), device)}


def host(model: nn.Module, batch: int, device: torch.device, count: int = 10) -> dict[str, float]:
    """Seconds of a step of ``finite``, and those of the host in this library's own lines, as a profiler counts them."""
    rule, (x, y) = parse("finite", THREAT), images(batch, 32, device)
    rule(model, x, y).backward()
    whole = seconds(lambda: [rule(model, x, y).backward() for _ in range(count)], device) / count
    with cProfile.Profile() as profile:
        for _ in range(count):
            rule(model, x, y).backward()
    own: dict[tuple[str, int, str], tuple[Any, ...]] = vars(pstats.Stats(profile))["stats"]
    mine = sum(entry[2] for (file, *_), entry in own.items() if file.startswith(PACKAGE)) / count
    return {"step": whole, "host": mine, "share": mine / whole}


def part(fabric: Fabric, width: int, batch: int, count: int, out: str) -> None:
    """Seconds of a step of ``finite`` on this process's part of a batch."""
    torch.set_num_threads(1)
    model, (x, y), rule = fabric.setup(resnet(width)), images(batch, 32, fabric.device), parse("finite", THREAT)
    mine = slice(fabric.global_rank, None, fabric.world_size)
    taken = [seconds(lambda: fabric.backward(rule(model, x[mine], y[mine])), fabric.device) for _ in range(count + 1)]
    if fabric.is_global_zero:
        save(Path(out), statistics.median(taken[1:]))


def together(width: int, batch: int, count: int, kind: str, processes: int) -> float:
    """The same in so many processes."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "seconds.json"
        share(part, width, batch, count, str(out), devices=processes, accelerator=kind)
        return float(out.read_text())


def speedup(width: int, batch: int, count: int, kind: str, many: int) -> dict[str, Any]:
    """Steps by one and by so many processes in turns, and the median of their ratios."""
    turns = [[together(width, batch, count, kind, n) for n in (1, many)] for _ in range(5)]
    return {"seconds": turns, "ratio": statistics.median(one / more for one, more in turns)}


def main() -> None:
    """Measure part by part; a stopped run goes on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=results("scale") / "device.json")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    device = one_device("auto").device
    small = device.type == "cpu"
    width, batch, repeats = (8, 4, 2) if asked.quick else (16, 32, 5) if small else (64, 128, 20)
    networks = {"resnet": resnet(width), "vit": vit(6 * width)}
    kind, many = ("cpu", 2) if small else (device.type, torch.accelerator.device_count())
    rows: dict[str, Callable[[], Any]] = {
        "versions": lambda: {**versions("numpy"), "device": str(device), "width": width, "batch": batch}
    }
    for name, network in networks.items():
        model = network.to(device)
        rows[f"steps, {name}"] = lambda model=model: steps(model.train(), batch, repeats, device)
        rows[f"host, {name}"] = lambda model=model: host(model.train(), batch, device, 2 * repeats)
        if not small:
            make = {"resnet": resnet, "vit": vit}[name]
            rows[f"memory, {name}"] = lambda make=make: memory(make, [32, 128, 512], [64, 224], device)
    rows[f"speed-up by {many} processes"] = lambda: speedup(width, 2 * batch, 2 * repeats, kind, many)
    rows["attacks"] = lambda: attacks(networks["resnet"], batch if small else 512, device)
    keep(asked.out, rows)


if __name__ == "__main__":
    main()
