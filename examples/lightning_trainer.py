"""Lightning's Trainer: the rule is an attribute of your module; its generator goes into Lightning's checkpoints."""

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import holomorph as hm

THREAT = hm.ThreatModel("inf", 0.1)


class Robust(L.LightningModule):
    """A classifier that is trained by a rule."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 10))
        self.rule = hm.FiniteEnergy(THREAT)

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        """Minimise the rule."""
        self.rule.progress = self.global_step / self.trainer.estimated_stepping_batches  # weights ramp up
        return self.rule(self.model, *batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Use Adam."""
        return torch.optim.Adam(self.parameters(), lr=3e-3)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the rule's generator."""
        checkpoint["rule"] = self.rule.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore it."""
        self.rule.load_state_dict(checkpoint["rule"])


def main() -> float:
    L.seed_everything(0, verbose=False)
    digits = hm.data.load("digits")
    loader = DataLoader(TensorDataset(digits.x_train, digits.y_train), batch_size=64, shuffle=True)
    module = Robust()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(max_epochs=15, accelerator="cpu", devices=1, enable_model_summary=False, **quiet)
    trainer.fit(module, loader)
    moved = hm.PGD(THREAT).perturbed(module.model, digits.x_test, digits.y_test)
    return (module.model(moved).argmax(1) == digits.y_test).double().mean().item()


if __name__ == "__main__":
    print(f"right under PGD: {main():.3f}")
