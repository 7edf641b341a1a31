"""The attacks of AutoAttack, by the package's own objects, each on the survivors of the ones before."""

import torch
from pyautoattack import AutoAttack
from torch import Tensor, nn

#: For choosing: the targeted attack tries the three strongest of the nine other classes, at a third of the time.
WHITE = ("apgd-ce", "apgd-t3")
ALL = ("apgd-ce", "apgd-t", "fab-t", "square")


def survivors(
    model: nn.Module, x: Tensor, y: Tensor, eps: float, attacks: tuple[str, ...] = ALL
) -> tuple[dict[str, float], Tensor]:
    """Accuracy after each attack in turn, ``clean`` first, and which samples are left."""
    model.eval()
    with torch.no_grad():
        alive = (model(x).argmax(1) == y).nonzero().squeeze(1)
    found = {"clean": len(alive) / len(y)}
    for name in attacks:
        run = _attack(model, eps, name)
        with torch.no_grad():
            kept = [
                part[model(run.perturb(x[part], y[part])).argmax(1) == y[part]]
                for part in alive.split(250)
                if len(part)
            ]
        alive = torch.cat(kept) if kept else alive
        found[name] = len(alive) / len(y)
    left = torch.zeros(len(y), dtype=torch.bool)
    left[alive] = True
    return found, left


def _attack(model: nn.Module, eps: float, name: str) -> object:
    suite = AutoAttack(model, norm="Linf", eps=eps, seed=0, device="cpu")
    if name == "square":
        return suite.square
    if name == "fab-t":
        suite.fab.targeted = True
        return suite.fab
    if name.startswith("apgd-t"):
        suite.apgd_targeted.n_target_classes = int(name.removeprefix("apgd-t") or 9)
        return suite.apgd_targeted
    suite.apgd.loss = "ce"
    return suite.apgd
