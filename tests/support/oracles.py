"""Dense and independent ways to compute what the calculus computes cleverly: slow, plain, never shipped."""

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel


@sdpa_kernel(SDPBackend.MATH)  # the fused form has no second derivative
def dense_jacobian(f, x: Tensor) -> Tensor:
    """(batch, outputs, *x.shape[1:]), one sample and one output at a time."""
    rows = []
    for sample in x.split(1):
        rows.append(torch.autograd.functional.jacobian(lambda t: f(t).reshape(-1), sample)[:, 0])
    return torch.stack(rows)


@sdpa_kernel(SDPBackend.MATH)
def dense_hessian(f, x: Tensor) -> Tensor:
    """(batch, outputs, n, n), one sample and one output at a time."""
    n = x[0].numel()
    found = []
    for sample in x.split(1):
        outputs = f(sample).numel()
        found.append(
            torch.stack(
                [
                    torch.autograd.functional.hessian(lambda t, k=k: f(t).reshape(-1)[k], sample).reshape(n, n)
                    for k in range(outputs)
                ]
            )
        )
    return torch.stack(found)


def central_jacobian(f, x: Tensor, step: float = 1e-5) -> Tensor:
    """(batch, outputs, *x.shape[1:]) by central differences: no automatic differentiation at all."""
    columns = []
    for j in range(x[0].numel()):
        e = torch.zeros_like(x[0].flatten())
        e[j] = step
        e = e.reshape(x[0].shape)
        columns.append((f(x + e) - f(x - e)).reshape(len(x), -1) / (2 * step))
    return torch.stack(columns, -1).reshape(len(x), -1, *x.shape[1:])


class MixedNetwork(nn.Module):
    """Convolution, GroupNorm, BatchNorm, residual sums, attention, LayerNorm, pooling: every kind of layer, smooth."""

    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.group = nn.GroupNorm(2, 4)
        self.skip = nn.Conv2d(4, 4, 1)
        self.batch = nn.BatchNorm2d(4)
        self.layer = nn.LayerNorm(4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = nn.functional.silu(self.group(self.conv(x)))
        h = self.batch(h + torch.tanh(self.skip(h)))
        tokens = h.flatten(2).transpose(1, 2)
        unit = self.layer(tokens)
        tokens = tokens + self.attention(unit, unit, unit, need_weights=False)[0]
        tokens += 0.1 * self.drop(tokens)
        pooled = nn.functional.avg_pool1d(tokens.transpose(1, 2), 2).mean(2)
        both = torch.cat([pooled, nn.functional.softplus(pooled) / (1 + pooled * pooled)], 1)
        return self.head(nn.functional.gelu(both.view(x.shape[0], -1)))


def smooth_mlp(inputs: int = 4, outputs: int = 3, width: int = 6, seed: int = 0) -> nn.Sequential:
    """A small tanh network in float64, with biases away from zero."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.GELU())
        model.append(nn.Linear(width, outputs))
    return model.double()


def mixed_network(seed: int = 0) -> MixedNetwork:
    """The mixed network in float64 and evaluation mode, with BatchNorm statistics that are not trivial."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MixedNetwork().double()
        model.batch.running_mean.normal_()
        model.batch.running_var.uniform_(0.5, 2.0)
        for norm in (model.group, model.batch, model.layer):
            norm.weight.data.normal_(1.0, 0.3)
            norm.bias.data.normal_(0.0, 0.3)
    return model.eval()
