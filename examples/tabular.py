"""A table of measurements: scale the columns to a box, state the threat in units of that box."""

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler
from torch import nn

import holomorph as hm


def main() -> tuple[float, float]:
    torch.manual_seed(0)
    x, y = load_breast_cancer(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, stratify=y, random_state=0)
    scaler = MinMaxScaler(clip=True).fit(x_train)  # the box is [0, 1]; eps 0.05 is 5 % of each column's range
    inputs, tests = (torch.as_tensor(scaler.transform(part), dtype=torch.float32) for part in (x_train, x_test))
    labels, answers = torch.as_tensor(y_train), torch.as_tensor(y_test)
    threat = hm.ThreatModel("inf", 0.05)

    model = nn.Sequential(nn.Linear(30, 64), nn.GELU(), nn.Linear(64, 2))
    hm.fit(model, (inputs, labels), hm.Dirichlet(threat), epochs=30, batch_size=64, lr=5e-3)
    moved = hm.PGD(threat).perturbed(model, tests, answers)
    clean, robust = ((model(z).argmax(1) == answers).double().mean().item() for z in (tests, moved))
    return clean, robust


if __name__ == "__main__":
    print("right on clean samples and under PGD: {:.3f}, {:.3f}".format(*main()))
