"""Two hosts made of network namespaces, joined by a virtual Ethernet pair, train together while processes are killed.

    sudo python -m studies.scale.two_hosts OUT --kills 20

It needs Linux and root. Plain training draws no noise, so that the weights must be those of one process.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from holomorph.records.training import TrainRecord

HOSTS, PORT = ("holomorph_a", "holomorph_b"), 29611
TRAIN = ["-m", "holomorph", "train", "--data", "digits", "--model", "mlp", "--rule", "plain", "--quiet"]


def hosts() -> None:
    """Make two hosts that see each other and nothing else."""
    for host in HOSTS:
        subprocess.run(["ip", "netns", "del", host], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "add", host], check=True)
    ends = [("link_a", "10.77.0.1/24"), ("link_b", "10.77.0.2/24")]
    subprocess.run(["ip", "link", "add", "link_a", "type", "veth", "peer", "name", "link_b"], check=True)
    for host, (link, address) in zip(HOSTS, ends, strict=True):
        subprocess.run(["ip", "link", "set", link, "netns", host], check=True)
        for words in (["addr", "add", address, "dev", link], ["link", "set", link, "up"], ["link", "set", "lo", "up"]):
            subprocess.run(["ip", "-n", host, *words], check=True)


def start(rank: int, out: Path, words: list[str]) -> subprocess.Popen[str]:
    """Start the process of one host by torchrun."""
    run = ["--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(rank), "--master-addr", "10.77.0.1",
           "--master-port", str(PORT)]  # fmt: skip
    command = ["ip", "netns", "exec", HOSTS[rank], sys.executable, "-m", "torch.distributed.run", *run, *TRAIN,
               "--devices", "1", "--nodes", "2", "--out", str(out), *words]  # fmt: skip
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": f"link_{'ab'[rank]}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def worker(torchrun: subprocess.Popen[str]) -> int:
    """The process that trains, a child of torchrun."""
    return int(Path(f"/proc/{torchrun.pid}/task/{torchrun.pid}/children").read_text().split()[0])


def killed(out: Path, words: list[str], draws: random.Random) -> dict[str, Any]:
    """Kill the training process of one host after some more checkpoints; how long does the other take to end?"""
    both, before = [start(rank, out, words) for rank in range(2)], checkpoints(out)
    aim = before + draws.randint(1, 3)
    while checkpoints(out) < aim:
        time.sleep(0.02)
        if any(host.poll() is not None for host in both):
            return {"finished": True}
    time.sleep(draws.random() * 0.3)
    lost = draws.randrange(2)
    os.kill(worker(both[lost]), signal.SIGKILL)
    told = time.monotonic()
    said, _ = both[1 - lost].communicate(timeout=120)
    seconds = time.monotonic() - told
    both[lost].communicate(timeout=120)
    sentences = [line for line in said.splitlines() if line.startswith("holomorph:")]
    return {"host": lost, "seconds": seconds, "sentences": len(sentences), "epochs": checkpoints(out)}


def checkpoints(out: Path) -> int:
    """The epochs that are finished."""
    return max((int(path.stem.split("-")[1]) for path in out.glob("checkpoints/epoch-*.json")), default=0)


def main() -> None:
    """Train in one process, on two hosts, and on two hosts with kills; compare the weights."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    given = parser.parse_args()
    hosts()
    epochs, draws = ["--epochs", str(4 * given.kills)], random.Random(0)
    subprocess.run([sys.executable, *TRAIN, *epochs, "--out", str(given.out / "one")], check=True)
    for host in [start(rank, given.out / "two", epochs) for rank in range(2)]:
        host.communicate(timeout=1800)
    rows = [killed(given.out / "kills", epochs, draws)]
    rows += [killed(given.out / "kills", [*epochs, "--resume"], draws) for _ in range(given.kills - 1)]
    for host in [start(rank, given.out / "kills", [*epochs, "--resume"]) for rank in range(2)]:
        host.communicate(timeout=1800)
    for name, other in (("two", "one"), ("kills", "two")):
        found, wanted = (load_file(given.out / run / "model.safetensors") for run in (name, other))
        difference = max(float((found[key] - wanted[key]).abs().max()) for key in wanted)
        accuracies = [TrainRecord.load(given.out / run / "train.json").history[-1].validation_accuracy
                      for run in (name, other)]  # fmt: skip
        rows.append({"runs": f"{name}, {other}", "difference": difference, "accuracies": accuracies})
    (given.out / "two_hosts.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
