"""Batches shared among processes: two find the numbers of one, also when one of them is killed on the way."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from holomorph.errors import ConfigError
from holomorph.evaluation.processes import share

#: The model of the second process kills it in its 151st forward pass, as the system does when memory ends.
SCRIPT = """
import json, os, signal
from pathlib import Path
import numpy as np
import torch
from torch import nn
from holomorph.cli.evaluate import EvaluationRequest, run_evaluation
from holomorph.cli.models import NamedModel
from holomorph.errors import WorkerError
from holomorph.evaluation.processes import share

class Mortal(nn.Sequential):
    passes = 0

    def forward(self, x):
        self.passes += 1
        if Path("mortal").exists() and os.environ.get("LOCAL_RANK") == "1" and self.passes > 150:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)

def small():
    model = Mortal(nn.Linear(6, 4))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return model

def asked(name):
    named = NamedModel("share:small", data="npz:data.npz", box=(0.0, 1.0))
    settings = {"out": Path(name), "n": 12, "batch_size": 4, "quick": True, "resume": True}
    return EvaluationRequest(named, "inf:0.1", None, settings, shown=False)

if __name__ == "__main__":
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    x = rng.random((12, 6), dtype=np.float32)
    y = x @ small()[0].weight.detach().numpy().T + small()[0].bias.detach().numpy()
    parts = ("train", "val", "test")
    labels = {"train": np.arange(12) % 4, "val": y.argmax(1), "test": y.argmax(1)}
    np.savez("data.npz", **{f"x_{p}": x for p in parts}, **{f"y_{p}": labels[p] for p in parts})
    Path("mortal").touch()
    try:
        share(run_evaluation, asked("two"), devices=2, start="fork")
    except WorkerError as error:
        left = sorted(path.name for path in Path("two").iterdir())
        kept = [path.suffix for path in Path("two/evaluation.state").iterdir()]
        Path("lost.json").write_text(json.dumps([str(error), left, kept]))
    Path("mortal").unlink()
    share(run_evaluation, asked("two"), devices=2, start="fork")
    run_evaluation(None, asked("one"))
"""


@pytest.mark.slow
def test_a_killed_process_costs_one_sentence_and_no_figure(tmp_path: Path) -> None:
    (tmp_path / "share.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "share.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said, left, kept = json.loads((tmp_path / "lost.json").read_text())
    assert said.startswith("A process of the evaluation was lost (SIGKILL;")
    assert said.endswith("the same command with --resume goes on from there.")
    assert left == [".evaluation.lock", "evaluation.state"], "neither a record nor adversarial inputs"
    assert kept, "finished batches are there"
    assert set(kept) == {".npz"}, "and nothing half written"
    one, two = (json.loads((tmp_path / name / "evaluation.json").read_text()) for name in ("one", "two"))
    assert two["threats"] == one["threats"]
    assert two["checks"] == one["checks"]
    assert 0 < two["robust"] < two["clean"]


def test_an_accelerator_of_another_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="accelerator"):
        share(print, devices=1, accelerator="abacus")
