"""What keeping freed memory saves of a training step: plain and N-FGSM, by turns in fresh processes.

python -m studies.calculus.allocator --turns 5
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

STEPS = 12


def measure(kept: bool) -> dict[str, float]:
    """CPU seconds a step, user and system, of this process; the first two steps are left out."""
    import torch

    from holomorph.cli.allocator import keep_memory
    from holomorph.rules import NFGSM, Plain
    from holomorph.threats import ThreatModel
    from studies.common import network

    if kept:
        keep_memory()
    torch.set_num_threads(1)
    model, found = network(0), {}
    x, y = torch.rand(256, 1, 28, 28), torch.randint(0, 10, (256,))
    for rule in (Plain(), NFGSM(ThreatModel("inf", 0.1))):
        for step in range(STEPS):
            if step == 2:
                begin = time.process_time()
            model.zero_grad()
            rule(model, x, y).backward()
        found[rule.name] = (time.process_time() - begin) / (STEPS - 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--once", choices=["kept", "returned"])
    wanted = parser.parse_args()
    if wanted.once:
        print(json.dumps(measure(wanted.once == "kept")))
        return
    from studies.kept import results, save

    found: dict[str, list[dict[str, float]]] = {"kept": [], "returned": []}
    for _ in range(wanted.turns):
        for way, rows in found.items():
            done = subprocess.run(
                [sys.executable, "-m", "studies.calculus.allocator", "--once", way], capture_output=True, check=True
            )
            rows.append(json.loads(done.stdout))
    ratios = {
        rule: sorted(a[rule] / b[rule] for a, b in zip(found["kept"], found["returned"], strict=True))
        for rule in found["kept"][0]
    }
    summary = {rule: {"median": statistics.median(r), "least": r[0], "most": r[-1]} for rule, r in ratios.items()}
    save(results("calculus") / "allocator.json", {"kept over returned": summary, **found})
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
