"""Why holomorphic hypotheses of paired coordinates fall behind: three least-squares problems, solved exactly.

Held-out accuracy of the best polynomial in the plane, about 60 real coefficients a class, ridge by hold-out. (codes) h
holomorphic of degree 30, |h - c|^2: both Re h = c and Im h = 0 are asked for. (Re h) the same h, the imaginary part
left free: all harmonic polynomials of degree 30. (all) all real polynomials of degree 9, which is complexification with
real weights. From codes to Re h the aim changes and the functions stay; from Re h to all the functions change.

Run ``python -m studies.holomorphic.harmonic_limits``; writes harmonic_limits.md. Takes seconds.
"""

import torch
from torch import Tensor

from holomorph._utils.io import write_atomically
from holomorph.exact.monomials import Monomials
from holomorph.research.planar import PLANAR_SETS, planar
from studies.kept import results

RESULTS = results("holomorphic")
SEEDS, RIDGES = 5, (1e-9, 1e-7, 1e-5, 1e-3)


def features(x: Tensor, kind: str) -> Tensor:
    """Columns of the linear problem: 62, 61 and 55 real coefficients a class."""
    if kind == "all":
        return Monomials(2, 9)(x)
    powers = Monomials(1, 30)(torch.complex(x[:, :1], x[:, 1:]))
    return powers if kind == "codes" else torch.cat([powers.real, powers.imag[:, 1:]], 1)


def accuracy(kind: str, ridge: float, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], classes: int) -> float:
    a = features(train[0], kind)
    codes = torch.eye(classes, dtype=torch.float64)[train[1]].to(a.dtype)
    normal = a.mH @ a / len(a) + ridge * torch.eye(a.shape[1], dtype=torch.float64)
    found = torch.linalg.solve(normal, a.mH @ codes / len(a))
    return float(((features(test[0], kind) @ found).real.argmax(1) == test[1]).double().mean())


def main() -> None:
    torch.set_num_threads(1)
    lines = ["| data | codes | Re h | all |", "|---|---|---|---|"]
    for name in PLANAR_SETS:
        cells = []
        for kind in ("codes", "Re h", "all"):
            scores = []
            for seed in range(SEEDS):
                train, held, test = (planar(name, 300, seed=base + seed) for base in (0, 2000, 3000))
                parts = [(0.7 * part.x, part.y) for part in (train, held, test)]
                tried = [(accuracy(kind, ridge, parts[0], parts[1], train.classes), ridge) for ridge in RIDGES]
                scores.append(accuracy(kind, max(tried)[1], parts[0], parts[2], train.classes))
            score = 100 * torch.tensor(scores)
            cells.append(f"{float(score.mean()):.1f} ({float(score.min()):.1f} to {float(score.max()):.1f})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    write_atomically(RESULTS / "harmonic_limits.md", ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
