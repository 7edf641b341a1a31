"""Samples shared among processes: two find the same numbers as one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import json, sys, warnings
warnings.filterwarnings("ignore")
import torch
from lightning_fabric import Fabric
from holomorph.evaluation.evaluate import evaluate
from holomorph.types import ThreatModel

torch.set_num_threads(1)

def work(fabric, path):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.GELU(), torch.nn.Linear(8, 4))
    x = torch.rand(14, 6, generator=torch.Generator().manual_seed(1))
    y = model(x).argmax(1)
    record = evaluate(model, x, y, ThreatModel("inf", 0.15), quick=True, checks=False, batch_size=5, fabric=fabric)
    if fabric is None or fabric.global_rank == 0:
        result = record.threats[0]
        open(path, "w").write(json.dumps([record.robust, result.broken_by, result.smallest]))

if __name__ == "__main__":
    Fabric(accelerator="cpu", devices=2, strategy="ddp_fork").launch(work, "two.json")
    work(None, "one.json")
"""


def test_two_processes_find_the_numbers_of_one(tmp_path: Path) -> None:
    (tmp_path / "share.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "share.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    assert one == two
    assert 0 < one[0] < 1
