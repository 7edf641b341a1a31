"""The three networks whose training steps are timed."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Residual(nn.Module):
    """Two convolutions with GroupNorm and SiLU, and a shortcut."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.b = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.na, self.nb = nn.GroupNorm(8, outside), nn.GroupNorm(8, outside)
        self.short = nn.Conv2d(inside, outside, 1, stride) if stride != 1 or inside != outside else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = F.silu(self.na(self.a(x)))
        return F.silu(self.nb(self.b(h)) + self.short(x))


def resnet8() -> nn.Module:
    blocks = [Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 64, 2)]
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.GroupNorm(8, 16), nn.SiLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class ViT(nn.Module):
    """Four blocks on 64 patches of 4x4."""

    def __init__(self, width: int = 96, heads: int = 4, depth: int = 4) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.place = nn.Parameter(0.02 * torch.randn(1, 64, width))
        self.n1 = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.n2 = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.qkv = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(depth))
        self.out = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.mlp = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)) for _ in range(depth)
        )
        self.head, self.heads = nn.Linear(width, 10), heads

    def forward(self, x: Tensor) -> Tensor:
        t = self.patch(x).flatten(2).transpose(1, 2) + self.place
        for n1, qkv, out, n2, mlp in zip(self.n1, self.qkv, self.out, self.n2, self.mlp, strict=True):
            q, k, v = (u.unflatten(-1, (self.heads, -1)).transpose(1, 2) for u in qkv(n1(t)).chunk(3, -1))
            t = t + out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
            t = t + mlp(n2(t))
        return self.head(t.mean(1))


def cnn() -> nn.Module:
    """Reference small CNN of the Fashion-MNIST experiments."""
    convs = [nn.Conv2d(1, 32, 5, 2, 2), nn.GELU(), nn.Conv2d(32, 64, 3, 2, 1), nn.GELU(), nn.Conv2d(64, 64, 3, 1, 1)]
    return nn.Sequential(*convs, nn.GELU(), nn.Flatten(), nn.Linear(3136, 128), nn.GELU(), nn.Linear(128, 10))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "CNN": (cnn, (1, 28, 28)),
    "ResNet-8": (resnet8, (3, 32, 32)),
    "ViT": (ViT, (3, 32, 32)),
}
