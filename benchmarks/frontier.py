"""The plane of robustness, accuracy and training cost on Fashion-MNIST: the finite energy, N-FGSM and PGD.

Candidates are tuned on the validation split under PGD (benchmarks/candidates.py); here are the trainings that were
kept, on the test split. Everything is resumable and several processes may share the work.

    python benchmarks/frontier.py train [NAME ...]            # one row after another
    python benchmarks/frontier.py attack NAME ... --n 700     # the white-box half of AutoAttack: APGD-CE, APGD-T
    python benchmarks/frontier.py square NAME ... --n 300     # its black-box attack on what these have left
    python benchmarks/frontier.py evaluate NAME ... --n 700   # the strict evaluation, all attacks and checks
    python benchmarks/frontier.py table [LABEL ...]           # seeds pooled, pairs with bootstrap intervals

Each seed is attacked on test images of its own, so that three seeds make 2,100 of them. Rows of the file that are
called "finite before" are of the rule as it was, with less noise in l_2 and paths of 1.5 radii.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common import RESULTS, RUNS, Row, clean_accuracy, folder, pgd_survivors, rival_margin, train_row
from holomorph.data import Splits, load
from holomorph.evaluation.autoattack import AutoAttackStage
from holomorph.evaluation.evaluate import evaluate
from holomorph.evaluation.intervals import paired_bootstrap, wilson
from holomorph.evaluation.subject import Subject
from holomorph.rules import NFGSM, PGD, FiniteEnergy, Growing, Rule
from holomorph.types import ThreatModel, write_atomically
from holomorph.versions import versions

PATH = RESULTS / "frontier.json"
INF, L2, L1 = ThreatModel("inf", 0.1), ThreatModel(2, 1.5), ThreatModel(1, 12.0)

#: Peak of the learning rate, samples a step and precision: the best for each rule of what was tried (candidates.py).
SHARED: dict[str, Any] = {"lr": 4e-3, "batch": 64, "precision": "bf16-mixed", "flatten_last": True}

#: Epochs of N-FGSM and of the finite energy that need the same passes (5 and 6 a sample), or ours fewer.
BUDGETS = {"short": (4, 3), "middle": (6, 5), "long": (12, 10)}


def finite(**settings: Any) -> FiniteEnergy:
    """Without the default ramp, which this data set does not need at this radius."""
    return FiniteEnergy(INF, ramp=0.0, **settings)


def row(rule: Callable[[], Rule], epochs: int = 6, seed: int = 0) -> Row:
    """One training at the shared settings."""
    return Row(rule, epochs, seed, **SHARED)


def budgets() -> Iterator[tuple[str, Row]]:
    """Equal training time, three seeds; ten steps of PGD at equal epochs."""
    for (theirs, ours), seed in itertools.product(BUDGETS.values(), range(3)):
        yield f"N-FGSM k=1, {theirs} epochs, seed {seed}", row(lambda: NFGSM(INF, noise=1.0), theirs, seed)
        yield f"finite, {ours} epochs, seed {seed}", row(finite, ours, seed)
    for seed in range(3):
        yield f"N-FGSM k=2, 6 epochs, seed {seed}", row(lambda: NFGSM(INF), 6, seed)
        yield f"finite, 6 epochs, seed {seed}", row(finite, 6, seed)
        longer = row(lambda: finite(segments=3, late=0.6), 6, seed)  # a third of PGD-10's passes
        yield f"finite, longer path, 6 epochs, seed {seed}", longer
        yield f"PGD-10, 6 epochs, seed {seed}", row(lambda: PGD(INF), 6, seed)


def large() -> Iterator[tuple[str, Row]]:
    """Radii at which training with one step collapses; at the largest, and for N-FGSM, it grows over half of it."""
    at_2, at_3 = ThreatModel("inf", 0.2), ThreatModel("inf", 0.3)
    for seed in range(10):
        yield f"finite, eps 0.2, 3 epochs, seed {seed}", row(lambda: FiniteEnergy(at_2), 3, seed)
        longer = row(lambda: Growing(FiniteEnergy(at_3, segments=5, late=1.0, ramp=0.0)), 3, seed)
        yield f"finite, growing, five segments, eps 0.3, 3 epochs, seed {seed}", longer
        for threat in (at_2, at_3):
            theirs = row(lambda t=threat: Growing(NFGSM(t, noise=1.0)), 3, seed)
            yield f"N-FGSM k=1, growing, eps {threat.radius:g}, 3 epochs, seed {seed}", theirs
    yield "finite, eps 0.3, 3 epochs, seed 0", row(lambda: FiniteEnergy(at_3), 3)
    yield "PGD-10, growing, eps 0.3, 3 epochs, seed 0", row(lambda: Growing(PGD(at_3)), 3)


def other_norms() -> Iterator[tuple[str, Row]]:
    """The rules given another threat and nothing else; for PGD the radius grows, without which it converges badly."""
    for name, threat, epochs in (("l_2", L2, 3), ("l_2", L2, 6), ("l_1", L1, 3)):
        yield f"N-FGSM k=1, {name}, {epochs} epochs, seed 0", row(lambda t=threat: NFGSM(t, noise=1.0), epochs)
        yield f"PGD-10, {name}, {epochs} epochs, seed 0", row(lambda t=threat: Growing(PGD(t)), epochs)
        for ours in {epochs, epochs + epochs // 6}:  # at most a third of PGD's passes
            yield f"finite, {name}, {ours} epochs, seed 0", row(lambda t=threat: FiniteEnergy(t), ours)


ROWS: dict[str, Row] = {
    **dict(budgets()),
    **dict(large()),
    "finite, default ramp, 5 epochs, seed 0": row(lambda: FiniteEnergy(INF), 5),
    "finite, weight 0, 5 epochs, seed 0": row(lambda: finite(weight=0.0), 5),
    "finite, one segment, 6 epochs, seed 0": row(lambda: finite(segments=1)),
    **dict(other_norms()),
}


@contextmanager
def results() -> Iterator[dict[str, Any]]:
    """The file of results, locked while it is changed."""
    RUNS.mkdir(parents=True, exist_ok=True)
    with (RUNS / "frontier.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found: dict[str, Any] = json.loads(PATH.read_text()) if PATH.exists() else {"rows": {}}
        found["versions"] = versions("numpy", "pyautoattack")
        yield found
        write_atomically(PATH, (json.dumps(found, indent=1) + "\n").encode())


def keep(name: str, facts: dict[str, Any]) -> None:
    """Add what was found of one training."""
    with results() as found:
        found["rows"].setdefault(name, {}).update(facts)
    shown = {k: v["robust"] if isinstance(v, dict) and "robust" in v else v for k, v in facts.items()}
    print(name, {k: v for k, v in shown.items() if isinstance(v, int | float)}, flush=True)


def train(name: str, data: Splits) -> nn.Module:
    """Train one row, or take it from its folder."""
    with results() as found:
        known = found["rows"].get(name, {})
    begin = time.process_time()
    model, facts = train_row(name, ROWS[name], data)
    if "clean" not in known:
        facts["cpu_seconds"] = round(time.process_time() - begin, 1)
        keep(name, {"clean": clean_accuracy(model, data.x_test, data.y_test), **facts})
    return model


def monitor(name: str, data: Splits, samples: int, threats: list[ThreatModel]) -> None:
    """PGD-40 on the margin, first test images: tells a collapse, not for claims."""
    model = train(name, data)
    x, y = data.x_test[:samples], data.y_test[:samples]
    for threat in threats:
        alive = pgd_survivors(model, x, y, threat, restarts=1, objective=rival_margin)
        keep(name, {f"margin40 {threat}": float(alive.float().mean())})


def whitebox(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel) -> Tensor:
    """Which samples APGD-CE and APGD-T of AutoAttack leave right."""
    subject = Subject(model)
    alive = torch.cat([model(part).argmax(1) for part in x.split(500)]).eq(y)
    for name in ("apgd-ce", "apgd-t"):
        for todo in alive.nonzero()[:, 0].split(250):
            made = AutoAttackStage(name, threat, 10)(subject, x[todo], y[todo], seed=0)
            inside = (made - x[todo]).flatten(1).norm(threat.p, dim=1) <= threat.radius * (1 + 1e-5)
            with torch.no_grad():
                alive[todo] = ~(inside & (model(made).argmax(1) != y[todo]))
    return alive


def own_images(name: str, data: Splits, samples: int) -> tuple[Tensor, Tensor]:
    """The test images of a row's seed."""
    first = samples * ROWS[name].seed
    return data.x_test[first : first + samples], data.y_test[first : first + samples]


def attack(name: str, data: Splits, samples: int, threats: list[ThreatModel]) -> None:
    """The white-box half of AutoAttack, with the survivors kept for paired comparisons."""
    model = train(name, data)
    for threat in threats:
        with results() as found:
            if found["rows"][name].get(f"apgd {threat}", {}).get("samples", 0) >= samples:
                continue
        account(name, f"apgd {threat}", whitebox(model, *own_images(name, data, samples), threat))


def square(name: str, data: Splits, samples: int, threats: list[ThreatModel]) -> None:
    """AutoAttack's black-box attack on what the white-box half has left of the row's first images."""
    model = train(name, data)
    for threat in threats:
        with results() as found:
            known = found["rows"][name]
        if known.get(f"square {threat}", {}).get("samples", 0) >= samples:
            continue
        x, y = (part[:samples] for part in own_images(name, data, known[f"apgd {threat}"]["samples"]))
        alive = torch.as_tensor(survivors(known, [str(threat)])[:samples])
        todo = alive.nonzero()[:, 0]
        made = AutoAttackStage("square", threat, 10)(Subject(model), x[todo], y[todo], seed=0)
        with torch.no_grad():
            alive[todo] = model(made).argmax(1) == y[todo]
        account(name, f"square {threat}", alive)


def account(name: str, key: str, alive: Tensor) -> None:
    """Keep a robust accuracy with its interval, and who survived, for paired comparisons."""
    interval, share = wilson(int(alive.sum()), len(alive)), float(alive.float().mean())
    bits = base64.b64encode(np.packbits(alive.numpy())).decode()
    facts = {"robust": share, "interval": [interval.low, interval.high], "samples": len(alive), "alive": bits}
    keep(name, {key: facts})


def strict(name: str, data: Splits, samples: int, threats: list[ThreatModel]) -> None:
    """All attacks and checks; the record lies beside the model."""
    model = train(name, data)
    where = folder(name, ROWS[name]) / "evaluation.json"
    record = evaluate(model, *own_images(name, data, samples), threats, n=samples, resume=where.with_suffix(".partial"),
                      name=name, data="fashion-mnist")  # fmt: skip
    record.save(where)
    keep(name, {
        "evaluation": {
            "samples": samples, "clean": record.clean, "robust": record.robust,
            "interval": record.robust_interval.model_dump(), "failed checks": [c.name for c in record.failed],
            "attacks": [(a.name, str(a.threat), a.broken, a.accuracy) for a in record.attacks],
        }
    })  # fmt: skip


def survivors(facts: dict[str, Any], threats: list[str], attacks: str = "apgd") -> np.ndarray:
    """Which samples were fooled under none of the threats: by APGD, or by it and then Square."""
    kept = [facts[f"{attacks} {threat}"] for threat in threats]
    bits = [np.unpackbits(np.frombuffer(base64.b64decode(one["alive"]), np.uint8)) for one in kept]
    count = min(one["samples"] for one in kept)
    return np.logical_and.reduce([one[:count].astype(bool) for one in bits])


def seeds(rows: dict[str, Any], label: str, threats: list[str], attacks: str = "apgd") -> dict[int, dict[str, Any]]:
    """The seeds of a training that were attacked under all the threats."""
    named = {seed: rows.get(f"{label}, seed {seed}", {}) for seed in range(10)}
    return {seed: facts for seed, facts in named.items() if all(f"{attacks} {threat}" in facts for threat in threats)}


def table(labels: list[str], threats: list[str], attacks: str = "apgd") -> Iterator[str]:
    """Seeds pooled: clean accuracy on all test images, what the attacks leave of each seed's own; then the pairs."""
    rows = json.loads(PATH.read_text())["rows"]
    found = {label: known for label in labels if (known := seeds(rows, label, threats, attacks))}
    yield f"| training, {' and '.join(threats)} | seeds | passes | CPU s | clean (of the seeds) | {attacks} | images |"
    yield "|---|---|---|---|---|---|---|"
    for label, known in found.items():
        clean = [100 * facts["clean"] for facts in known.values()]
        alive = np.concatenate([survivors(facts, threats, attacks) for facts in known.values()])
        interval = wilson(int(alive.sum()), len(alive))
        facts = next(iter(known.values()))
        yield (f"| {label} | {len(known)} | {3 * facts['passes_relative_to_plain'] * facts['epochs']:.0f} "
               f"| {np.median([facts['cpu_seconds'] for facts in known.values()]):.0f} "
               f"| {np.mean(clean):.1f} ({min(clean):.1f} to {max(clean):.1f}) | {100 * alive.mean():.1f} "
               f"({100 * interval.low:.1f} to {100 * interval.high:.1f}) | {len(alive)} |")  # fmt: skip
    yield ""
    yield f"| difference | clean | {attacks}, paired |"
    yield "|---|---|---|"
    for first, second in itertools.combinations(found, 2):
        common = sorted(found[first].keys() & found[second].keys())
        pair = ([survivors(found[label][k], threats, attacks) for k in common] for label in (first, second))
        a, b = (np.concatenate(alive) for alive in pair)
        gap = paired_bootstrap(a.tolist(), b.tolist())
        clean = np.mean([found[first][k]["clean"] - found[second][k]["clean"] for k in common])
        yield (f"| {first} - {second} | {100 * clean:+.1f} "
               f"| {100 * gap.value:+.1f} ({100 * gap.low:+.1f} to {100 * gap.high:+.1f}) |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "monitor", "attack", "square", "evaluate", "table"])
    parser.add_argument("names", nargs="*", help="rows, or labels without the seed; all by default")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--threat", nargs="+", default=["inf:0.1"])
    parser.add_argument("--attacks", choices=["apgd", "square"], default="apgd", help="of the table")
    parser.add_argument("--union", action="store_true", help="one table of what survives all the threats")
    wanted = parser.parse_args()
    names = wanted.names or list(ROWS)
    threats = [ThreatModel.parse(text) for text in wanted.threat]
    if wanted.what == "table":
        labels = wanted.names or list(dict.fromkeys(name.rpartition(", seed ")[0] for name in ROWS if "seed" in name))
        named = [str(threat) for threat in threats]
        groups = [named] if wanted.union else [[name] for name in named]
        print("\n".join(line for group in groups for line in table(labels, group, wanted.attacks)))
        return
    data = load("fashion-mnist")
    doing = {"monitor": monitor, "attack": attack, "square": square, "evaluate": strict}
    for name in names:
        if wanted.what == "train":
            train(name, data)
        else:
            doing[wanted.what](name, data, wanted.n, threats)


if __name__ == "__main__":
    main()
