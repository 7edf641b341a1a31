"""How much of the worst case inside the threat do the rules train on? A share of what 100 steps find.

A rule's last forward pass is at the points that it trains on. The rise of the loss there over the samples', in means,
is divided by that of a projected ascent from the samples with 100 steps of a twentieth of the radius.

    python -m studies.energy.reach "PGD-10, 6 epochs, seed 0" "PGD-10, l_2, 6 epochs, seed 0"   # trained by attacks.py
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from holomorph._utils.io import write_atomically
from holomorph._utils.versions import versions
from holomorph.calculus.ascent import ascend
from holomorph.contract.guest import under_attack
from holomorph.data import load
from holomorph.rules import NFGSM, PGD, FiniteEnergy, Rule
from holomorph.threats import ThreatModel
from holomorph.training.checkpoint import load_tensors
from studies.common import RESULTS, cross_entropy, folder, network
from studies.energy.trainings import FINALISTS

PATH = RESULTS / "reach.json"


def rules(threat: ThreatModel) -> Iterator[tuple[str, Rule, float]]:
    """Each with the share of training at which it is looked at."""
    yield "N-FGSM k=1", NFGSM(threat, noise=1.0), 1.0
    yield "N-FGSM k=2", NFGSM(threat), 1.0
    yield "finite, single step", FiniteEnergy(threat), 0.3
    for segments in (2, 3, 5):
        yield f"finite, {segments} segments", FiniteEnergy(threat, segments=segments), 1.0
    for steps in (2, 3, 10):
        yield f"PGD-{steps}", PGD(threat, steps=steps), 1.0


@contextmanager
def watched(model: nn.Module) -> Iterator[list[Tensor]]:
    """The inputs of the model's calls."""
    seen: list[Tensor] = []
    handle = model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    try:
        yield seen
    finally:
        handle.remove()


def reach(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel) -> dict[str, float]:
    """Of each rule, the share of the reference's rise; and that rise."""

    def rise(z: Tensor) -> float:
        with torch.no_grad():
            return float((cross_entropy(model(z), y) - cross_entropy(model(x), y)).mean())

    worst = ascend(lambda z: cross_entropy(model(z), y), x, x, threat, steps=100, step=threat.radius / 20)
    found = {"rise of 100 steps": rise(worst)}
    for name, rule, progress in rules(threat):
        rule.progress = progress
        with watched(model) as seen:
            rule(model, x, y)
        found[name] = rise(seen[-1]) / found["rise of 100 steps"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--n", type=int, default=500)
    wanted = parser.parse_args()
    x, y = (part[: wanted.n] for part in load("fashion-mnist").part("val"))
    known = json.loads(PATH.read_text()) if PATH.exists() else {"rows": {}}
    for name in wanted.names:
        row = FINALISTS[name]
        model, threat = network(row.seed, flatten_last=row.flatten_last), row.rule().defends_against
        assert threat is not None
        model.load_state_dict(load_tensors(folder(name, row) / "model.safetensors"))
        with under_attack(model):
            known["rows"][name] = {"threat": str(threat), "samples": wanted.n} | reach(model, x, y, threat)
        shown = {key: round(value, 3) for key, value in known["rows"][name].items() if isinstance(value, float)}
        print(name, shown, flush=True)
    known |= {"command": "python -m studies.energy.reach NAME ...", "versions": versions("numpy")}
    write_atomically(PATH, (json.dumps(known, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
