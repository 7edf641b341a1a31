"""Train the queued runs one after another and append a row for each to a table; runs that have a row are left out.

A line of the queue: NAME;RULE;EPOCHS;SEED;THREAT;DATA;NETWORK, with RULE as on the command line of ``holomorph train``.
The queue is read anew after each run, so lines may be added meanwhile. A run that was stopped goes on from its last
epoch.

    python -m studies.frontier.train queue.txt runs.csv --data-dir CIFAR --out runs
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from holomorph.data import load_data
from holomorph.data.augmentation import CropFlip
from holomorph.nn.classifiers import CNN, ResNet
from holomorph.rules.base import Rule
from holomorph.rules.registry import parse
from holomorph.threats import ThreatModel
from holomorph.training.guard import Guard
from studies.frontier.attacks import WHITE, survivors

COLUMNS = ["name", "data", "network", "rule", "threat", "epochs", "seed", "seconds", "passes", "clean", "robust"]
COLUMNS += ["apgd_ce", "alignment", "linearity", "epoch_clean", "epoch_robust"]

#: The same for all rules: samples of a batch; peak of the one-cycle rate and weight decay of each kind of network.
BATCH = 128
RATES = {"resnet": (8e-3, 5e-4), "cnn": (4e-3, 0.0)}

#: Validation images that APGD sees at the end, and that ten steps see after each epoch.
JUDGED, WATCHED = 1000, 256


@dataclass(frozen=True)
class Run:
    """One line of the queue."""

    name: str
    rule: str
    epochs: int
    seed: int
    threat: ThreatModel
    data: str
    network: str

    @classmethod
    def read(cls, line: str) -> Run:
        """Read a line."""
        name, rule, epochs, seed, threat, data, network = (part.strip() for part in line.split(";"))
        norm, eps = threat.split(":")
        return cls(name, rule, int(epochs), int(seed), ThreatModel(norm, eps), data, network)


class Data:
    """Images as uint8 in memory: training, validation (the last 5,000 training images) and test."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.augment = CropFlip() if name == "cifar10" else None
        if name == "cifar10":
            (x, y), self.test = (_folder(folder / part) for part in ("train", "test"))
            index = torch.arange(len(y)).reshape(10, -1)  # the last tenth of each class is for validation
            kept, held = index[:, :-500].flatten(), index[:, -500:].flatten()
            held = held[torch.randperm(len(held), generator=torch.Generator().manual_seed(0))]
            self.train, self.val = (x[kept], y[kept]), (x[held], y[held])
        else:
            splits = load_data(name)
            parts = (splits.part(part) for part in ("train", "val", "test"))
            self.train, self.val, self.test = (((x * 255).round().to(torch.uint8), y) for x, y in parts)

    def batches(self, seed: int, epoch: int) -> list[tuple[Tensor, Tensor]]:
        """The batches of an epoch, augmented."""
        x, y = self.train
        g = torch.Generator().manual_seed(1000 * seed + epoch)
        for index in torch.randperm(len(y), generator=g).split(BATCH):
            z = x[index] if self.augment is None else self.augment(x[index], g)
            yield as_input(z), y[index]


def as_input(x: Tensor) -> Tensor:
    """From uint8 to [0, 1]."""
    return (x.float() / 255).contiguous()


def _folder(folder: Path) -> tuple[Tensor, Tensor]:
    cache = folder.with_suffix(".npz")
    if not cache.exists():
        classes = sorted(path for path in folder.iterdir() if path.is_dir())
        files = [(file, label) for label, path in enumerate(classes) for file in sorted(path.iterdir())]
        x = np.stack([np.asarray(Image.open(file).convert("RGB")) for file, _ in files])
        np.savez(cache, x=x.transpose(0, 3, 1, 2), y=np.array([label for _, label in files]))
    with np.load(cache) as found:
        return torch.from_numpy(found["x"]).contiguous(), torch.from_numpy(found["y"]).long()


class ChannelsLast(nn.Module):
    """A network whose inputs are laid out with the channels last: 1.5 times as fast for narrow residual networks."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Change the layout, which changes no value."""
        return self.inner(x.contiguous(memory_format=torch.channels_last))


def network(name: str, shape: torch.Size) -> nn.Module:
    """``resnet8-16``: depth and width; ``cnn``."""
    if name == "cnn":
        return CNN(shape, 10)
    depth, width = name.removeprefix("resnet").split("-")
    model = ResNet(shape, 10, depth=int(depth), width=int(width), activation="silu")
    return ChannelsLast(model).to(memory_format=torch.channels_last)


def train(run: Run, data: Data, folder: Path) -> tuple[nn.Module, Rule, dict]:
    """Train to the end, with a checkpoint each epoch."""
    torch.manual_seed(run.seed)
    model = network(run.network, data.train[0].shape[1:])
    rule = parse(run.rule, run.threat, seed=run.seed)
    rate, decay = RATES["cnn" if run.network == "cnn" else "resnet"]
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, weight_decay=decay)
    steps = -(-len(data.train[1]) // BATCH) * run.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps + 1)
    watched = as_input(data.val[0][:WATCHED]), data.val[1][:WATCHED]
    guard = Guard(run.threat, *watched)
    columns = ("seconds", "alignment", "clean", "robust", "loss", "linearity")
    course: dict[str, list[float]] = {name: [] for name in columns}
    kept = folder / f"{run.name}.pt"
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        rule.load_state_dict(state["rule"])
        course = json.loads(state["course"])
    for epoch in range(len(course["loss"]), run.epochs):
        model.train()
        start, total, straight = time.process_time(), 0.0, []
        for x, y in data.batches(run.seed, epoch):
            rule.progress = schedule.last_epoch / steps
            loss = rule(model, x, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
            straight.append(float(rule.measured.get("linearity", torch.nan)))
        course["seconds"].append(time.process_time() - start)
        course["loss"].append(total / (steps / run.epochs))
        course["linearity"].append(sum(straight[-100:]) / len(straight[-100:]))
        found = guard.measure(model)
        course["alignment"].append(found.get("alignment", torch.nan))
        course["robust"].append(found["robust_accuracy"])
        with torch.no_grad():
            course["clean"].append(float((model.eval()(watched[0]).argmax(1) == watched[1]).double().mean()))
        print(run.name, epoch + 1, {key: round(values[-1], 3) for key, values in course.items()}, flush=True)
        torch.save(
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": {k: v for k, v in schedule.state_dict().items() if not callable(v)},
                "rule": rule.state_dict(),
                "course": json.dumps(course),
            },
            kept,
        )
    return model, rule, course


def row(run: Run, data: Data, folder: Path) -> dict[str, object]:
    """Train and judge one run."""
    model, rule, course = train(run, data, folder)
    x, y = as_input(data.val[0][:JUDGED]), data.val[1][:JUDGED]
    attacked, _ = survivors(model, x, y, run.threat.radius, WHITE)
    found = {"clean": attacked["clean"], "apgd_ce": attacked["apgd-ce"], "robust": attacked["apgd-t3"]}
    rounded = {key: " ".join(f"{value:.3f}" for value in values) for key, values in course.items()}
    return {
        "name": run.name, "data": run.data, "network": run.network, "rule": run.rule,
        "threat": f"{run.threat.norm}:{run.threat.eps}", "epochs": run.epochs, "seed": run.seed,
        "seconds": round(sum(course["seconds"]), 1), "passes": round(rule.cost.passes / 3, 2),
        "alignment": rounded["alignment"], "linearity": rounded["linearity"], "epoch_clean": rounded["clean"],
        "epoch_robust": rounded["robust"], **{key: round(value, 4) for key, value in found.items()},
    }  # fmt: skip


def queue_parser(description: str | None) -> argparse.ArgumentParser:
    """Options of a script that works a queue of runs off into a table."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("queue", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    return parser


def names_in(table: Path) -> set[str]:
    """The runs that have a row."""
    return {line["name"] for line in csv.DictReader(table.open())} if table.exists() else set()


def append(table: Path, columns: list[str], found: dict[str, object]) -> None:
    """Add a row."""
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns)
        if not file.tell():
            writer.writeheader()
        writer.writerow(found)


def main() -> None:
    """Work the queue off."""
    parser = queue_parser(__doc__)
    parser.add_argument("--wait", action="store_true", help="wait for further lines at the end of the queue")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    data: dict[str, Data] = {}
    while True:
        done = names_in(arguments.table)
        lines = [line for line in arguments.queue.read_text().splitlines() if line.strip() and line[0] != "#"]
        left = [run for run in map(Run.read, lines) if run.name not in done]
        if not left and not arguments.wait:
            return
        if not left:
            time.sleep(5)
            continue
        run = left[0]
        if run.data not in data:
            data[run.data] = Data(run.data, arguments.data_dir)
        append(arguments.table, COLUMNS, row(run, data[run.data], arguments.out))


if __name__ == "__main__":
    main()
