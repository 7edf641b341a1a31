"""A residual network with BatchNorm and Dropout, as model libraries have them: nothing to prepare.

Further points of a rule are normalised by the statistics of the first, with the same dropout masks; running
statistics are learned once a step.
"""

import torch
from torch import Tensor, nn

import holomorph as hm


class Block(nn.Module):
    """Two convolutions with BatchNorm and a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add the body to its input."""
        return nn.functional.silu(x + self.body(x))


def network() -> nn.Module:
    """A small network of the usual shape."""
    stem = [nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.SiLU()]
    head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.1), nn.Linear(64, 10)]
    return nn.Sequential(*stem, Block(16), Block(16), *head)


def main() -> float:
    torch.manual_seed(0)
    digits = hm.data.load_data("digits")
    threat = hm.ThreatModel("inf", 0.1)
    model = network()
    hm.fit(model, digits, hm.FiniteEnergy(threat), epochs=6, batch_size=64, lr=5e-3)
    model.eval()
    moved = hm.PGD(threat).perturbed(model, digits.x_test, digits.y_test)
    return (model(moved).argmax(1) == digits.y_test).double().mean().item()


if __name__ == "__main__":
    print(f"right under PGD: {main():.3f}")
