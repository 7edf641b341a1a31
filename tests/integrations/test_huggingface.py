"""A transformer that is called as those of transformers are: embeddings and a mask by keyword, logits in an object."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from holomorph.contract import Guest
from holomorph.errors import ConfigError
from holomorph.integrations.huggingface import GivenInputs
from holomorph.rules import AWP, PGD, FiniteEnergy, GradAlign
from holomorph.threats import ThreatModel

THREAT = ThreatModel(2, 0.3, (-8.0, 8.0))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(12, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, *, inputs_embeds: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        hidden = self.layer(inputs_embeds, src_key_padding_mask=attention_mask == 0)
        weights = attention_mask / attention_mask.sum(1, keepdim=True)
        return SimpleNamespace(logits=self.head((hidden * weights[..., None]).sum(1)))


def sentences() -> tuple[Tensor, Tensor, Tensor]:
    """Word 0 or word 1 says which class; some sentences are shorter than others."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 2, (64,), generator=generator)
    ids = torch.randint(2, 12, (64, 5), generator=generator)
    ids[:, 0] = y
    mask = (torch.arange(5) < torch.randint(2, 6, (64, 1), generator=generator)).float()
    return ids, mask, y


def test_a_loop_as_in_a_trainer_learns_and_withstands():
    torch.manual_seed(0)
    model, (ids, mask, y) = Encoder(), sentences()
    rule, optimizer = FiniteEnergy(THREAT), torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(40):
        embedded = model.embedding(ids)
        clean = model(inputs_embeds=embedded, attention_mask=mask).logits
        loss = cross_entropy(clean, y) + rule(GivenInputs(model, attention_mask=mask), embedded, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    given, embedded = GivenInputs(model, attention_mask=mask), model.embedding(ids).detach()
    moved = PGD(THREAT).perturbed(Guest(given), embedded, y)
    assert (given(moved).logits.argmax(1) == y).float().mean() > 0.9


def test_dropout_masks_and_weights_are_seen_behind_it():
    model, (ids, mask, y) = Encoder(), sentences()
    given, x = GivenInputs(model, attention_mask=mask), model.embedding(ids).detach()
    for rule in (AWP(THREAT, steps=1), GradAlign(THREAT)):
        rule(given, x, y).backward()
        assert model.head.weight.grad.abs().sum() > 0
    with pytest.raises(ConfigError, match="AWP changes the weights, which a function does not show"):
        AWP(THREAT, steps=1)(lambda x: model(inputs_embeds=x, attention_mask=mask), x, y)
    plainly = FiniteEnergy(THREAT, weight=0.5)(lambda x: model(inputs_embeds=x, attention_mask=mask), x, y)
    model.zero_grad()
    plainly.backward()
    assert model.head.weight.grad.abs().sum() > 0
