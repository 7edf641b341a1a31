"""The whole AutoAttack, Square included, on test images for runs that ``train`` has finished; a row for each run.

A run that has a row is left out. ``right`` holds a 0 or 1 for each test image, in the same order for every run, so that
two runs can be compared image by image.

    python -m studies.frontier.finals queue.txt finals.csv --data-dir CIFAR --out runs
"""

import time
from pathlib import Path

import torch

from studies.frontier.attacks import ALL, survivors
from studies.frontier.train import Data, Run, append, as_input, names_in, network, queue_parser

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
    arguments = queue_parser(__doc__).parse_args()
    torch.set_num_threads(1)
    data = Data("cifar10", arguments.data_dir)
    done = names_in(arguments.table)
    for run in map(Run.read, arguments.queue.read_text().splitlines()):
        if run.name not in done:
            append(arguments.table, COLUMNS, row(run, data, arguments.out))


if __name__ == "__main__":
    main()
