"""Lightning's Trainer: the mixin brings the rule into training, validation under attack, and checkpoints."""

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import holomorph as hm
from holomorph.integrations.lightning import RobustTraining


class Robust(RobustTraining, L.LightningModule):
    """A classifier that is trained by a rule."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 10))
        self.rule = hm.FiniteEnergy(hm.ThreatModel("inf", 0.1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.model(x)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Use Adam."""
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def main() -> float:
    L.seed_everything(0, verbose=False)
    digits = hm.data.load_data("digits")
    training = DataLoader(TensorDataset(digits.x_train, digits.y_train), batch_size=64, shuffle=True)
    validation = DataLoader(TensorDataset(digits.x_val, digits.y_val), batch_size=120)
    module = Robust()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(max_epochs=15, accelerator="cpu", devices=1, enable_model_summary=False, **quiet)
    trainer.fit(module, training, validation)
    return float(trainer.callback_metrics["val_robust"])


if __name__ == "__main__":
    print(f"predicted correctly under PGD: {main():.3f}")
