"""The Explanation part: sentences carry the record's own numbers, and parts without a record are left out."""

import numpy as np
import pytest
import torch
from torch import nn

from holomorph.explanation.explain import explain
from holomorph.reporting.parts import explanation
from holomorph.reporting.render import render
from holomorph.reporting.words import percentage
from holomorph.research.convergence import gap
from holomorph.threats import ThreatModel
from holomorph.transferability.transfer import transfer

THREAT = ThreatModel("inf", 0.1)


@pytest.fixture(scope="module")
def data():
    x = torch.rand(24, 3, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0.5).long()


@pytest.fixture(scope="module")
def models():
    def make(slope):
        layer = nn.Linear(3, 2)
        layer.weight.data = torch.tensor([[-slope, 0.5, 0.0], [slope, 0.0, 0.5]])
        layer.bias.data = torch.tensor([slope / 2, -slope / 2])
        return nn.Sequential(layer, nn.Tanh())

    return {"gentle": make(2.0), "steep": make(6.0), "odd": make(4.0), "even": make(3.0)}


@pytest.fixture(scope="module")
def record(data, models):
    return explain(models["gentle"], *data, threat=THREAT, steps=20)


def test_every_item_has_a_sentence_a_contradiction_and_its_numbers(record):
    items = explanation.explanation_part([record])["items"]
    assert len(items) == 4
    assert all(item.sentence.endswith(".") and item.contradiction.endswith(".") for item in items)
    many = record.margins.agreements[1]
    assert f"{many.spearman.value:.2f}" in items[0].sentence
    assert f"{record.energies.spike_index.value:.2f}" in items[1].sentence
    assert percentage(record.boundary.tangent_share.value) in items[3].sentence


def test_the_page_shows_the_part(record):
    page = render([record])
    assert 'id="explanation"' in page
    assert page.count("What would have contradicted it") == 4
    assert page.count("data:image/svg+xml") >= 4


@pytest.mark.slow
def test_transfer_and_convergence_join_in(record, data, models):
    moved = transfer(models, *data, threat=THREAT, steps=2)
    gaps = tuple(
        gap(list(models.values()), data, data, threat=THREAT, rule_name="plain", size=n, steps=2) for n in (10, 20)
    )
    items = explanation.explanation_part([record.model_copy(update={"convergence": gaps}), moved])["items"]
    assert [item.title for item in items][-2:] == [
        "Do independent trainings agree around the samples, too?",
        "Why do examples made on one model fool another?",
    ]
    assert percentage(gaps[0].uniform.value) in items[-2].sentence
    assert f"attacked {gaps[1].robust_generalisation:.2f}" in items[-2].pictures[1].alt
    few = moved.model_copy(update={"scores": ()})
    assert "four are needed" in explanation.explanation_part([few])["items"][0].sentence
    (score,) = (s for s in moved.scores if (s.attack, s.order) == ("apgd", 2))
    assert f"R² = {score.r_squared.value:.2f}" in items[-1].sentence
    off = [np.array(a.success)[~np.eye(4, dtype=bool)].max() for a in moved.attacked]
    assert any(percentage(float(v)) in items[-1].pictures[0].alt for v in off)


def test_nothing_to_explain_is_no_part():
    assert explanation.explanation_part([]) is None
