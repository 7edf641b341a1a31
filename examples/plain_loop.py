"""One line changes in a PyTorch loop of your own: the loss comes from a rule."""

import torch
from torch import nn

import holomorph as hm


def main() -> float:
    torch.manual_seed(0)
    digits = hm.data.load_data("digits")
    threat = hm.ThreatModel("inf", 0.1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    rule = hm.FiniteEnergy(threat)
    for _ in range(15):
        for rows in torch.randperm(len(digits.x_train)).split(64):
            loss = rule(model, digits.x_train[rows], digits.y_train[rows])  # was: cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    moved = hm.PGD(threat).perturbed(model, digits.x_test, digits.y_test)
    return (model(moved).argmax(1) == digits.y_test).double().mean().item()


if __name__ == "__main__":
    print(f"right under PGD: {main():.3f}")
