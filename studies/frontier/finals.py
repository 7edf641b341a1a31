"""The whole AutoAttack, Square included, on test images for runs that ``train`` has finished; a row for each run.

A run that has a row is left out. ``right`` holds a 0 or 1 for each test image, in the same order for every run, so that
two runs can be compared image by image.

    python -m studies.frontier.finals queue.txt finals.csv --data-dir CIFAR --out runs
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import torch

from studies.frontier.attacks import ALL, survivors
from studies.frontier.train import Data, Run, as_input, network

#: Test images: the first of a fixed order, the same for every run.
JUDGED = 1000

COLUMNS = ["name", "rule", "threat", "seed", "images", "clean", *ALL, "seconds", "right"]


def row(run: Run, data: Data, folder: Path) -> dict[str, object]:
    """Attack one finished run."""
    x, y = data.test
    index = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[:JUDGED]
    model = network(run.network, x.shape[1:])
    model.load_state_dict(torch.load(folder / f"{run.name}.pt", weights_only=True)["model"])
    start = time.process_time()
    found, left = survivors(model, as_input(x[index]), y[index], run.threat.radius, ALL)
    return {"name": run.name, "rule": run.rule, "threat": str(run.threat), "seed": run.seed, "images": len(index),
            **found, "seconds": round(time.process_time() - start, 1),
            "right": "".join(str(int(kept)) for kept in left)}  # fmt: skip


def main() -> None:
    """Work the queue off."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("queue", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = Data("cifar10", arguments.data_dir)
    done = {line["name"] for line in csv.DictReader(arguments.table.open())} if arguments.table.exists() else set()
    for run in map(Run.read, arguments.queue.read_text().splitlines()):
        if run.name not in done:
            found = row(run, data, arguments.out)
            with arguments.table.open("a", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS)
                if not file.tell():
                    writer.writeheader()
                writer.writerow(found)


if __name__ == "__main__":
    main()
