"""Steps of random networks: each takes and gives (batch, 4, 6), so that any may follow any."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

D = torch.float64
Step = Callable[[Tensor], Tensor]


class On(nn.Module):
    """A module between two changes of shape."""

    def __init__(self, inner: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.inner, self.shape = inner, shape

    def forward(self, h: Tensor) -> Tensor:
        out = self.inner(h.reshape(len(h), *self.shape))
        return (out[0] if isinstance(out, tuple) else out).reshape(len(h), 4, 6)


class Attention(nn.Module):
    def __init__(self, weights: bool) -> None:
        super().__init__()
        self.inner, self.weights = nn.MultiheadAttention(6, 2, batch_first=True), weights

    def forward(self, h: Tensor) -> Tensor:
        return self.inner(h, h, h, need_weights=self.weights)[0]


class Cell(nn.Module):
    """A recurrent cell over the six places."""

    def __init__(self, cell: nn.RNNCellBase) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, h: Tensor) -> Tensor:
        state = self.cell(h[:, :, 0])
        outputs = [state[0] if isinstance(state, tuple) else state]
        for place in range(1, 6):
            state = self.cell(h[:, :, place], state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(outputs, 2)


class First(nn.Module):
    def forward(self, several: tuple[Tensor, ...]) -> Tensor:
        return several[0]


class Twice(nn.Module):
    """A module of two arguments, between h and a function of h."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, h: Tensor) -> Tensor:
        out = self.inner(h, h.sin())
        return out if out.shape == h.shape else h * out[..., None]


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(6, 6), nn.Tanh())

    def forward(self, h: Tensor) -> Tensor:
        return checkpoint(self.inner, h, use_reentrant=False)


def in_place(h: Tensor) -> Tensor:
    h = h.contiguous() * 1
    h[:, 0].mul_(1.5)
    h.add_(h.tanh())
    h.view(len(h), -1)[:, ::2].neg_()
    h[:, 3, :2] = 0.25
    h[:, 2] = h[:, 0].clone() * h[:, 1].clone()
    h.masked_fill_(h > 9.0, 9.0)
    return h + F.relu((h * 1).view(len(h), 6, 4), inplace=True).view(len(h), 4, 6)


def views(h: Tensor) -> Tensor:
    h = h.clone()
    rows = h.transpose(1, 2).unflatten(1, (2, 3))
    rows[:, 0].mul_(rows[:, 1].detach().sigmoid())
    rows[:, 1] += rows[:, 0]
    h[:, :, :3].sub_(h[:, :, :3].mean(2, keepdim=True))
    return h.squeeze(1).view_as(h)


def casts(h: Tensor) -> Tensor:
    whole = h.type_as(torch.zeros(1, dtype=torch.int64)) + h.to(dtype=torch.int32).to(D)
    return h * (1 + 0.1 * whole) + (h > 0).to(h.dtype) + h.clone().gt_(0.0)


def scattered(h: Tensor) -> Tensor:
    index = torch.tensor([5, 0, 0, 3, 2, 1]).expand(len(h), 4, 6)
    return torch.zeros_like(h).scatter_add(2, index, h) + h.gather(2, index) - h.take_along_dim(index, 2)


def sorted_parts(h: Tensor) -> Tensor:
    return h.sort(2).values + F.pad(h.topk(3, 2).values, (0, 3)) + h.amax(2, keepdim=True) - h.median(2, True).values


def cumulative(h: Tensor) -> Tensor:
    return h.cumsum(2) / 3 + (h / 3).tanh().cumprod(1) + h.logcumsumexp(2) + h.cummax(1).values


def stopped(h: Tensor) -> Tensor:
    with torch.no_grad():
        scale = h.abs().amax((1, 2), keepdim=True)
    return h * scale.sqrt() + h.detach().cos()


def resampled(h: Tensor) -> Tensor:
    image = h.reshape(len(h), 4, 2, 3)
    wide = F.interpolate(image, scale_factor=2, mode="bilinear") + F.interpolate(image, scale_factor=2, mode="bicubic")
    return F.avg_pool2d(wide, 2).reshape(len(h), 4, 6) + F.interpolate(h, 6, mode="linear")


def unfolded(h: Tensor) -> Tensor:
    columns = F.unfold(h.reshape(len(h), 4, 2, 3), 2, padding=1)
    return F.fold(columns.sin(), (2, 3), 2, padding=1).reshape(len(h), 4, 6) / 4


def matrices(h: Tensor) -> Tensor:
    square = h[:, :, :4] / 4 + 2 * torch.eye(4, dtype=h.dtype)
    solved = torch.linalg.solve(square, h)
    return solved * torch.linalg.det(square)[:, None, None] / 16 + torch.linalg.slogdet(square)[1][:, None, None]


def distances(h: Tensor) -> Tensor:
    near = torch.cdist(h, h.cos() + 2) + torch.cdist(h, h.sin() - 2, p=1.5)
    return (
        F.pad(near, (1, 1))
        + F.pairwise_distance(h, h.flip(1) + 3)[..., None]
        + torch.cosine_similarity(h, h + 1, 2)[..., None]
    )


def decomposed(h: Tensor) -> Tensor:
    square = h[:, :, :4].tanh()
    positive = square @ square.mT + torch.eye(4, dtype=h.dtype)
    factor = torch.linalg.cholesky(positive) + torch.linalg.inv(positive) + torch.linalg.matrix_exp(square / 4)
    return F.pad(factor, (1, 1)) + torch.linalg.eigvalsh(positive + torch.arange(4.0).diag())[..., None]


def spectrum(h: Tensor) -> Tensor:
    return torch.fft.irfft(torch.fft.rfft(h) * torch.arange(4.0), 6)


def written_by_index(h: Tensor) -> Tensor:
    index = torch.tensor([2, 0])
    h = h.index_add(1, index, h[:, :2].sin()).index_copy(1, index, h[:, 2:])
    scattered = [row.clamp_min(0).masked_scatter(row > 0.5, row.cos()) for row in h.unbind()]
    return h + torch.where(h > 0, h, 0.0) + torch.stack(scattered) + h.diff(dim=2, prepend=h[..., :1]).tril()


def reduced(h: Tensor) -> Tensor:
    index = torch.tensor([0, 0, 1, 3, 3, 5]).expand(len(h), 4, 6)
    return (
        torch.zeros_like(h).scatter_reduce(2, index, h, "amax")
        + h.kthvalue(2, 2, True)[0]
        + h.cummin(2)[0]
        + h.quantile(0.3, 2, keepdim=True)
        + h.aminmax(dim=1, keepdim=True)[1]
        - h.nan_to_num().fmod(0.7)
    )


def sampled(h: Tensor) -> Tensor:
    grid = F.affine_grid(torch.eye(2, 3, dtype=h.dtype).expand(len(h), 2, 3) * 0.7, [len(h), 4, 2, 3], False)
    grid = grid + h.tanh().reshape(len(h), 2, 3, 4)[..., :2] / 9
    return F.grid_sample(h.reshape(len(h), 4, 2, 3), grid, align_corners=False).reshape(len(h), 4, 6)


def special_functions(h: Tensor) -> Tensor:
    p = h.square() + 1
    some = torch.lgamma(p) + torch.digamma(p) + torch.erfinv(h.tanh() / 2) + torch.i0(h / 4) + torch.sinc(h / 3)
    return (
        some + torch.atan2(h, p) + torch.hypot(h, p) + torch.xlogy(p, p) + torch.logaddexp(h, p) + torch.lerp(h, p, 0.3)
    )


def slope_inside(h: Tensor) -> Tensor:
    """A network that differentiates on its own, as energy models do."""
    return torch.func.grad(lambda t: (t.sin() * t).sum())(h)


def masked_attention(h: Tensor) -> Tensor:
    mask = torch.ones(4, 4, dtype=torch.bool).tril(1)
    return F.scaled_dot_product_attention(h, h, h, mask) + F.scaled_dot_product_attention(h, h.sin(), h, is_causal=True)


def lengths(h: Tensor) -> Tensor:
    return (
        h.flatten(0, 1).renorm(2, 0, 1.5).view_as(h)
        + torch.linalg.vector_norm(h, 3, 2, True)
        + torch.linalg.matrix_norm(h)[:, None, None]
    )


def padded(h: Tensor) -> Tensor:
    modes = [F.pad(h, (2, 2), mode=mode) for mode in ("reflect", "replicate", "circular")]
    return sum(modes)[:, :, 1:7] + F.pad(h, (1, -1), value=0.5)


FUNCTIONS: dict[str, Step] = {
    "in place": in_place,
    "views": views,
    "casts": casts,
    "scatter": scattered,
    "sort": sorted_parts,
    "cumulative": cumulative,
    "no_grad": stopped,
    "interpolate": resampled,
    "unfold": unfolded,
    "matrices": matrices,
    "pad": padded,
    "cdist": distances,
    "cholesky": decomposed,
    "fft": spectrum,
    "index_add": written_by_index,
    "scatter_reduce": reduced,
    "grid_sample": sampled,
    "special functions": special_functions,
    "inner gradient": slope_inside,
    "masked attention": masked_attention,
    "matrix_norm": lengths,
    "einsum": lambda h: torch.einsum("bij,bkj,bkl->bil", h, h, h) / 10,
    "softmax": lambda h: h.softmax(2) + h.log_softmax(1) / 4 + F.softmax(h, 1, dtype=D),
    "norms": lambda h: (
        F.normalize(h, dim=2) + h.norm(dim=1, keepdim=True) + h.std(2, keepdim=True) + h.var((1, 2), keepdim=True)
    ),
    "products": lambda h: h.prod(2, keepdim=True) / 5 + h * h.roll(1, 2) - torch.addcmul(h, h, h, value=0.1),
    "maximum pooling": lambda h: F.max_pool1d(h, 3, 1, 1) + F.avg_pool1d(h, 3, 1, 1) + F.lp_pool1d(h.exp(), 2, 1),
    "where": lambda h: torch.where(h > 0, h.sin(), h.square() / 4) + h.clamp(-1, 1) + torch.maximum(h, h.flip(2)),
    "indices": lambda h: h[:, [2, 0, 1, 3]][..., [5, 4, 3, 2, 1, 0]] + h.index_select(2, torch.arange(6)) * h[:, :1],
    "logsumexp": lambda h: h + h.logsumexp((1, 2), keepdim=True),
    "zeros": lambda h: h * torch.tensor([1.0, 0.0, 1.0, 0.0])[:, None],
    "powers": lambda h: (h.square() + 1) ** (h / 2).tanh(),
    "glu": lambda h: F.glu(torch.cat([h, h.cos()], 1), 1),
}
ACTIVATIONS = [
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "celu",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "softsign",
    "tanhshrink",
    "hardswish",
    "hardtanh",
    "logsigmoid",
    "relu6",
    "softshrink",
    "sigmoid",
    "hardsigmoid",
    "hardshrink",
    "tanh",
]
#: Fresh modules, so that each network has parameters of its own.
MODULES: dict[str, Callable[[], nn.Module]] = {
    "conv1d": lambda: nn.Conv1d(4, 4, 3, padding=1),
    "grouped conv1d": lambda: nn.Conv1d(4, 4, 3, padding=2, dilation=2, groups=2),
    "conv_transpose1d": lambda: nn.ConvTranspose1d(4, 4, 3, padding=1),
    "conv2d": lambda: On(nn.Conv2d(4, 4, 3, padding=1), (4, 2, 3)),
    "conv_transpose2d": lambda: On(nn.ConvTranspose2d(4, 4, 3, padding=1), (4, 2, 3)),
    "conv3d": lambda: On(nn.Conv3d(2, 2, 3, padding=1), (2, 2, 2, 3)),
    "conv_transpose3d": lambda: On(nn.ConvTranspose3d(2, 2, 3, padding=1), (2, 2, 2, 3)),
    "layer_norm": lambda: nn.LayerNorm(6),
    "group_norm": lambda: nn.GroupNorm(2, 4),
    "instance_norm": lambda: nn.InstanceNorm1d(4, affine=True),
    "tracked instance_norm": lambda: nn.InstanceNorm1d(4, affine=True, track_running_stats=True).eval(),
    "rms_norm": lambda: nn.RMSNorm(6),
    "batch_norm": lambda: nn.BatchNorm1d(4).eval(),
    "local_response_norm": lambda: nn.LocalResponseNorm(2),
    "attention": lambda: Attention(False),
    "attention with weights": lambda: Attention(True),
    "encoder": lambda: nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True, activation="gelu"),
    "weight_norm": lambda: parametrizations.weight_norm(nn.Linear(6, 6)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(6, 6), orthogonal_map="cayley"),
    "spectral_norm": lambda: parametrizations.spectral_norm(nn.Linear(6, 6)).eval(),
    "bilinear": lambda: Twice(nn.Bilinear(6, 6, 6)),
    "fused lstm": lambda: nn.Sequential(nn.LSTM(6, 6, batch_first=True), First()),
    "fused gru": lambda: nn.Sequential(nn.GRU(6, 3, batch_first=True, bidirectional=True), First()),
    "fused rnn": lambda: nn.Sequential(nn.RNN(6, 6, 2, batch_first=True), First()),
    "decoder": lambda: Twice(nn.TransformerDecoderLayer(6, 2, 8, dropout=0.0, batch_first=True)),
    "adaptive pooling": lambda: nn.Sequential(nn.AdaptiveMaxPool1d(3), nn.Upsample(6), nn.AdaptiveAvgPool1d(6)),
    "cosine": lambda: Twice(nn.CosineSimilarity(2)),
    "prelu": lambda: nn.PReLU(4),
    "rnn": lambda: Cell(nn.RNNCell(4, 4)),
    "lstm": lambda: Cell(nn.LSTMCell(4, 4)),
    "gru": lambda: Cell(nn.GRUCell(4, 4)),
    "checkpoint": Checkpointed,
    "pixel_shuffle": lambda: On(nn.Sequential(nn.PixelShuffle(2), nn.PixelUnshuffle(2), nn.Tanh()), (4, 2, 3)),
}


class Function(nn.Module):
    def __init__(self, function: Step) -> None:
        super().__init__()
        self.function = function

    def forward(self, h: Tensor) -> Tensor:
        return self.function(h)


def step(name: str) -> nn.Module:
    """The step of a name, with fresh parameters."""
    if name in MODULES:
        return MODULES[name]()
    return Function(FUNCTIONS[name] if name in FUNCTIONS else getattr(F, name))


NAMES = [*FUNCTIONS, *ACTIVATIONS, *MODULES]
