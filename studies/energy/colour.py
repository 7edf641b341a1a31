"""A residual network on colour images: is the order of the rules that of the small CNN?

No colour data set comes with a package index, so this one is made: each Fashion-MNIST garment in a random colour, at a
random place of a 32 x 32 image whose background is smooth coloured noise. The label is known; shape alone tells it.

    python -m studies.energy.colour            # trains, attacks, writes colour.json; resumable
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from holomorph._utils.io import write_atomically
from holomorph._utils.seeding import seed_for
from holomorph._utils.statistics import paired_interval, proportion_interval
from holomorph._utils.versions import versions
from holomorph.data import load
from holomorph.rules import NFGSM, PGD, FiniteEnergy, Growing, Plain, Rule
from holomorph.threats import ThreatModel
from holomorph.training.fit import fit
from studies.calculus.steps_networks import resnet8
from studies.common import RESULTS, clean_accuracy
from studies.energy.attacks import whitebox
from studies.kept import RUNS

PATH, SIDE = RESULTS / "colour.json", 32
THREAT = ThreatModel("inf", "8/255")
RULES: dict[str, Callable[[], Rule]] = {
    "plain": Plain,
    "finite": lambda: FiniteEnergy(THREAT),
    "N-FGSM k=1": lambda: NFGSM(THREAT, noise=1.0),
    "PGD-10": lambda: PGD(THREAT),
    "N-FGSM k=1, growing": lambda: Growing(NFGSM(THREAT, noise=1.0)),
    "PGD-10, growing": lambda: Growing(PGD(THREAT)),
}


def coloured(garments: Tensor, seed: int) -> Tensor:
    """Paste (n, 1, 28, 28) garments, coloured, on smooth noise; (n, 3, 32, 32) in [0, 1]."""
    draws = torch.Generator().manual_seed(seed_for(seed, "scale"))
    count = len(garments)
    ground = interpolate(torch.rand(count, 3, 5, 5, generator=draws), size=SIDE, mode="bicubic").clamp(0, 1)
    mask = torch.zeros(count, 1, SIDE, SIDE)
    rows, columns = torch.randint(0, SIDE - 27, (2, count), generator=draws).tolist()
    for image, garment, row, column in zip(mask, garments, rows, columns, strict=True):
        image[:, row : row + 28, column : column + 28] = garment
    paint = 0.25 + 0.75 * torch.rand(count, 3, 1, 1, generator=draws)
    opaque = (4 * mask).clamp(max=1)  # dark parts of a garment still hide what lies behind
    return (opaque * mask * paint + (1 - opaque) * ground).clamp(0, 1)


def train(name: str, x: Tensor, y: Tensor, epochs: int, seed: int) -> tuple[nn.Module, float, float]:
    """One training; the network, CPU seconds of this process, cost in plain steps."""
    with torch.random.fork_rng():
        torch.manual_seed(seed_for(seed, "model"))
        model = resnet8().to(memory_format=torch.channels_last)
    begin, where = time.process_time(), RUNS / f"scale-{name.lower()}-{epochs}e-s{seed}"
    record = fit(model, (x, y), RULES[name](), epochs=epochs, batch_size=64, lr=4e-3, seed=seed, out=where,
                 resume=True)  # fmt: skip
    return model.eval(), time.process_time() - begin, record.cost


def found() -> dict[str, Any]:
    """What is known so far."""
    known: dict[str, Any] = json.loads(PATH.read_text()) if PATH.exists() else {"rows": {}}
    return known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", nargs="+", default=list(RULES), choices=list(RULES))
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--n", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    known = found()
    data = load("fashion-mnist")
    x, x_test = coloured(data.x_train[: wanted.images], 0), coloured(data.x_test[:2000], 1)
    y, y_test = data.y_train[: wanted.images], data.y_test[:2000]
    for name in wanted.rules:
        key = f"{name}, seed {wanted.seed}"
        if key in known["rows"]:
            continue
        model, seconds, cost = train(name, x, y, wanted.epochs, wanted.seed)
        alive = whitebox(model, x_test[: wanted.n], y_test[: wanted.n], THREAT)
        interval = proportion_interval(int(alive.sum()), wanted.n)
        known = found()  # another process may have added to it
        known["rows"][key] = {
            "images": wanted.images, "epochs": wanted.epochs, "cpu_seconds": round(seconds, 1), "passes": cost,
            "clean": clean_accuracy(model, x_test, y_test), "apgd": float(alive.float().mean()),
            "interval": [interval.low, interval.high], "samples": wanted.n,
            "answers": alive.int().tolist(),
        }  # fmt: skip
        known |= {"command": "python -m studies.energy.colour", "versions": versions("numpy", "pyautoattack")}
        write_atomically(PATH, (json.dumps(known, indent=1) + "\n").encode())
        print(key, {k: v for k, v in known["rows"][key].items() if isinstance(v, int | float)}, flush=True)
    rows = {k: v for k, v in known["rows"].items() if "plain" not in k}
    for first in rows:
        for second in rows:
            if first < second:
                gap = paired_interval(rows[first]["answers"], rows[second]["answers"])
                print(f"{first} - {second}: {gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})")


if __name__ == "__main__":
    main()
