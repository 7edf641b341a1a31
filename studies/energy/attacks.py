"""The plane of robustness, accuracy and training cost on Fashion-MNIST: the finite energy, N-FGSM and PGD.

Trials are attacked on the validation split, the trainings that were kept (trainings.py) on the test split.
Everything is resumable and several processes may share the work.

    python -m studies.energy.attacks train [NAME ...]            # one row after another; --split val for the trials
    python -m studies.energy.attacks attack NAME ... --n 700     # the white-box half of AutoAttack: APGD-CE, APGD-T
    python -m studies.energy.attacks square NAME ... --n 300     # its black-box attack on what these have left
    python -m studies.energy.attacks evaluate NAME ... --n 700   # the strict evaluation, all attacks and checks
    python -m studies.energy.attacks table [LABEL ...]           # seeds pooled, pairs with bootstrap intervals

Each seed is attacked on images of its own, so that three seeds make 2,100 of them. Rows of the file that are
called "finite, ramp of the weight" are of the rule whose weight grew in the first tenth of training instead of the
radius, "finite with equal steps" of paths of steps of min(.75, 2.5/k) radii, "finite before" of 1.5/k, with less noise
in l_2; "finite, steps of 1 and 2/3" in trials.json is a path that was dropped, on test images.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from holomorph._utils.statistics import paired_interval, proportion_interval
from holomorph.attacks.autoattack import AutoAttackStage
from holomorph.contract.classifier import Classifier
from holomorph.data import Splits, load
from holomorph.evaluation.evaluate import evaluate
from holomorph.threats import ThreatModel
from studies.common import RESULTS, Row, clean_accuracy, folder, pgd_survivors, rival_margin, train_row
from studies.energy.ledger import Facts, Ledger, seeds, survivors
from studies.energy.trainings import FINALISTS, TRIALS


@dataclass(frozen=True)
class Study:
    """Trainings, the split that they are attacked on, and the file of what was found."""

    rows: Mapping[str, Row]
    split: str
    ledger: Ledger
    data: Splits

    def train(self, name: str) -> nn.Module:
        """Train one row, or take it from its folder."""
        begin = time.process_time()
        model, facts = train_row(name, self.rows[name], self.data)
        if "clean" not in self.ledger.rows.get(name, {}):
            facts["cpu_seconds"] = round(time.process_time() - begin, 1)
            self.ledger.keep(name, {"clean": clean_accuracy(model, *self.data.part(self.split)), **facts})
        return model

    def images(self, name: str, samples: int) -> tuple[Tensor, Tensor]:
        """Those of a row's seed."""
        first = samples * self.rows[name].seed
        x, y = self.data.part(self.split)
        return x[first : first + samples], y[first : first + samples]

    def monitor(self, name: str, samples: int, threats: list[ThreatModel]) -> None:
        """PGD-40 on the margin, first images: tells a collapse, not for claims."""
        model = self.train(name)
        x, y = (part[:samples] for part in self.data.part(self.split))
        for threat in threats:
            alive = pgd_survivors(model, x, y, threat, restarts=1, objective=rival_margin)
            self.ledger.keep(name, {f"margin40 {threat}": float(alive.float().mean())})

    def attack(self, name: str, samples: int, threats: list[ThreatModel]) -> None:
        """The white-box half of AutoAttack, with the survivors kept for paired comparisons."""
        model = self.train(name)
        for threat in threats:
            if self.ledger.rows[name].get(f"apgd {threat}", {}).get("samples", 0) >= samples:
                continue
            self.ledger.account(name, f"apgd {threat}", whitebox(model, *self.images(name, samples), threat))

    def square(self, name: str, samples: int, threats: list[ThreatModel]) -> None:
        """AutoAttack's black-box attack on what the white-box half has left of the row's first images."""
        model = self.train(name)
        for threat in threats:
            known = self.ledger.rows[name]
            begun = known.get(f"square {threat}", {}).get("samples", 0)
            if begun >= samples:
                continue
            x, y = (part[:samples] for part in self.images(name, known[f"apgd {threat}"]["samples"]))
            alive = torch.as_tensor(survivors(known, [str(threat)])[:samples])
            if begun:
                alive[:begun] = torch.as_tensor(survivors(known, [str(threat)], "square"))
            todo = begun + alive[begun:].nonzero()[:, 0]
            made = AutoAttackStage("square", threat, 10)(Classifier(model), x[todo], y[todo], seed=0)
            with torch.no_grad():
                alive[todo] = model(made).argmax(1) == y[todo]
            self.ledger.account(name, f"square {threat}", alive)

    def evaluate(self, name: str, samples: int, threats: list[ThreatModel]) -> None:
        """All attacks and checks; the record lies beside the model."""
        model = self.train(name)
        where = folder(name, self.rows[name]) / "strict"
        record = evaluate(model, *self.images(name, samples), threats, n=samples, out=where, resume=True,
                          name=name, data="fashion-mnist")  # fmt: skip
        self.ledger.keep(name, {
            "evaluation": {
                "samples": samples, "clean": record.clean, "robust": record.robust,
                "interval": record.robust_interval.model_dump(), "failed checks": [c.name for c in record.failed],
                "attacks": [(a.name, str(a.threat), a.broken, a.accuracy) for a in record.attacks],
            }
        })  # fmt: skip


def whitebox(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel) -> Tensor:
    """Which samples APGD-CE and APGD-T of AutoAttack leave right."""
    subject = Classifier(model)
    alive = torch.cat([model(part).argmax(1) for part in x.split(500)]).eq(y)
    for name in ("apgd-ce", "apgd-t"):
        for todo in alive.nonzero()[:, 0].split(250):
            made = AutoAttackStage(name, threat, 10)(subject, x[todo], y[todo], seed=0)
            inside = (made - x[todo]).flatten(1).norm(threat.p, dim=1) <= threat.radius * (1 + 1e-5)
            with torch.no_grad():
                alive[todo] = ~(inside & (model(made).argmax(1) != y[todo]))
    return alive


def table(rows: dict[str, Facts], labels: list[str], threats: list[str], attacks: str = "apgd") -> Iterator[str]:
    """Seeds pooled: clean accuracy on the whole split, what the attacks leave of each seed's own; then the pairs."""
    found = {label: known for label in labels if (known := seeds(rows, label, threats, attacks))}
    yield f"| training, {' and '.join(threats)} | seeds | passes | CPU s | clean (of the seeds) | {attacks} | images |"
    yield "|---|---|---|---|---|---|---|"
    for label, known in found.items():
        clean = [100 * facts["clean"] for facts in known.values()]
        alive = np.concatenate([survivors(facts, threats, attacks) for facts in known.values()])
        interval = proportion_interval(int(alive.sum()), len(alive))
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
        gap = paired_interval(a.tolist(), b.tolist())
        clean = np.mean([found[first][k]["clean"] - found[second][k]["clean"] for k in common])
        yield (f"| {first} - {second} | {100 * clean:+.1f} "
               f"| {100 * gap.value:+.1f} ({100 * gap.low:+.1f} to {100 * gap.high:+.1f}) |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "monitor", "attack", "square", "evaluate", "table"])
    parser.add_argument("names", nargs="*", help="rows, or labels without the seed; all by default")
    parser.add_argument("--split", choices=["test", "val"], default="test", help="the finalists, or the trials")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--threat", nargs="+", default=["inf:0.1"])
    parser.add_argument("--attacks", choices=["apgd", "square"], default="apgd", help="of the table")
    parser.add_argument("--union", action="store_true", help="one table of what survives all the threats")
    wanted = parser.parse_intermixed_args()
    rows, path = (FINALISTS, "attacks.json") if wanted.split == "test" else (TRIALS, "trials.json")
    ledger, threats = Ledger(RESULTS / path), [ThreatModel.parse(text) for text in wanted.threat]
    if wanted.what == "table":
        labels = wanted.names or list(dict.fromkeys(name.rpartition(", seed ")[0] for name in ledger.rows))
        named = [str(threat) for threat in threats]
        groups = [named] if wanted.union else [[name] for name in named]
        print("\n".join(line for group in groups for line in table(ledger.rows, labels, group, wanted.attacks)))
        return
    study = Study(rows, wanted.split, ledger, load("fashion-mnist"))
    for name in wanted.names or rows:
        if wanted.what == "train":
            study.train(name)
        else:
            getattr(study, wanted.what)(name, wanted.n, threats)


if __name__ == "__main__":
    main()
