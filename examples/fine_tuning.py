"""Fine-tuning: weights from a safetensors file, a few epochs with a rule, weights back to a file."""

import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

import holomorph as hm


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 10))


def main() -> tuple[float, float]:
    torch.manual_seed(0)
    digits = hm.data.load_data("digits")
    threat = hm.ThreatModel("inf", 0.1)
    folder = Path(tempfile.mkdtemp())
    plain = network()
    hm.fit(plain, digits, hm.Plain(), epochs=10, batch_size=64, lr=5e-3)
    save_file(plain.state_dict(), folder / "plain.safetensors")  # weights as anyone may hand them to you

    model = network()
    model.load_state_dict(load_file(folder / "plain.safetensors"))
    before = robust(model, digits, threat)
    hm.fit(model, digits, hm.FiniteEnergy(threat), epochs=6, batch_size=64, lr=2e-3, out=folder / "run")
    model.load_state_dict(load_file(folder / "run" / "model.safetensors"))
    return before, robust(model, digits, threat)


def robust(model: nn.Module, data: hm.data.Splits, threat: hm.ThreatModel) -> float:
    moved = hm.PGD(threat).perturbed(model, data.x_test, data.y_test)
    return (model(moved).argmax(1) == data.y_test).double().mean().item()


if __name__ == "__main__":
    print("right under PGD before and after: {:.3f}, {:.3f}".format(*main()))
