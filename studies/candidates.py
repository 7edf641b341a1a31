"""What was tried on the way to the finite energy's defaults, on the validation split under PGD; failures included.

The first rows were attacked on 1,000 images, by PGD on the cross-entropy, too; the later ones by PGD on the margin
alone, on 2,000. "explored" and "by threat" in the file are trials of scripts that were not kept: one training each, in
bfloat16; the former at equal passes, attacked by PGD on the margin with 40 steps on 2,000 or 20 steps on all 5,000
images, the latter by 40 steps on 2,000 (the file says where fewer) and by APGD-CE and APGD-T on 300, 700 or 1,400. The
"rows" that begin with "finite" are of the rule as it was (one step, all of the noise kept and twice as much of it, a
part of the far ends drawn by their predicted rise); their settings are in the file.

    python studies/candidates.py NAME ...   # adds rows to results/candidates.json; without names: all

Short trainings on purpose: what helps in three or four epochs was then taken to more (studies/frontier.py).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from common import RESULTS, Row, clean_accuracy, pgd_survivors, rival_margin, train_row
from holomorph._utils.io import write_atomically
from holomorph.calculus.input_gradient import input_gradient
from holomorph.calculus.norms import dual_direction, random_in_ball
from holomorph.data import load
from holomorph.rules import NFGSM, PGD, Cost, Rule
from holomorph.rules.gradients import spend
from holomorph.threats import ThreatModel
from sampling import inclusion, systematic

THREAT = ThreatModel("inf", 0.1)


class Memory:
    """A number or a tensor for each training sample, found again by the sample's content."""

    def __init__(self) -> None:
        self.slots: dict[int, int] = {}

    def __call__(self, x: Tensor) -> Tensor:
        words = x.detach().flatten(1).contiguous().view(torch.int32).to(torch.int64)
        mixer = torch.randint(-(2**62), 2**62, (words.shape[1],), generator=torch.Generator().manual_seed(12345))
        keys = (words * mixer).sum(1).tolist()
        return torch.tensor([self.slots.setdefault(key, len(self.slots)) for key in keys])


@dataclass
class Carried(Rule):
    """Each sample's perturbation climbs one step a visit, with the backward pass that trains: it costs nothing."""

    name = "carried"

    threat: ThreatModel
    _: KW_ONLY
    path: bool = True  # the perturbation itself is carried; otherwise the direction only, from a fresh noisy point
    noise: float = 0.0
    step: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.memory, self.kept = Memory(), torch.zeros(0)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        eps, p = self.threat.radius, self.threat.p
        if len(self.kept) == 0:
            self.kept = torch.zeros(60_000, *x.shape[1:], dtype=torch.float16)
        known = len(self.memory.slots)
        slot = self.memory(x)
        moved = self.kept[slot].float()
        if self.path:
            start = random_in_ball(x, p, 1.0, self.generator)
            moved = torch.where((slot >= known).view(-1, *(1,) * (x.ndim - 1)), start, moved)
        noisy = x + random_in_ball(x, p, self.noise * eps, self.generator) if self.noise else x
        z = (noisy.clamp(*self.threat.box) + eps * moved).clamp(*self.threat.box).detach().requires_grad_()

        def climb(gradient: Tensor) -> None:
            s = dual_direction(gradient, p)
            self.kept[slot] = ((moved + self.step * s).clamp(-1, 1) if self.path else s).half()

        z.register_hook(climb)  # type: ignore[no-untyped-call]
        return self.risk(model(z), y).mean()

    @property
    def cost(self) -> Cost:
        return Cost(1, 1.05)


@dataclass
class CarriedStart(Rule):
    """One fresh step, from where the sample's last visit ended."""

    name = "carried-start"

    threat: ThreatModel

    def __post_init__(self) -> None:
        super().__post_init__()
        self.memory, self.kept = Memory(), torch.zeros(0)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        eps = self.threat.radius
        if len(self.kept) == 0:
            self.kept = torch.zeros(60_000, *x.shape[1:], dtype=torch.float16)
        known = len(self.memory.slots)
        slot = self.memory(x)
        new = (slot >= known).view(-1, *(1,) * (x.ndim - 1))
        start = torch.where(new, random_in_ball(x, self.threat.p, 1.0, self.generator), self.kept[slot].float())
        near = (x + eps * start).clamp(*self.threat.box).requires_grad_()
        gradient = input_gradient(self.risk(model(near), y), near)
        moved = ((near.detach() - x) / eps + dual_direction(gradient, self.threat.p)).clamp(-1, 1)
        self.kept[slot] = moved.half()
        return self.risk(model((x + eps * moved).clamp(*self.threat.box)), y).mean()

    @property
    def cost(self) -> Cost:
        return Cost(2, 1.5)


@dataclass
class Sketch(NFGSM):
    """N-FGSM's two points with other weights: the family that the finite energy came out of."""

    name = "sketch"

    near: float = 0.0  # share of the risk at the noisy point
    squared: float = 0.0  # of the rise, with the near end held fixed
    divergence: float = 0.0  # from the near end's probabilities, held fixed, to the far end's
    visited: float = 1.0  # share of the far ends, by the predicted slope
    chosen: float = 1.0  # share of the batch, by the loss at the sample's last visit

    def __post_init__(self) -> None:
        super().__post_init__()
        self.memory, self.last = Memory(), torch.ones(60_000)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        eps, count, ramp = self.threat.radius, len(x), min(1.0, self.progress / 0.5)
        divide: Tensor | int = count
        if self.chosen < 1:
            slot = self.memory(x)
            pi = inclusion(self.last[slot] + 0.1, self.chosen)
            seen = systematic(pi, self.generator)
            x, y, slot, divide = x[seen], y[seen], slot[seen], count * pi[seen]
        noisy = x + random_in_ball(x, self.threat.p, self.noise * eps, self.generator)
        noisy = noisy.clamp(*self.threat.box).requires_grad_()
        logits = model(noisy)
        here = self.risk(logits, y)
        gradient, risk = spend(here, noisy, model.parameters())
        end = (noisy.detach() + eps * dual_direction(gradient, self.threat.p)).clamp(*self.threat.box)
        here, logits = here.detach(), logits.detach()
        if self.visited < 1:
            rise = eps * gradient.flatten(1).abs().sum(1)
            slope = 1 - self.near + 2 * self.squared * rise.clamp(max=3.0)
            pi = inclusion(0.05 - slope * torch.expm1(-here - rise), self.visited)
            seen = systematic(pi, self.generator)
            end, y, here, logits, divide = end[seen], y[seen], here[seen], logits[seen], count * pi[seen]
        far = model(end)
        there = self.risk(far, y)
        energy = self.squared * (there - here).clamp_min(0).square()
        p = logits.softmax(1)
        energy = energy + self.divergence * (p * (p.clamp_min(1e-9).log() - far.log_softmax(1))).sum(1)
        if self.chosen < 1:
            self.last[slot] = 1 - (-there.detach()).exp()
        return self.near * risk + (((1 - self.near) * there + ramp * energy) / divide).sum()

    @property
    def cost(self) -> Cost:
        passes = self.chosen * (1 + self.visited)
        return Cost(passes, passes if self.near else passes - self.chosen / 2)


def sketch(epochs: int = 3, batch: int = 256, **settings: Any) -> Row:
    return Row(lambda: Sketch(THREAT, **settings), epochs=epochs, batch=batch)


ROWS: dict[str, Row] = {
    "N-FGSM, 3 epochs": Row(lambda: NFGSM(THREAT), epochs=3),
    "N-FGSM, 3 epochs, averaged weights .99": Row(lambda: NFGSM(THREAT), epochs=3, ema=0.99),
    "N-FGSM, 4 epochs": Row(lambda: NFGSM(THREAT), epochs=4),
    "N-FGSM, 6 epochs": Row(lambda: NFGSM(THREAT)),
    "PGD-10, 6 epochs": Row(lambda: PGD(THREAT)),
    "carried direction, 10 epochs": Row(lambda: Carried(THREAT, path=False, noise=2.0), epochs=10),
    "carried perturbation, 10 epochs": Row(lambda: Carried(THREAT), epochs=10),
    "held d^2 .5": sketch(squared=0.5),
    "near .3, held d^2 .5": sketch(near=0.3, squared=0.5),
    "near .3, held d^2 1.5": sketch(near=0.3, squared=1.5),
    "near .3, held d^2 3": sketch(near=0.3, squared=3.0),
    "near .3, divergence 1": sketch(near=0.3, divergence=1.0),
    "half of the batch by its last loss, 12 epochs": sketch(chosen=0.5, epochs=12, batch=512),
    "half of the batch by its last loss, near .3, held d^2 1, 6 epochs": sketch(
        chosen=0.5, near=0.3, squared=1.0, epochs=6, batch=512
    ),
    "half of the far ends, near .3, held d^2 1.5, 4 epochs": sketch(near=0.3, squared=1.5, visited=0.5, epochs=4),
    "half of the far ends, near .3, held d^2 3, 4 epochs": sketch(near=0.3, squared=3.0, visited=0.5, epochs=4),
    "half of the batch by its last loss, batch 256, 6 epochs": sketch(chosen=0.5, epochs=6),
    "N-FGSM, 3 epochs, batch 128": Row(lambda: NFGSM(THREAT), epochs=3, batch=128),
    **{f"N-FGSM, 3 epochs, lr {lr:g}": Row(lambda: NFGSM(THREAT), epochs=3, lr=lr) for lr in (4e-3, 8e-3, 16e-3)},
    "N-FGSM, 6 epochs, lr 0.004": Row(lambda: NFGSM(THREAT), lr=4e-3),
    "carried start, 6 epochs, lr 0.004": Row(lambda: CarriedStart(THREAT), lr=4e-3),
}


def table(known: dict[str, Any]) -> Iterator[str]:
    """As Markdown; accuracies in per cent."""
    yield "| candidate | CPU s | clean | margin, 1,000 | margin, 2,000 | cross-entropy, 1,000 |"
    yield "|---|---|---|---|---|---|"
    for name, found in known["rows"].items():
        shown = percents(found, "clean", f"margin40 {THREAT}", "of 2000", f"pgd40 {THREAT}")
        yield f"| {name} | {found['cpu_seconds']:.0f} | {shown} |"
    yield ""
    yield "| explored | passes | updates | clean | 40 steps, 2,000 | 20 steps, 5,000 |"
    yield "|---|---|---|---|---|---|"
    for found in known["explored"]:
        shown = percents(found, "clean", "margin40 of 2000", "margin20 of 5000")
        yield f"| {found['what']} | {found['passes_a_sample']:.0f} | {found['updates']:,} | {shown} |"
    yield ""
    yield "| threat | tried | epochs | passes | clean | margin | APGD, 300 | 700 | 1,400 |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for found in known["by threat"]:
        shown = percents(found, "clean", "margin40", "apgd of 300", "apgd of 700", "apgd of 1400")
        yield f"| {found['threat']} | {found['what']} | {found['epochs']} | {found['passes_a_sample']:.0f} | {shown} |"


def percents(found: dict[str, Any], *columns: str) -> str:
    return " | ".join(f"{100 * found[key]:.1f}" if key in found else "" for key in columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--table", action="store_true", help="print what is known; train nothing")
    wanted, path = parser.parse_args(), RESULTS / "candidates.json"
    if wanted.table:
        print("\n".join(table(json.loads(path.read_text()))))
        return
    data = load("fashion-mnist")
    x, y = (part[:2000] for part in data.part("val"))
    for name in wanted.names or ROWS:
        known: dict[str, Any] = json.loads(path.read_text())
        if name in known["rows"]:
            continue
        begin = time.process_time()
        model, facts = train_row(name, ROWS[name], data)
        row = {"cpu_seconds": round(time.process_time() - begin), "clean": clean_accuracy(model, *data.part("val"))}
        alive = pgd_survivors(model, x, y, THREAT, restarts=1, objective=rival_margin).float()
        row |= {f"margin40 {THREAT}": float(alive[:1000].mean()), "of 2000": float(alive.mean())}
        known["rows"][name] = row | {"rule": facts["rule"], "epochs": facts["epochs"], "lr": facts["lr"]}
        write_atomically(path, (json.dumps(known, indent=1) + "\n").encode())
        print(name, row, flush=True)


if __name__ == "__main__":
    main()
