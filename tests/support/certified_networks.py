"""Random networks and the attack that looks for a violated radius: shared by the quick test and the large campaign."""

import torch
from torch import nn

from holomorph.attacks.pgd import Pgd
from holomorph.certification import certify
from holomorph.contract.classifier import Classifier
from holomorph.nn.classifiers import CNN, Normalise, Sine
from holomorph.threats import ThreatModel

NORMS = ("inf", "2", "1")
EPS = {"inf": 0.05, "2": 0.25, "1": 0.5}
CLASSES = 4


class Residual(nn.Module):
    """Pre-activation blocks with BatchNorm in evaluation mode, a shortcut by convolution, and average pooling."""

    def __init__(self, channels=6):
        super().__init__()
        self.norm = Normalise([0.4, 0.6], [0.3, 0.2])
        self.first = nn.Conv2d(2, channels, 3, padding=1)
        self.scale = nn.BatchNorm2d(channels)
        self.act = nn.SiLU()
        self.inner = nn.Conv2d(channels, channels, 3, padding="same", bias=False)
        self.shortcut = nn.Conv2d(2, channels, 1)
        self.pool = nn.AvgPool2d(2)
        self.last = nn.Linear(channels, CLASSES)

    def forward(self, x):
        x = self.norm(x)
        z = self.inner(self.act(self.scale(self.first(x)))) + self.shortcut(x)
        z = self.pool(torch.tanh(z))
        return 3 * self.last(z.mean((2, 3))) - 0.5


def models(seed):
    """Twenty networks of every kind of layer and activation, each with the shape of its inputs; weights are random."""
    kinds = [nn.GELU(), nn.SiLU(), nn.Tanh(), nn.Softplus(beta=5.0), nn.ReLU(), nn.Sigmoid(), Sine()]
    for number, act in enumerate(kinds):
        torch.manual_seed(seed + number)
        wide = nn.Sequential(nn.Flatten(), nn.Linear(6, 24), act, nn.Linear(24, 24), act, nn.Linear(24, CLASSES))
        yield f"two layers, {type(act).__name__}", wide, (6,)
        yield f"batch norm, {type(act).__name__}", settled(normed(act), (6,)), (6,)
    for number, activation in enumerate(("gelu", "silu", "tanh", "softplus")):
        torch.manual_seed(seed + 100 + number)
        yield f"cnn, {activation}", CNN((1, 6, 6), CLASSES, width=4, activation=activation), (1, 6, 6)
    for number in range(2):
        torch.manual_seed(seed + 200 + number)
        yield f"residual {number}", settled(Residual(), (2, 6, 6)), (2, 6, 6)


def normed(act):
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), act, nn.Dropout(0.5), nn.Linear(16, CLASSES))


def settled(model, shape):
    """BatchNorm with statistics of its own."""
    for _ in range(20):
        model(torch.rand(64, *shape))
    return model.eval()


def sharpen(model, x):
    """Larger weights and balanced outputs, so that the boundary comes near and enclosures get wide."""
    for part in model.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            part.weight.data *= 1.8
    last = [part for part in model.modules() if isinstance(part, nn.Linear)][-1]
    last.bias.data -= model.eval()(x).detach().mean(0)
    return model


def violations(model, x, norm, *, method="auto", steps=60, restarts=2):
    """Samples, those with a positive radius, and how many of these an attack at .99 of the radius breaks."""
    threat = ThreatModel(norm, EPS[norm])
    y = Classifier(model).predictions(x)
    record = certify(model, x, y, threat=threat, method=method, steps=3)
    radii = torch.tensor(record.threats[0].radii, dtype=torch.float64)
    broken = torch.zeros(len(x), dtype=torch.bool)
    for radius in radii[radii > 0].unique().tolist():  # three radii a sample leave few different ones
        rows = (radii == radius).nonzero().flatten()
        inside = ThreatModel(norm, 0.99 * radius)
        for loss in ("margin", "cross-entropy"):
            found = Pgd(inside, loss=loss, steps=steps, restarts=restarts)(Classifier(model), x[rows], y[rows], 0)
            moved = (found - x[rows]).flatten(1).double()
            near = torch.linalg.vector_norm(moved, ord=threat.p, dim=1) <= radius
            broken[rows] |= near & (Classifier(model).predictions(found) != y[rows])
    return len(x), int((radii > 0).sum()), int(broken.sum()), record
