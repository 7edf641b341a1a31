"""Every attack against a linear model, whose smallest perturbation is known in closed form."""

import math
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from holomorph.attacks import foolbox
from holomorph.attacks.autoattack import AutoAttackStage, standard
from holomorph.attacks.foolbox import FoolboxAttack
from holomorph.attacks.pgd import Pgd, attack_ascent
from holomorph.calculus.norms import norm
from holomorph.contract.classifier import Classifier
from holomorph.contract.snapshot import under_attack
from holomorph.errors import MissingExtraError
from holomorph.threats import ThreatModel

SAMPLES = 24


class Linear:
    """K affine functions on inputs of any shape and box, the samples far from the box's walls."""

    def __init__(self, classes: int, shape: tuple[int, ...], box: tuple[float, float]) -> None:
        generator = torch.Generator().manual_seed(classes)
        n = math.prod(shape)
        self.box = box
        self.weight = torch.randn(classes, n, generator=generator, dtype=torch.float64) / n**0.5
        middle, width = (box[0] + box[1]) / 2, box[1] - box[0]
        drawn = torch.rand(SAMPLES, *shape, generator=generator, dtype=torch.float64) - 0.5
        self.x = middle + 0.2 * width * drawn
        self.bias = -self.weight @ self.x.flatten(1).mean(0)
        self.y = self.logits(self.x).argmax(1)

    def logits(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T + self.bias

    def distance(self, p: str) -> Tensor:
        """min over runners-up of the margin divided by the dual norm of its gradient (the walls are out of reach)."""
        q = {"inf": 1.0, "2": 2.0, "1": math.inf}[p]
        z = self.logits(self.x)
        gap = z.gather(1, self.y[:, None]) - z
        slope = torch.stack([norm(self.weight[k] - self.weight, q) for k in self.y.tolist()])
        return (gap / slope).masked_fill(slope == 0, math.inf).amin(1)

    def threat(self, p: str) -> ThreatModel:
        """eps at the median distance: half the samples can be broken."""
        return ThreatModel(p, float(self.distance(p).median()), self.box)


CASES = {
    "two classes, tabular, wide box": Linear(2, (12,), (-3.0, 5.0)),
    "three classes, image": Linear(3, (1, 8, 8), (0.0, 1.0)),
    "five classes, small colour image": Linear(5, (3, 6, 6), (0.0, 1.0)),
    "four classes, tabular": Linear(4, (30,), (0.0, 255.0)),
}


def broken(case: Linear, threat: ThreatModel, found: Tensor) -> Tensor:
    inside = norm(found - case.x, threat.p) <= threat.radius * (1 + 1e-5)
    inside &= ((found >= case.box[0]) & (found <= case.box[1])).flatten(1).all(1)
    return inside & (case.logits(found).argmax(1) != case.y)


@pytest.mark.parametrize(
    ("name", "p"),
    [
        ("two classes, tabular, wide box", "2"),
        ("two classes, tabular, wide box", "1"),
        ("three classes, image", "inf"),
        ("three classes, image", "2"),
        ("five classes, small colour image", "1"),
        ("four classes, tabular", "inf"),
    ],
)
def test_autoattack_breaks_what_can_be_broken_and_nothing_else(name: str, p: str) -> None:
    case = CASES[name]
    threat, distance = case.threat(p), case.distance(p)
    breakable = distance < 0.95 * threat.radius
    union = torch.zeros(SAMPLES, dtype=torch.bool)
    for stage in standard(threat, len(case.weight)):
        if stage.name == "square":
            continue
        with under_attack(case.logits):
            found = replace(stage, steps=30)(Classifier(case.logits), case.x, case.y, seed=0)
        assert found.shape == case.x.shape
        assert found.dtype == case.x.dtype
        hit = broken(case, threat, found)
        assert not (hit & (distance > threat.radius * 1.0001)).any(), f"{stage.name} broke what cannot be broken"
        union |= hit
    assert (breakable & ~union).sum() == 0


@pytest.mark.parametrize(("p", "name"), [("inf", "three classes, image"), ("2", "four classes, tabular"),
                                         ("1", "two classes, tabular, wide box")])  # fmt: skip
def test_square_stays_inside_and_breaks_easy_samples(p: str, name: str) -> None:
    case = CASES[name]
    threat, distance = ThreatModel(p, 2.5 * case.threat(p).radius, case.box), case.distance(p)
    stage = AutoAttackStage("square", threat, len(case.weight), queries=150)
    with under_attack(case.logits):
        hit = broken(case, threat, stage(Classifier(case.logits), case.x, case.y, seed=0))
    assert stage.needs.access == "black box"
    assert not (hit & (distance > threat.radius)).any()
    assert hit[distance < 0.1 * threat.radius].all()
    assert hit.double().mean() > 0.2


@pytest.mark.parametrize(
    ("name", "attack", "p", "excess"),
    [
        ("three classes, image", "fmn", "inf", 1.01),
        ("three classes, image", "fmn", "2", 1.01),
        ("three classes, image", "fmn", "1", 1.05),
        ("three classes, image", "ddn", "2", 1.3),
        ("three classes, image", "cw", "2", 1.05),
        ("four classes, tabular", "fmn", "inf", 1.01),
        ("four classes, tabular", "fmn", "2", 1.01),
        ("four classes, tabular", "fmn", "1", 1.05),
    ],
)
def test_minimal_norm_attacks_find_the_known_distance(name: str, attack: str, p: str, excess: float) -> None:
    case = CASES[name]
    run = FoolboxAttack(attack, case.threat(p))  # type: ignore[arg-type]
    with under_attack(case.logits):
        found = run(Classifier(case.logits), case.x, case.y, seed=0)
    wrong = case.logits(found).argmax(1) != case.y
    ratio = norm(found - case.x, float(p)) / case.distance(p)
    assert wrong.double().mean() > 0.6  # FMN halts exactly on a flat boundary now and then
    assert float(ratio[wrong].min()) > 0.999, "nearer than the boundary"
    assert float(ratio[wrong].median()) < excess


def test_boundary_attack_reads_answers_only_and_moves_towards_the_boundary() -> None:
    case = CASES["three classes, image"]
    start = FoolboxAttack("boundary", case.threat("2"), steps=1)
    longer = FoolboxAttack("boundary", case.threat("2"), steps=300)
    blind = Classifier(lambda x: case.logits(x.detach()).detach(), differentiable=False)
    with under_attack(case.logits):
        far, near = (norm(a(blind, case.x, case.y, seed=0) - case.x, 2.0) for a in (start, longer))
    assert longer.needs.access == "black box"
    assert float(near.median()) < 0.8 * float(far.median())
    assert (near >= case.distance("2") * 0.999).all()


@pytest.mark.parametrize("p", ["inf", "2", "1"])
@pytest.mark.parametrize("loss", ["margin", "scaled", "cross-entropy"])
def test_our_ascent_reaches_the_best_possible_margin(p: str, loss: str) -> None:
    case = CASES["two classes, tabular, wide box"]
    threat, distance = case.threat(p), case.distance(p)
    run = attack_ascent(Classifier(case.logits), case.x, case.y, threat, steps=60, loss=loss)  # type: ignore[arg-type]
    slack = 1.1 if p == "1" else 1.02  # in l_1 the ascent moves several coordinates at once
    assert run.broken[distance < threat.radius / slack].all()
    assert not run.broken[distance > threat.radius * 1.0001].any()
    assert (run.losses.diff(dim=0) >= 0).all(), "the best loss so far never falls"


def test_restarts_and_the_far_start_stay_inside_the_threat() -> None:
    case = CASES["five classes, small colour image"]
    threat = case.threat("inf")
    found = Pgd(threat, steps=20, restarts=2, far=True)(Classifier(case.logits), case.x, case.y, seed=3)
    assert float(norm(found - case.x, math.inf).max()) <= threat.radius * (1 + 1e-9)
    again = Pgd(threat, steps=20, restarts=2, far=True)(Classifier(case.logits), case.x, case.y, seed=3)
    assert torch.equal(found, again)


def test_stages_state_what_they_are() -> None:
    threat = ThreatModel("1", 12)
    ce, targeted = AutoAttackStage("apgd-ce", threat, 10), AutoAttackStage("apgd-t", threat, 10)
    assert ce.settings() == {"steps": 100, "restarts": 5}
    assert targeted.settings() == {"steps": 100, "restarts": 1, "targets": 5}
    assert AutoAttackStage("fab-t", threat, 3).settings()["targets"] == 2
    assert ce.needs.version.startswith("pyautoattack ")


def test_a_model_keeps_its_modes_gradients_and_random_state() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout())
    model[1].eval()
    model[0].weight.requires_grad_(False)
    state = torch.random.get_rng_state()
    with under_attack(model):
        assert not any(module.training for module in model.modules())
        assert not any(p.requires_grad for p in model.parameters())
        torch.manual_seed(99)
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert [p.requires_grad for p in model[0].parameters()] == [False, True]
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.slow
def test_foolbox_is_imported_where_there_is_no_git_program() -> None:
    code = "from holomorph.attacks import foolbox; print(foolbox.import_foolbox().__name__)"
    env = {k: v for k, v in os.environ.items() if k != "GIT_PYTHON_REFRESH"} | {"PATH": "/nonexistent"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "foolbox", done.stderr


@pytest.mark.parametrize("package", ["foolbox", "pyautoattack"])
def test_a_missing_package_is_named_with_its_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    case = CASES["two classes, tabular, wide box"]
    run = {
        "foolbox": foolbox.import_foolbox,
        "pyautoattack": lambda: standard(case.threat("inf"), 2)[0](Classifier(case.logits), case.x, case.y, 0),
    }[package]
    with pytest.raises(MissingExtraError, match=rf"{package}.*holomorph\[attacks\]"):
        run()


def test_a_restart_asks_for_the_samples_that_are_left_only() -> None:
    case, asked = CASES["three classes, image"], list[int]()
    model = Classifier(lambda x: (asked.append(len(x)), case.logits(x))[1])
    with under_attack(model):
        found = Pgd(case.threat("inf"), steps=5, restarts=2)(model, case.x, case.y, seed=0)
    kept = SAMPLES - int(broken(case, case.threat("inf"), found).sum())
    assert asked == [SAMPLES] * 6 + asked[6:7] * 6
    assert kept <= asked[6] < SAMPLES
