"""Two processes on gloo train one network: the numbers of one, the same statistics, one sentence at a loss."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from torch.torch_version import TorchVersion

import two_processes
from holomorph import rules
from holomorph.errors import ConfigError
from holomorph.records.training import TrainRecord
from holomorph.training.sharded import apart

pytestmark = pytest.mark.slow

#: Rules whose draws no setting switches off: one process on a half batch draws what each of the two draws.
DRAWING = {"trades", "gradalign", "llr", "jacobian", "harmonic", "fgsm-pgi"}


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start a task in two processes."""
    command = [sys.executable, two_processes.__file__, str(folder), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(folder: Path, *words: str) -> list[dict[str, Any]]:
    """Carry a task out and return what each process ended with."""
    process = start(folder, *words)
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]


def stopped(folder: Path, number: int) -> tuple[str, float]:
    """Send one of two training processes a signal within an epoch; return what was said, and after how long."""
    process = start(folder, "tensors", "slowly")
    pid, deadline = folder / "rank1.pid", time.monotonic() + 400
    while not list((folder / "tensors" / "checkpoints").glob("epoch-*batch*.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(int(pid.read_text()), number)
    told = time.monotonic()
    output, _ = process.communicate(timeout=60)
    return output, time.monotonic() - told


def close(one: dict[str, Any], other: dict[str, Any]) -> None:
    """The same weights up to the order of sums."""
    for key, value in one["weights"].items():
        torch.testing.assert_close(value, other["weights"][key], rtol=0, atol=1e-10)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one process trains, on tensors."""
    fabric = Fabric(accelerator="cpu", devices=1)
    return two_processes.train(fabric, tmp_path_factory.mktemp("alone"), "tensors")


def test_two_processes_train_what_one_trains(tmp_path: Path) -> None:
    first, second = finished(tmp_path, "all")
    one = {form: two_processes.train(Fabric(accelerator="cpu", devices=1), tmp_path / "one", form)
           for form in two_processes.FORMS}  # fmt: skip
    for form in two_processes.FORMS:
        close(first[form], one[form])
        close(second[form], one[form])
        assert first[form]["losses"] == second[form]["losses"] == pytest.approx(one[form]["losses"], abs=1e-6)
        assert first[form]["accuracy"] == second[form]["accuracy"] == one[form]["accuracy"]
    for name in rules.RULES.keys() - {"weakly-harmonic"}:  # whose residual is a mean over each process's own batch
        parts = [slice(0, 4), slice(4, 8)] if name in DRAWING else [slice(8)]
        alone = [two_processes.gradients(name, part) for part in parts]
        expected = [sum(slopes) / len(parts) for slopes in zip(*alone, strict=True)]
        for found, wanted in zip(first["gradients"][name], expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12, msg=name)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch on casts inside autocast
def test_in_mixed_precision_statistics_are_shared_and_perturbations_each_processs_own(tmp_path: Path) -> None:
    first, second = finished(tmp_path, "norms")
    for found in (first, second):
        for run in ("resumed False", "resumed True"):
            for key, value in found[run]["weights"].items():
                assert torch.equal(value, first["resumed False"]["weights"][key]), key
            assert torch.equal(found[run]["delta"], found["resumed False"]["delta"])
    assert not torch.equal(first["resumed True"]["delta"], second["resumed True"]["delta"])


@pytest.mark.parametrize("launcher", ["its own", "torchrun"])
def test_the_command_trains_on_several_devices(tmp_path: Path, launcher: str) -> None:
    torchrun = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if launcher == "torchrun" else []
    )
    words = ["train", "--devices", "2", "--epochs", "1", "--rule", "plain", "--quiet", "--out", str(tmp_path / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, *torchrun, "-m", "holomorph", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Trained cnn by plain") == 1
    record = TrainRecord.load(tmp_path / "run" / "train.json")
    assert record.processes == 2
    assert record.baseline is not None


def test_a_lost_process_ends_the_other_with_one_sentence_and_one_process_goes_on(
    tmp_path: Path, alone: dict[str, Any]
) -> None:
    output, seconds = stopped(tmp_path, signal.SIGKILL)
    assert seconds < 30
    assert output.count("Another process of the training was lost (this is number 0 of 2)") == 1
    assert "Traceback" not in output
    close(two_processes.train(Fabric(accelerator="cpu", devices=1), tmp_path, "tensors", resume=True), alone)


def test_sigterm_to_one_stops_both_at_a_checkpoint_from_which_they_go_on(tmp_path: Path, alone: dict[str, Any]) -> None:
    output, _ = stopped(tmp_path, signal.SIGTERM)
    assert "The training was told to stop at step" in output
    assert "Traceback" not in output
    first, second = finished(tmp_path, "tensors", "resume")
    close(first, alone)
    close(second, alone)


@pytest.mark.filterwarnings("ignore:In epoch 4 the robust accuracy fell")  # which the guard is to mend
def test_weights_that_are_shared_out_train_what_whole_ones_train(tmp_path: Path, alone: dict[str, Any]) -> None:
    one = Fabric(accelerator="cpu", devices=1)
    two_processes.train(one, tmp_path / "taken up", "tensors")
    (tmp_path / "taken up/tensors/checkpoints/epoch-0008.json").unlink()
    first, second = finished(tmp_path, "sharded")
    expected = {name: two_processes.by_rule(one, name) for name in two_processes.RULES}
    for found in (first, second):
        for task in ("anew", "taken up"):
            close(found[task], alone)
            assert found[task]["losses"] == pytest.approx(alone["losses"], abs=1e-6)
        for name, trained in expected.items():
            close(found[name], trained)
            assert found[name]["doublings"] == trained["doublings"] == (1 if name == "unlearning" else 0)
    kept = tmp_path / "anew/tensors/checkpoints"
    assert len(list(kept.glob("epoch-*.shares"))) == 2
    assert len(list(kept.glob("epoch-0007.shares/*.safetensors"))) == 2
    (kept / "epoch-0008.json").unlink()
    close(two_processes.train(one, tmp_path / "anew", "tensors", resume=True), alone)
    sentences = (
        "The optimizer holds no parameter of the model", "AWP calls the network with other weights, which FSDP2",
        "The strategy's parallelize_fn leaves weight whole", "The model's weights are shared out already",
        "Shares of complex numbers in double precision cannot be saved",
    )  # fmt: skip
    assert all(sentence in said for sentence, said in zip(sentences, first["refused"], strict=True))
    output, _ = start(tmp_path, "split").communicate(timeout=400)
    assert "ModelParallelStrategy splits layers over 2 processes, which fit cannot feed" in output


def test_an_older_torch_shares_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    fabric = Fabric(accelerator="cpu", devices=1, strategy=ModelParallelStrategy(two_processes.shard))
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.9.1+cpu"))
    with pytest.raises(ConfigError, match=r"shared out by torch 2\.13 or newer, not 2\.9\.1\+cpu\. Update it"):
        apart(torch.nn.Linear(2, 2), fabric)
