"""A learning rule in a LightningModule: training by it, robust accuracy in validation, its state in checkpoints."""

from typing import Any

from torch import Tensor, nn

from holomorph.contract.classifier import Classifier
from holomorph.contract.model import Guest
from holomorph.contract.snapshot import under_attack
from holomorph.contract.units import within
from holomorph.rules import PGD, Rule


class RobustTraining:
    """Mix this into a ``LightningModule``, before it, and set ``rule``.

    ``training_step`` minimises the rule, whose progress follows the trainer's. ``validation_step`` logs the accuracy
    (``val_accuracy``) and, for a rule with a threat, that under a PGD attack (``val_robust``), an upper bound; it
    works although Lightning validates without gradients. The rule's state goes into Lightning's checkpoints.

    Attributes
    ----------
    rule:
        The learning rule.
    classifier:
        What is trained and attacked: the module itself unless your class says otherwise.
    attack_steps:
        Steps of the attack in validation; 0 leaves it out.

    Examples
    --------
    A whole program is on the page docs/loops.md::

        class Robust(RobustTraining, L.LightningModule):
            def __init__(self):
                super().__init__()
                self.model, self.rule = MyNet(), hm.FiniteEnergy("inf:8/255")

            def forward(self, x):
                return self.model(x)

            def configure_optimizers(self):
                return torch.optim.Adam(self.parameters(), lr=3e-3)
    """

    rule: Rule
    attack_steps: int = 10

    @property
    def classifier(self) -> nn.Module:
        """The network that the rule is applied to."""
        found: Any = self
        return found

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the rule's loss, and log it."""
        lightning: Any = self
        self.rule.progress = min(1.0, lightning.global_step / max(1, lightning.trainer.estimated_stepping_batches))
        loss = self.rule(self.classifier, *batch)
        lightning.log("train_loss", loss.detach())
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log the accuracy on the samples, and at the points that the attack finds."""
        lightning: Any = self
        x, y = batch
        for name, share in robust_accuracy(self.classifier, x, y, self.rule, self.attack_steps).items():
            lightning.log(f"val_{name}", share, prog_bar=True, batch_size=len(x))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the rule's state."""
        checkpoint["holomorph_rule"] = self.rule.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the rule's state up again."""
        self.rule.load_state_dict(checkpoint["holomorph_rule"])


def robust_accuracy(model: nn.Module, x: Tensor, y: Tensor, rule: Rule, steps: int) -> dict[str, float]:
    """Accuracy of one batch, ``accuracy``, and under PGD against the rule's threat, ``robust``; an upper bound.

    >>> import torch
    >>> sorted(robust_accuracy(nn.Linear(2, 2), torch.rand(4, 2), torch.tensor([0, 1, 0, 1]), PGD("inf:0.1"), 2))
    ['accuracy', 'robust']
    """
    with under_attack(model):
        classifier = Classifier(model)
        right = classifier.predictions(x) == y
        found = {"accuracy": float(right.float().mean())}
        threat = rule.defends_against
        if threat is not None and steps > 0:
            inside, start = within(classifier, x, threat)
            moved = PGD(threat, steps=steps).perturbed(Guest(inside), start.clone(), y.clone())
            found["robust"] = float((right & (Classifier(inside).predictions(moved) == y)).float().mean())
    return found
