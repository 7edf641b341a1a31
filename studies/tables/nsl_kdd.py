"""Attacks on network traffic in NSL-KDD that stay possible rows, against networks and gradient boosting.

The folder holds nsl-kdd-train20.csv and nsl-kdd-test.csv, the published KDDTrain+_20Percent and KDDTest+ (.xz is read
as well): 41 features, the kind of traffic and its difficulty, without a header.

    python -m studies.tables.nsl_kdd --data-dir FOLDER     # 10 minutes on one core
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor, nn

import holomorph as hm
from holomorph.nn.classifiers import Normalise, build_classifier
from holomorph.threats.features import Features
from studies.kept import keep, results

#: Columns of words, of yes and no, and of rates in [0, 1]; all others are counts, sizes and times.
WORDS, FLAGS, RATES = (1, 2, 3), (6, 11, 13, 20, 21), (*range(24, 31), *range(33, 41))
SHARE, ATTACKED, SEEDS, RULES = 0.1, 500, 3, ("plain", "pgd", "finite")
BLIND = ("surrogate", "pgd-numerical")


class Traffic(NamedTuple):
    """Rows with one column for each word, labels (1: an attack), and what an attacker may do."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    features: Features
    log: Tensor


def read(folder: Path) -> Traffic:
    """Both tables. A column's spread is half the way from its 5 % to its 95 % quantile in training."""
    frames = [pd.read_csv(next(folder.glob(f"nsl-kdd-{part}.csv*")), header=None) for part in ("train20", "test")]
    size, whole = len(frames[0]), pd.concat(frames, ignore_index=True)
    table = pd.get_dummies(whole.iloc[:, :41], columns=list(WORDS), prefix_sep="=").astype(np.float64)
    columns, x = [str(c) for c in table.columns], torch.from_numpy(table.to_numpy())
    groups = torch.tensor([int(c.split("=")[0]) if "=" in c else 0 for c in columns])
    fixed = (groups > 0) | torch.tensor([c in map(str, FLAGS) for c in columns])
    rate = torch.tensor([c in map(str, RATES) for c in columns])
    ends = torch.quantile(x[:size], torch.tensor([0.05, 0.95], dtype=x.dtype), dim=0)
    eps = torch.where(fixed, 0.0, SHARE * (ends[1] - ends[0]) / 2)
    features = Features(eps, x.amin(0), x.amax(0), whole=~fixed & ~rate, groups=groups)
    y = torch.from_numpy((whole[41] != "normal").to_numpy().astype(np.int64))
    return Traffic(x[:size], y[:size], x[size:], y[size:], features, ~fixed & ~rate)


class Logarithm(nn.Module):
    """log(1 + x) of counts, sizes and times, whose tails are heavy."""

    def __init__(self, where: Tensor) -> None:
        super().__init__()
        self.register_buffer("where", where)

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(self.get_buffer("where"), x.clamp_min(0).log1p(), x)


def network(data: Traffic, rule: str, seed: int) -> nn.Module:
    """A small network, trained within the features' threat."""
    torch.manual_seed(seed)
    first = Logarithm(data.log)
    scaled = first(data.train)
    body = build_classifier("mlp?width=64&depth=2", (scaled.shape[1],), 2)
    spread = scaled.std(0)
    norm = Normalise(scaled.mean(0).tolist(), torch.where(spread > 0, spread, 1.0).tolist())
    model = nn.Sequential(first, norm, body).double()
    threat = data.features.threat("inf:1")
    hm.fit(model, (data.train, data.train_labels), rule, threat=threat, epochs=6, batch_size=256, seed=seed)
    return model.eval()


def chosen(data: Traffic) -> tuple[Tensor, Tensor]:
    """The test rows that are attacked."""
    some = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0))[:ATTACKED]
    return data.test[some], data.test_labels[some]


def measure(data: Traffic, model: Any, attacks: tuple[str, ...]) -> dict[str, float]:
    """Accuracy and recall of the attack class on all test rows, and what the worst of the attacks leaves of some."""
    with torch.no_grad():
        right = _predicted(model, data.test) == data.test_labels
        (x, y), threat = chosen(data), data.features.threat("inf:1")
        left = _predicted(model, x) == y
    found = {"clean": _share(right), "clean recall": _share(right[data.test_labels == 1])}
    for name in attacks:
        left &= ~hm.attack(model, x, y, threat=threat, name=name).broken
    return found | {"robust": _share(left), "robust recall": _share(left[y == 1])}


def repaired(data: Traffic, model: nn.Module) -> dict[str, float]:
    """An attack that knows ranges and eps only, set back and rounded afterwards, beside one that knows all."""
    f, (x, y) = data.features, chosen(data)
    loose = Features(torch.where(f.eps > 0, f.eps, SHARE / 2 * (f.high - f.low).clamp(max=1.0)), f.low, f.high)
    found = hm.attack(model, x, y, threat=loose.threat("inf:1"))
    mended = torch.where(f.eps > 0, found.adversarial, x)
    mended = torch.where(f.rows.whole, x + (mended - x).trunc(), mended)  # rounding up would leave the eps
    with torch.no_grad():
        fooled = (_predicted(model, x) == y) & (_predicted(model, mended) != y)
        right = _share(_predicted(model, x) == y)
    known = hm.attack(model, x, y, threat=f.threat("inf:1"))
    wrong = 1 - right
    return {"predicted correctly": right, "fooled, constraints ignored": _share(found.broken) - wrong,
            "fooled, repaired": _share(fooled & f.possible(x, mended)),
            "fooled, constraints known": _share(known.broken) - wrong}  # fmt: skip


def _predicted(model: Any, x: Tensor) -> Tensor:
    return model(x).argmax(1) if isinstance(model, nn.Module) else torch.from_numpy(model.predict(x.numpy()))


def _share(which: Tensor) -> float:
    return float(which.double().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="Folder with the two tables.")
    data = read(parser.parse_args().data_dir)
    trained = {(rule, seed): partial(network, data, rule, seed) for seed in range(SEEDS) for rule in RULES}
    boosting = HistGradientBoostingClassifier(random_state=0).fit(data.train.numpy(), data.train_labels.numpy())
    rows = {f"{rule}, seed {seed}": lambda make=make: measure(data, make(), ("pgd-margin", *BLIND))
            for (rule, seed), make in trained.items()}  # fmt: skip
    rows |= {"gradient boosting": lambda: measure(data, boosting, BLIND)}
    rows |= {"plain, repaired afterwards": lambda: repaired(data, trained["plain", 0]())}
    keep(results("tables") / "nsl_kdd.json", rows)


if __name__ == "__main__":
    main()
