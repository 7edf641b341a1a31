"""Why complex weights diverge at the rate 3e-2 on digits: pre-activations off the real line, step by step.

The complex network of ladder.py with sin (s sin(z/s), s = 2) at both rates, beside three changes that touch nothing but
the growth off the real line: real weights (nothing leaves it), s = 8 (growth e^{|Im z|/8}), and a sine of the real and
of the imaginary part, bounded and not holomorphic. Five splits. If growth is the reason, these train at 3e-2.

At every step of the training, of the batch: the largest |Im z|/s before the activations, the largest |sin(z/s)| after
them, the largest modulus of the outputs h. Run ``python -m studies.holomorphic.divergence``; kept in divergence.json
and not measured again; writes divergence.md.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from holomorph._utils.io import write_atomically
from holomorph.nn.activations import HolomorphicActivation
from holomorph.nn.networks import HolomorphicMLP
from studies.holomorphic.ladder import RATES, RESULTS, SEEDS, accuracy, network, sine

Trace = dict[str, list[float]]
SHOWN = (0, 3, 10, 30, 100)  #: steps in the table


class PartwiseSine(nn.Module):
    """s (sin(Re z/s) + i sin(Im z/s)): bounded, and so by Liouville not holomorphic."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, z: Tensor) -> Tensor:
        """Apply it."""
        return self.scale * torch.complex((z.real / self.scale).sin(), (z.imag / self.scale).sin())


VARIANTS: dict[str, dict[str, Any]] = {
    "complex, sin": {},
    "complex, sin, s = 8": {"scale": 8.0},
    "complex, sine of the parts": {"partwise": True},
    "real, sin": {"real_weights": True},
}


def traced(trace: Trace, *, partwise: bool = False, real_weights: bool = False, **settings: Any) -> Any:
    """A maker of networks that write into ``trace`` what happens in training."""

    def make(inputs: int, classes: int) -> HolomorphicMLP:
        body = sine(32 if real_weights else 18, real_weights=real_weights, **settings)(inputs, classes)
        layers = body.body
        for k, layer in enumerate(layers):
            if isinstance(layer, HolomorphicActivation):
                layers[k] = PartwiseSine(layer.scale) if partwise else layer
                layers[k].register_forward_hook(note)
        layers[-1].register_forward_hook(last)
        return body

    def note(layer: Any, inputs: tuple[Tensor, ...], image: Tensor) -> None:
        if layer.training:
            step["off"].append(float(inputs[0].detach().imag.abs().max()) / layer.scale)
            step["size"].append(float(image.detach().abs().max()) / layer.scale)

    def last(layer: Any, inputs: tuple[Tensor, ...], image: Tensor) -> None:
        if layer.training:
            for name, values in step.items():
                trace[name].append(max(values, default=float("nan")))
                values.clear()
            trace["output"].append(float(image.detach().abs().max()))

    step: dict[str, list[float]] = {"off": [], "size": []}
    trace.update(off=[], size=[], output=[])
    return make


def table(known: dict[str, Any]) -> str:
    """Accuracy, and the largest values of a step (medians of the splits; of those still training)."""
    header = ["network", "rate", "clean % of each split", *(f"step {k}" for k in SHOWN), "most"]
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    for label, rate in itertools.product(VARIANTS, RATES):
        found = [known[key] for seed in range(SEEDS) if (key := f"{label} | {rate:g} | {seed}") in known]
        if not found:
            continue
        clean = ", ".join(f"{100 * f['clean']:.1f}" + " (stopped)" * ("error" in f) for f in found)
        cells = [label, f"{rate:g}", clean]
        for k in SHOWN:
            rows = [f["trace"] for f in found if len(f["trace"]["off"]) > k]
            shown = [np.median([row[name][k] for row in rows]) for name in ("off", "size", "output")] if rows else []
            cells.append(" / ".join(f"{v:.3g}" for v in shown))
        most = [np.median([max(f["trace"][name]) for f in found]) for name in ("off", "size", "output")]
        lines.append(f"| {' | '.join([*cells, ' / '.join(f'{v:.3g}' for v in most)])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    torch.set_num_threads(1)
    path = RESULTS / "divergence.json"
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for (label, settings), rate, seed in itertools.product(VARIANTS.items(), RATES, range(SEEDS)):
        key = f"{label} | {rate:g} | {seed}"
        if key in known:
            continue
        trace: Trace = {}
        known[key] = accuracy(network(traced(trace, **settings)), rate, seed)
        known[key]["trace"] = {name: [float(f"{v:.4g}") for v in values] for name, values in trace.items()}
        write_atomically(path, json.dumps(known).encode())
        write_atomically(RESULTS / "divergence.md", table(known).encode())
        print(key, known[key]["clean"], flush=True)


if __name__ == "__main__":
    main()
