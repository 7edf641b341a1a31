"""Two processes on the CPU (gloo), through Fabric: the same call to ``fit``, on a launched fabric.

Run it as ``python examples/two_processes.py``: Fabric starts the second process itself.
"""

import torch
from lightning_fabric import Fabric
from torch import nn

import holomorph as hm

THREAT = hm.ThreatModel("inf", 0.1)


def main() -> float:
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    torch.manual_seed(0)  # the same start in both processes
    digits = hm.data.load_data("digits")
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 10))
    record = hm.fit(model, digits, hm.FiniteEnergy(THREAT), epochs=3, batch_size=128, lr=1e-2, fabric=fabric)
    moved = hm.PGD(THREAT).perturbed(model, digits.x_test, digits.y_test)
    robust = (model(moved).argmax(1) == digits.y_test).double().mean().item()
    if fabric.is_global_zero:
        print(f"{record.processes} processes; right under PGD: {robust:.3f}")
    return robust


if __name__ == "__main__":
    main()
