"""The page on loops: every block of it runs as it stands, where its library is installed."""

import importlib
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import make_moons
from sklearn.model_selection import GridSearchCV
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import holomorph as hm

PAGE = (Path(__file__).parents[2] / "docs/loops.md").read_text()
BLOCKS = dict(re.findall(r"## ([^\n]+)\n(?:(?!## ).)*?```python\n(.*?)```", PAGE, re.S))


def images() -> dict[str, Any]:
    """What a loop on small images has at hand."""
    torch.manual_seed(0)
    data = TensorDataset(torch.rand(64, 3, 8, 8), torch.arange(64) % 10)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
    return {"hm": hm, "torch": torch, "model": model, "optimizer": torch.optim.SGD(model.parameters(), 0.01),
            "loader": DataLoader(data, 32), "rule": hm.FiniteEnergy("inf:8/255"), "steps": 2, "epochs": 1}  # fmt: skip


class Pictures(torch.utils.data.Dataset[Any]):
    transform: Any = None

    def __len__(self) -> int:
        return 64

    def __getitem__(self, i: int) -> Any:
        return self.transform(pytest.importorskip("PIL.Image").new("RGB", (80, 80), (3 * i, 9, 9))), i % 10


X, Y = make_moons(120, noise=0.1, random_state=0)

#: Which library a section needs, and what its block has at hand besides.
LIBRARIES: dict[str, tuple[str, Callable[[Any], dict[str, Any]]]] = {
    "Plain torch": ("torch", lambda _: {}),
    "Lightning": ("lightning", lambda L: {"L": L, "MyNet": lambda: images()["model"]}),
    "timm": ("timm", lambda timm: {"timm": timm, "dataset": Pictures()}),
    "accelerate": (
        "accelerate", lambda it: {"accelerator": it.Accelerator(cpu=True, gradient_accumulation_steps=2)}
    ),
    "Hugging Face Trainer": (
        "transformers", lambda it: {"Trainer": it.Trainer, "cross_entropy": nn.functional.cross_entropy}
    ),
    "skorch": (
        "skorch", lambda it: {"NeuralNetClassifier": it.NeuralNetClassifier,
                              "to_tensor": importlib.import_module("skorch.utils").to_tensor},
    ),
    "scikit-learn": ("sklearn", lambda _: {"GridSearchCV": partial(GridSearchCV, cv=2), "X": X, "y": Y}),
}  # fmt: skip


def used(found: dict[str, Any], tmp: Path) -> None:
    """Train by the classes that a block defines."""
    start = images()
    if "RobustTrainer" in found:
        from transformers import BertConfig, BertForSequenceClassification, TrainingArguments

        config = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, num_labels=2,
                            intermediate_size=16)  # fmt: skip
        rows = [{"input_ids": torch.arange(5), "attention_mask": torch.ones(5), "labels": i % 2} for i in range(8)]
        told = TrainingArguments(str(tmp), max_steps=2, report_to=[], use_cpu=True, save_strategy="no")
        trainer = found["RobustTrainer"](BertForSequenceClassification(config), told, train_dataset=rows)
        assert trainer.train().training_loss > 0
        assert trainer.evaluate(rows)["eval_loss"] > 0
    elif "NeuralNetClassifier" in found:
        x, y = start["loader"].dataset.tensors
        net = found["Robust"](start["model"], criterion=nn.CrossEntropyLoss, max_epochs=2, verbose=0)
        assert net.fit(x.numpy(), y.numpy()).history[-1, "train_loss"] > 0
    elif "Robust" in found:
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = found["L"].Trainer(max_epochs=1, accelerator="cpu", enable_model_summary=False, **quiet)
        trainer.fit(found["Robust"](), start["loader"], start["loader"])
        assert trainer.callback_metrics["val_robust"] >= 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:.*workers")
@pytest.mark.parametrize("section", LIBRARIES)
def test_every_block_of_the_page_runs(section: str, tmp_path: Path) -> None:
    library, given = LIBRARIES[section]
    found = images() | given(pytest.importorskip(library))
    before = [p.detach().clone() for p in found["model"].parameters()]
    exec(BLOCKS[section], found)
    used(found, tmp_path)
    if "optimizer.step()" in BLOCKS[section]:
        now = list(found["model"].parameters())
        assert all(p.isfinite().all() for p in now)
        assert not torch.equal(before[0], now[0])


def test_every_section_with_code_is_tested() -> None:
    assert BLOCKS.keys() == LIBRARIES.keys()
