"""Networks as steps: what is read is what the network computes, and what cannot be bounded is refused by name."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from certified_networks import models
from holomorph.enclosures import Program
from holomorph.errors import ModelError


@pytest.mark.parametrize("case", list(models(0)), ids=lambda case: case[0])
def test_steps_compute_what_the_network_computes(case):
    _, model, shape = case
    model.double().eval()
    x = torch.rand(4, *shape, dtype=torch.float64)
    assert torch.allclose(Program.trace(model).run(x), model(x), rtol=1e-12, atol=1e-12)


class Functions(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(1, 3, 3), nn.Linear(12, 2)
        self.shift = nn.Parameter(torch.tensor(0.3))

    def forward(self, x):
        z = F.softplus(self.conv((x - 0.5) / 0.25), beta=2.0) + self.shift
        z = F.avg_pool2d(F.gelu(z), 2) * 2.0
        z = torch.tanh(z) + 0.1 * z.sigmoid()
        z = F.silu(1 - z.view(z.size(0), -1)).reshape(z.shape[0], 12)
        return self.last(torch.flatten(F.relu(z).contiguous(), 1))


def test_layers_written_as_functions_are_read():
    model, x = Functions().double(), torch.rand(3, 1, 6, 6, dtype=torch.float64)
    assert torch.allclose(Program.trace(model).run(x), model(x), rtol=1e-12)


class Tripled(nn.Linear):
    def forward(self, x):
        return 3 * super().forward(x)


class Branch(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def lone(function):
    class Lone(nn.Module):
        def forward(self, x):
            return function(x)

    return Lone()


REFUSED = {
    r"layer 1 \(MaxPool2d\) cannot be bounded": nn.Sequential(nn.Conv2d(1, 1, 3), nn.MaxPool2d(2), nn.Flatten()),
    r"layer 0 \(Tripled\) cannot be bounded: its forward pass is another": nn.Sequential(Tripled(2, 2)),
    r"layer 1 \(BatchNorm1d\) .* no running statistics": nn.Sequential(
        nn.Linear(2, 3), nn.BatchNorm1d(3, track_running_stats=False)
    ),
    r"layer 0 \(Conv2d\) .* padding is 'reflect'": nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")),
    r"layer 0 \(Conv2d\) .* differs from side to side": nn.Sequential(nn.Conv2d(1, 1, 2, padding="same")),
    r"layer 0 \(GELU\) .* approximated by tanh": nn.Sequential(nn.GELU(approximate="tanh")),
    r"layer 0 \(Flatten\) .* takes in the batch": nn.Sequential(nn.Flatten(0)),
    r"operation 'exp' cannot be bounded": lone(torch.exp),
    r"operation 'mul' .* one value and one number": lone(lambda x: x * x),
    r"operation 'truediv' .* number is divided": lone(lambda x: 1 / x),
    r"operation 'mean' .* takes in the batch": lone(lambda x: x.mean()),
    r"operation 'view' .* shape is not \(batch, numbers\)": lone(lambda x: x.view(-1, 4)),
    r"steps cannot be read.*without branches": Branch(),
    r"one tensor of logits": lone(lambda x: (x, x)),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_cannot_be_bounded_is_refused_by_name(sentence):
    with pytest.raises(ModelError, match=sentence):
        Program.trace(REFUSED[sentence])
