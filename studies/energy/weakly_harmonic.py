"""Does the weakly-harmonic rule, which takes no second derivative, lower its residual on test images of 784 inputs?"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from holomorph import ThreatModel
from holomorph.calculus import Noise
from holomorph.calculus.ascent import maximise
from holomorph.calculus.norms import noise_length
from holomorph.data import as_input, load_data
from holomorph.rules import Dirichlet, Plain, Rule, WeaklyHarmonic
from studies.kept import keep, results

THREAT, EPOCHS, NOISE = ThreatModel("inf", 0.05), 15, Noise(0.05 / 3**0.5)
LENGTH = noise_length(torch.empty(1, 784), THREAT)
RULES = {  # the last minimises what the equation of the second belongs to
    "plain": lambda _: Plain(),
    "weakly-harmonic": lambda seed: WeaklyHarmonic(THREAT, weight=20.0, seed=seed),
    "dirichlet": lambda _: Dirichlet(
        ThreatModel(2, LENGTH), observable="logits", weight=0.5, measure=NOISE, estimator="random-projection"
    ),
}


def trained(rule: Rule, seed: int) -> dict[str, float]:
    data, draws, found = load_data("fashion-mnist"), torch.Generator().manual_seed(seed), {}
    x, y = as_input(data.x_train[:3000], data.box).flatten(1), data.y_train
    images, labels = as_input(data.x_test, data.box).flatten(1), data.y_test
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(784, 128), nn.GELU(), nn.Linear(128, 128), nn.GELU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for epoch in range(EPOCHS):
        for k, rows in enumerate(torch.randperm(3000, generator=draws).split(125)):
            rule.progress = (epoch + k / 24) / EPOCHS
            optimizer.zero_grad()
            rule(model, x[rows], y[rows]).backward()
            optimizer.step()
        judge = WeaklyHarmonic(THREAT, seed=99)  # other test functions than those of the training
        judge(model, images, labels)
        found[f"residual, {epoch + 1} epochs"] = float(judge.measured["residual"])
    loss = lambda z: cross_entropy(model(z), labels[:1000], reduction="none")  # noqa: E731
    worst: Tensor = maximise(loss, images[:1000], THREAT, draws, steps=20)
    found["clean"] = float((model(images).argmax(1) == labels).double().mean())
    return found | {"withstands": float((model(worst).argmax(1) == labels[:1000]).double().mean())}


if __name__ == "__main__":
    pairs = [(name, seed) for name in RULES for seed in range(3)]
    work = {f"{name}, seed {seed}": lambda n=name, s=seed: trained(RULES[n](s), s) for name, seed in pairs}
    keep(results("energy") / "weakly-harmonic.json", work)
