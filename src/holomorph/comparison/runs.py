"""``compare``: every rule trained under an equal budget, attacked by all threats, and set side by side."""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from holomorph._utils.io import read_plain, write_atomically
from holomorph._utils.output import output
from holomorph._utils.progress import track
from holomorph._utils.seeding import seed_for
from holomorph._utils.versions import versions
from holomorph.comparison import attacks
from holomorph.comparison.accuracies import with_accuracies
from holomorph.comparison.budget import Budget
from holomorph.contract import as_threats, at_least_one, gradients
from holomorph.contract.threats import ThreatsLike
from holomorph.data import Splits
from holomorph.errors import CheckpointError, ConfigError
from holomorph.nn import classifiers
from holomorph.records.base import Record
from holomorph.records.comparison import ComparisonRecord, RunResult
from holomorph.rules import Rule, parse
from holomorph.threats import ThreatModel
from holomorph.training.fit import fit
from holomorph.training.folder import check_same, is_run, noted, nothing_left_of_a_refusal, own_files

_ELSEWHERE = "Use another folder."


class _Kept(Record):
    """A finished run, as the comparison's folder keeps it."""

    KIND: ClassVar[str] = "comparison-run"

    plan: dict[str, Any]
    result: RunResult


@gradients()
def compare(
    data: Splits,
    rules: Sequence[str],
    threats: ThreatsLike,
    *,
    budget: str = "6epochs",
    seeds: int = 3,
    split: Literal["val", "test"] = "val",
    out: str | os.PathLike[str],
    model: str = "auto",
    activation: str = "gelu",
    n: int | None = None,
    batch_size: int = 64,
    lr: float = 4e-3,
    resume: bool = False,
    force: bool = False,
    **training: Any,
) -> ComparisonRecord:
    r"""Train each rule under an equal budget and attack all of them alike.

    Runs of one seed share the model's start and the order of the batches. A run that is finished is kept in
    ``out`` and is not repeated by ``resume``, which ends with the same numbers.

    Parameters
    ----------
    data:
        Training samples, and those of the split to attack.
    rules:
        As on the command line: ``"plain"``, ``"dirichlet(weight=2,power=2)"``, ``"nfgsm + 0.1*finite"``.
    threats:
        Objects or texts such as ``"inf:0.1,2:1.5"``. Rules are trained for the first; all are attacked, and their
        union counted.
    budget:
        Of one training: ``"6epochs"``, ``"90s"``, ``"10m"``. Times are turned into epochs by a short trial.
    seeds:
        How many runs of each rule, seeded 0, 1, ...
    split:
        ``"val"``: PGD with 40 steps, for tuning. ``"test"``: the full evaluation, for finalists.
    out:
        Folder of the runs.
    model, activation:
        As in ``holomorph.nn.classifiers.build_classifier``; ``"auto"`` takes the CNN for images.
    n:
        Attack the first n samples only.
    batch_size, lr, training:
        For ``fit``, the same for every rule.
    resume:
        Go on from the runs in ``out``, of this comparison or of one that has rules in common with it.
    force:
        Replace an earlier comparison in ``out``.

    Raises
    ------
    ConfigError
        Before any training, for rules, budgets or settings that cannot be used.

    Source: docs/rules.md.

    Examples
    --------
    >>> from holomorph.data import load_data
    >>> record = compare(load_data("digits"), ["plain", "nfgsm"], ThreatModel("inf", 0.1),
    ...                  budget="1epochs", seeds=1, out=tmp_path, model="mlp", n=50)  # doctest: +SKIP
    """
    at_least_one(batch_size=batch_size, n=1 if n is None else n)
    plan = _Plan(
        data=data,
        threats=tuple(as_threats(threats, data.box)),
        budget=Budget.parse(budget),
        split=split,
        folder=Path(out),
        model=("cnn" if len(data.shape) == 3 else "mlp") if model == "auto" else model,
        activation=activation,
        samples=n,
        training={"batch_size": batch_size, "lr": lr, **training},
    )
    plan.check(rules, seeds)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    held = output(out, "comparison", comparison_files(plan.folder), resume=resume, force=force)
    with held, nothing_left_of_a_refusal(plan.folder, _written):
        runs: dict[str, list[RunResult]] = {text: [] for text in rules}
        for seed, text in track(list(itertools.product(range(seeds), rules)), "comparing"):
            runs[text].append(plan.run(text, seed))
        record = _record(plan, rules, seeds, runs, budget=budget, started=started)
        record.save(plan.folder / "comparison.json")
    return record


def _written(folder: Path) -> list[Path]:
    return [folder / name for name in comparison_files(folder)]


def comparison_files(folder: Path) -> list[str]:
    """What comparisons have left in a folder, relative to it."""
    names = ["comparison.json", "comparison.md", *(f"frontier-{kind}.svg" for kind in ("accuracy", "cost"))]
    notes = [path for name in ("training.json", "epochs.txt") for path in folder.glob(f"*/{name}")]
    runs = [path for run in folder.glob("*/seed-*") if is_run(run) for path in own_files(run)]
    return [*names, *(str(path.relative_to(folder)) for path in [*notes, *runs])]


def _record(
    plan: _Plan, rules: Sequence[str], seeds: int, runs: dict[str, list[RunResult]], *, budget: str, started: str
) -> ComparisonRecord:
    record = ComparisonRecord(
        data=plan.data.name, model=plan.model, activation=plan.activation, training=plan.training, budget=budget,
        seeds=seeds, trained_for=plan.threats[0], threats=plan.threats, split=plan.split,
        class_names=plan.data.names, attack=attacks.ATTACK_NAMES[plan.split],
        samples=len(runs[rules[0]][0].right["clean"]), versions=versions("lightning-fabric", "numpy"),
        command=" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]), started=started,
    )  # fmt: skip
    return with_accuracies(record, {text: plan.rule(text, 0) for text in rules}, runs)


@dataclass(frozen=True)
class _Plan:
    """Everything that is the same for all runs."""

    data: Splits
    threats: tuple[ThreatModel, ...]
    budget: Budget
    split: Literal["val", "test"]
    folder: Path
    model: str
    activation: str
    samples: int | None
    training: dict[str, Any]

    def check(self, rules: Sequence[str], seeds: int) -> None:
        """Refuse what would fail later, before the first training."""
        if not rules or len(set(rules)) < len(rules):
            raise ConfigError("Name at least one rule, and each rule once.")
        if not self.threats:
            raise ConfigError("Name at least one threat, for instance inf:8/255.")
        if seeds < 1:
            raise ConfigError(f"seeds is {seeds}; run each rule at least once.")
        if self.split not in attacks.ATTACK_NAMES:
            raise ConfigError(f"The split is {self.split!r}; use 'val' for tuning and 'test' for finalists.")
        for text in rules:
            self.rule(text, 0)
        self.network(0)

    def rule(self, text: str, seed: int) -> Rule:
        """Make a rule for the first threat."""
        return parse(text, self.threats[0], seed=seed)

    def network(self, seed: int) -> nn.Module:
        """Make the untrained model; rules of one seed start from the same weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(seed, "model"))
            return classifiers.build_classifier(
                self.model, self.data.shape, self.data.classes, activation=self.activation
            )

    def run(self, text: str, seed: int) -> RunResult:
        """Train and attack, or return what was found before."""
        folder = self.folder / _slug(text) / f"seed-{seed}"
        kept, asked = folder / f"run-{self.split}.json", self._asked(text)
        if kept.is_file():
            before = _Kept.load(kept)
            check_same(before.plan, asked, folder, _ELSEWHERE)
            return before.result
        self._note_training(folder.parent, asked)
        epochs = self._epochs(folder, text, seed)
        model, rule = self.network(seed), self.rule(text, seed)
        trained = fit(model, self.data, rule, epochs=epochs, out=folder, seed=seed, resume=True, **self.training)
        x, y = (part[: self.samples] for part in self.data.part(self.split))
        if self.split == "val":
            found = attacks.tuning(model, x, y, self.threats)
        else:
            found = attacks.full(model, x, y, self.threats, out=folder, seed=seed)
        shares = {name: right.cpu().double().mean().item() for name, right in found.right.items()}
        result = RunResult(
            seed=seed,
            epochs=epochs,
            seconds=trained.seconds,
            clean=shares.pop("clean"),
            robust=shares,
            right={name: "".join("01"[int(r)] for r in right) for name, right in found.right.items()},
            failed_checks=found.failed_checks,
            cost=rule.cost.passes / 3,
        )
        _Kept(plan=asked, result=result).save(kept)
        return result

    def _asked(self, text: str) -> dict[str, Any]:
        return {
            "rule": text, "data": self.data.name, "content of the data": self.data.digest, "box": list(self.data.box),
            "threats": ",".join(map(str, self.threats)),
            "budget": f"{self.budget.epochs} epochs" if self.budget.epochs else f"{self.budget.seconds} s",
            "model": self.model, "activation": self.activation, "samples": self.samples,
            "training": {key: value for key, value in self.training.items() if value is not None},
        }  # fmt: skip

    def _note_training(self, folder: Path, asked: dict[str, Any]) -> None:
        """Note what the trainings of a rule have in common, or refuse to take up those of another plan."""
        note = folder / "training.json"
        plan = {
            key: asked[key]
            for key in ("rule", "data", "content of the data", "budget", "model", "activation", "training")
        }
        text = json.dumps({**plan, "threat": str(self.threats[0]), "box": self.threats[0].box}, indent=1)
        if note.is_file():
            check_same(noted(note), json.loads(text), folder, _ELSEWHERE)
        elif not (folder / "epochs.txt").is_file():  # there an older version has begun, which noted nothing
            write_atomically(note, text.encode())

    def _epochs(self, folder: Path, text: str, seed: int) -> int:
        """Take the number that an interrupted run began with, or find one."""
        note = folder.parent / "epochs.txt"
        if note.is_file():
            number = read_plain(note)[:20].decode(errors="replace").strip()
            if not number.isdecimal() or int(number) == 0:
                raise CheckpointError(f"{note} is damaged: it holds no number of epochs. {_ELSEWHERE}")
            return int(number)
        rule = self.rule(text, seed)
        epochs = self.budget.epochs_for(rule, self.network(seed), self.data, self.training["batch_size"])
        write_atomically(note, str(epochs).encode())
        return epochs


def _slug(text: str) -> str:
    """A folder's name that a person can read and that no two rules share."""
    words = re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")[:60]
    return words if words == text else f"{words}-{zlib.crc32(text.encode()):08x}"
