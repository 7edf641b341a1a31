import pytest
import torch
from torch import nn


@pytest.fixture
def task():
    """Two classes in the unit square, and a network small enough to train at once."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(200, 2, generator=generator)
    return x, (x[:, 0] > x[:, 1]).long()


@pytest.fixture
def make_model():
    def make(seed=0, dropout=0.0):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 2))

    return make
