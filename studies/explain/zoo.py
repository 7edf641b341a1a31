"""The models of the explanation benchmark: architectures beyond the library's own, and their trainings."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holomorph._utils.seeding import seed_for
from holomorph.calculus.measures import Samples
from holomorph.data import Splits
from holomorph.nn.classifiers import CNN, MLP
from holomorph.rules import Dirichlet, Rule, parse
from holomorph.threats import ThreatModel
from holomorph.training.checkpoint import load_into, load_tensors
from holomorph.training.fit import fit
from studies import kept

RUNS = kept.RUNS / "explanations"
THREAT = ThreatModel("inf", 0.1)
SHAPE, CLASSES = (1, 28, 28), 10


class Block(nn.Module):
    """Two convolutions around a shortcut, with group normalisation."""

    def __init__(self, wide_in: int, wide_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(4, wide_in), nn.GELU(), nn.Conv2d(wide_in, wide_out, 3, stride, 1),
            nn.GroupNorm(4, wide_out), nn.GELU(), nn.Conv2d(wide_out, wide_out, 3, 1, 1),
        )  # fmt: skip
        same = wide_in == wide_out and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(wide_in, wide_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Add the body to the shortcut."""
        return self.shortcut(x) + self.body(x)


def resnet8() -> nn.Module:
    """A stem, three residual blocks, a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2),
        nn.GroupNorm(4, 64), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES),
    )  # fmt: skip


class Attention(nn.Module):
    """Self-attention written out: fused kernels cannot be differentiated twice."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).reshape(batch, tokens, width))


class ViT(nn.Module):
    """A vision transformer on 7 x 7 patches of 4 x 4 pixels."""

    def __init__(self, width: int = 48, depth: int = 3, heads: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 4, 4)
        self.position = nn.Parameter(0.02 * torch.randn(1, 49, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * depth + 1))
        self.attention = nn.ModuleList(Attention(width, heads) for _ in range(depth))
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)) for _ in range(depth)
        )
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.position
        for k, (attention, mlp) in enumerate(zip(self.attention, self.mlps, strict=True)):
            tokens = tokens + attention(self.norms[2 * k](tokens))
            tokens = tokens + mlp(self.norms[2 * k + 1](tokens))
        return self.head(self.norms[-1](tokens).mean(1))


@dataclass(frozen=True)
class Entry:
    """An architecture and the rule it is trained by; the CNNs see all images, the others enough of them."""

    build: Callable[[], nn.Module]
    rule: str | Callable[[], Rule]
    epochs: int = 4
    samples: int = 20000
    batch_size: int = 128


def _cnn(rule: str | Callable[[], Rule]) -> Entry:
    """The CNN of the other Fashion-MNIST studies; a run folder of theirs can be put in place of the training."""
    return Entry(lambda: CNN(SHAPE, CLASSES), rule, epochs=6, samples=55000, batch_size=256)


ZOO = {
    "cnn plain": _cnn("plain"),
    "cnn n-fgsm": _cnn("nfgsm"),
    "cnn dirichlet": _cnn("dirichlet"),
    "cnn pgd": _cnn("pgd"),
    "cnn finite": _cnn("finite"),
    "small cnn plain": Entry(lambda: CNN(SHAPE, CLASSES, width=12), "plain"),
    "mlp plain": Entry(lambda: MLP(SHAPE, CLASSES), "plain"),
    "mlp dirichlet": Entry(lambda: MLP(SHAPE, CLASSES), "dirichlet"),
    "sine plain": Entry(lambda: MLP(SHAPE, CLASSES, activation="sin"), "plain"),  # extends to all of C^n
    "resnet plain": Entry(resnet8, "plain"),
    "vit plain": Entry(ViT, "plain", epochs=8),
    "cnn energy at samples": _cnn(lambda: Dirichlet(THREAT, weight=1.0, power=2, measure=Samples())),
}


def trained(name: str, data: Splits) -> nn.Module:
    """Return the model of this name, trained or, if that was done before, loaded."""
    entry, folder = ZOO[name], RUNS / name.replace(" ", "-")
    with torch.random.fork_rng():
        torch.manual_seed(seed_for(0, f"model/{name}"))
        model = entry.build()
    weights = folder / "model.safetensors"
    if (folder / "train.json").exists() and weights.exists():
        load_into(model, load_tensors(weights), str(weights))
    else:
        rule = parse(entry.rule, THREAT) if isinstance(entry.rule, str) else entry.rule()
        train = (data.x_train[: entry.samples], data.y_train[: entry.samples])
        fit(
            model,
            train,
            rule,
            epochs=entry.epochs,
            batch_size=entry.batch_size,
            lr=2e-3,
            out=folder,
            resume=folder.exists(),
        )
    return model.eval()
