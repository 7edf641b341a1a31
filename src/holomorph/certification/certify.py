"""``certify``: the proved side of a verdict, sample by sample."""

import os
from typing import Any

from torch import Tensor

from holomorph._utils.output import output
from holomorph.certification.proofs import Method, ProofSettings, prove
from holomorph.contract import gradients
from holomorph.contract.receiving import receive
from holomorph.contract.snapshot import under_attack
from holomorph.contract.threats import ThreatsLike
from holomorph.records.certificate import CertificateRecord
from holomorph.threats.features import Features


@gradients()
def certify(
    model: Any,
    x: Any,
    y: Any = None,
    threat: ThreatsLike = (),
    *,
    method: Method = "auto",
    features: Features | None = None,
    n: int | None = None,
    steps: int = 5,
    seconds: float | None = None,
    broken: Tensor | None = None,
    batch_size: int = 50,  # few: a proof holds bounds of every unit of the network for each sample
    sigma: float | None = None,
    draws: int = 10_000,
    failure: float = 0.001,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    force: bool = False,
    model_name: str = "",
    data_name: str = "",
) -> CertificateRecord:
    r"""Prove, sample by sample, up to which radius no change of the input alters a right answer.

    $$\text{proved} = \frac1n \#\{i : h(x_i + \delta) = y_i \text{ for every } \delta \text{ of the threat, by proof}\}
    \;\le\; \text{robust accuracy} \;\le\; \text{attacked}$$

    What is certified are the predictions that the model computes in its own precision: rounding is part of every bound.

    Parameters
    ----------
    model:
        Maps (batch, ...) to logits (batch, classes). In evaluation mode; every part gets its own mode back.
    x, y:
        Samples inside the threat's box, integer labels from 0.
    threat:
        One threat or several.
    method:
        ``"exact"``: for the exact holomorphic classifiers. ``"intervals"``: a range for every value. ``"slopes"``: a
        bound of the margin's gradient over the whole ball. ``"lines"``: linear bounds, backwards. ``"branching"``: the
        ball in parts, for few features. ``"smoothing"``: under noise. ``"auto"`` takes exact proofs where they exist.
        Else it tries slopes and lines, first from cheap enclosures, then from tight ones, then branching up to four
        features.
    features:
        Eps and range of each feature of a table, in which the threats then count; as in :func:`holomorph.evaluate`.
        What is proved holds for every row between the walls, possible or not.
    n:
        Use the first n samples.
    steps:
        How many radii are tried for a sample: eps first, then quarters until one is proved, then bisection.
    seconds:
        After so long no further batch is begun, and the record says which samples were not looked at. The largest
        radius is looked for in the first batch, then all samples are tried at eps; where eps is too large for the whole
        first batch, the largest radius is looked for in the others too.
    broken:
        Samples, by ``True``, that an attack has broken under every threat: bounds are not tried on them.
    batch_size:
        Samples at once; with smoothing, noisy copies are 20 times as many.
    sigma, draws, failure:
        Of smoothing: see :class:`~holomorph.certification.smoothing.Smoothed`. sigma is by default the largest
        of the threats' l_2 and l_1 radii.
    seed:
        Of smoothing's noise.
    out:
        A folder for ``certificate.json``; finished batches lie in it meanwhile. Nothing is written without it.
    resume:
        Go on from the batches that a stopped call has finished in ``out``.
    force:
        Replace an earlier certificate in ``out``.
    model_name, data_name:
        For the record: what was certified, on what.

    Raises
    ------
    DataError, ConfigError
        For samples, labels, threats or settings that cannot be used.
    ModelError
        For a network with a part that cannot be bounded, by its name.

    Source: docs/certificates.md; docs/mathematics.md, section 9.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Linear(2, 2, bias=False)
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    >>> x, y = torch.tensor([[0.9, 0.1], [0.52, 0.48]]), torch.tensor([0, 0])
    >>> record = certify(model, x, y, "inf:0.1")
    >>> record.clean, record.threats[0].proved
    (1.0, 0.5)
    """
    how = ProofSettings(method, steps, batch_size, seconds, broken, sigma, draws, failure, seed)
    given = receive(model, x, y, threat, n=n, batch_size=batch_size, features=features)
    how.check(given)
    own = output(out, "certificate", ("certificate.json",), work="certificate.parts", resume=resume, force=force)
    with own as place, under_attack(given.classifier):
        parts = None if place is None else place.work_folder
        record = prove(given, how, parts, model=model_name or type(model).__name__, data=data_name)
        if place is not None:
            record.save(place.file("certificate.json"))
            place.clear_work()
    return record
