"""The mixin for Lightning: what it logs, and what its checkpoints keep."""

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from holomorph.integrations.lightning import RobustTraining, robust_accuracy
from holomorph.rules import PGD, FreeAT, Plain

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:lightning"),
    pytest.mark.filterwarnings("ignore:.*isinstance.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory"),
]


class Module(RobustTraining, L.LightningModule):
    def __init__(self, rule: object = None) -> None:
        super().__init__()
        self.layer, self.rule = nn.Linear(2, 2), rule or FreeAT("inf:0.05", repeats=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.1)


def loader() -> DataLoader:
    x = torch.rand(64, 2, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(x, (x[:, 0] > x[:, 1]).long()), 16)


def test_it_trains_validates_under_attack_and_keeps_the_rule(tmp_path):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(max_epochs=30, accelerator="cpu", devices=1, default_root_dir=tmp_path, **quiet)
    module = Module()
    trainer.fit(module, loader(), loader())
    metrics = trainer.callback_metrics
    assert metrics["val_accuracy"] > 0.8
    assert 0.3 < metrics["val_robust"] <= metrics["val_accuracy"]
    assert module.rule.progress > 0.9
    trainer.save_checkpoint(tmp_path / "kept.ckpt")
    again = Module()
    again.on_load_checkpoint(torch.load(tmp_path / "kept.ckpt", weights_only=False))
    torch.testing.assert_close(again.rule.delta.float(), module.rule.delta)


def test_without_a_threat_only_the_accuracy_is_logged():
    x, y = torch.rand(8, 2), torch.arange(8) % 2
    assert robust_accuracy(nn.Linear(2, 2), x, y, Plain(), 5).keys() == {"accuracy"}
    model = nn.Linear(2, 2)
    with torch.inference_mode():
        found = robust_accuracy(model, x, y, PGD("inf:0.1"), 5)
    assert found["robust"] <= found["accuracy"]
