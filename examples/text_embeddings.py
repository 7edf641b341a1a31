"""Text: tokens have no gradient, their embeddings do. The rule is applied to what follows the embedding."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import holomorph as hm

GOOD, BAD = "good fine great lovely superb", "bad poor awful dull dreadful"
OTHER = "the film plot cast was very and music a story"


def sentences(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Eight words each, two of which say how the film was."""
    filler, opinions = OTHER.split(), torch.tensor([[0] * 5, [1] * 5]).flatten()
    y = torch.randint(0, 2, (count,), generator=generator)
    words = torch.randint(10, 10 + len(filler), (count, 8), generator=generator)
    places = torch.rand(count, 8, generator=generator).argsort(1)[:, :2]
    tone = torch.randint(0, 5, (count, 2), generator=generator) + 5 * y[:, None]
    return words.scatter(1, places, tone), opinions[tone[:, 0]]


class Head(nn.Module):
    """What follows the embedding: each word is read, the sentence is their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.answer = nn.Sequential(nn.Linear(16, 32), nn.GELU()), nn.Linear(32, 2)

    def forward(self, embedded: Tensor) -> Tensor:
        """Map (batch, words, 16) to logits."""
        return self.answer(self.read(embedded).mean(1))


def main() -> tuple[float, float]:
    torch.manual_seed(0)
    tokens, y = sentences(600, torch.Generator().manual_seed(0))
    embedding, head = nn.Sequential(nn.Embedding(20, 16), nn.Tanh()), Head()  # Tanh bounds the box to [-1, 1]
    threat = hm.ThreatModel("inf", 0.15, box=(-1.0, 1.0))
    rule = hm.FiniteEnergy(threat)
    optimizer = torch.optim.Adam([*embedding.parameters(), *head.parameters()], lr=5e-3)
    for _ in range(10):
        for rows in torch.randperm(500).split(50):
            embedded = embedding(tokens[rows])
            # The embedding learns from the risk, the head from the risk and the rule.
            loss = cross_entropy(head(embedded), y[rows]) + rule(head, embedded.detach(), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    embedded = embedding(tokens[500:]).detach()
    moved = hm.PGD(threat).perturbed(head, embedded, y[500:])
    clean, robust = ((head(z).argmax(1) == y[500:]).double().mean().item() for z in (embedded, moved))
    return clean, robust


if __name__ == "__main__":
    print("right on clean embeddings and under PGD: {:.3f}, {:.3f}".format(*main()))
