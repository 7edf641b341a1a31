"""The proved side of an evaluation: what no attack can break, on the very samples that were attacked."""

from dataclasses import replace

import torch
from torch import Tensor

from holomorph._utils.statistics import proportion_interval
from holomorph.certification.proofs import ProofSettings, prove
from holomorph.contract.receiving import Received
from holomorph.errors import HolomorphError
from holomorph.records.certificate import CertificateRecord, ThreatCertificate
from holomorph.records.evaluation import EvaluationRecord

#: Samples at once: few, so that the time is kept.
BATCH = 8


def with_certificate(record: EvaluationRecord, given: Received, rows: Tensor, seconds: float) -> EvaluationRecord:
    """The record of these samples with what is proved of them in so many seconds."""
    return record.model_copy(update={"certificate": prove_attacked(given, rows, record, seconds)}).sealed()


def prove_attacked(given: Received, rows: Tensor, record: EvaluationRecord, seconds: float) -> CertificateRecord:
    """Certify by ``auto`` for so many seconds; where nothing can be proved, the certificate says why.

    Nothing is proved of a model whose answers depend on more than the input: a proof is about one function.
    """
    guards = ("memory", "determinism", "optimisation at inference", "mode")
    failed = [check.name for check in record.failed if check.name in guards]
    if failed:
        return nothing_proved(record, f"One input does not always get the same logits (check: {', '.join(failed)}).")
    rows = rows.to(given.y.device)
    attacked = replace(given, x=given.x[rows], y=given.y[rows])
    broken = torch.tensor([[by is not None for by in result.broken_by] for result in record.threats]).all(0)
    try:
        how = ProofSettings(batch_size=BATCH, seconds=seconds, broken=broken, seed=record.seed)
        return prove(attacked, how, model=record.model, data=record.data)
    except (HolomorphError, RuntimeError) as error:  # of a network that cannot be bounded, or of its own code
        return nothing_proved(record, " ".join(str(error).split()))


def nothing_proved(record: EvaluationRecord, reason: str) -> CertificateRecord:
    """The certificate of a model of which nothing can be proved."""
    n = record.samples
    parts = tuple(
        ThreatCertificate(
            threat=result.threat,
            proved=0.0,
            interval=proportion_interval(0, n),
            radii=(0.0,) * n,
            proved_by=(None,) * n,
        )
        for result in record.threats
    )
    shared = {"model", "data", "samples_hash", "samples", "classes", "clean", "clean_interval", "features", "labels",
              "predictions", "seed", "versions", "device", "command", "finished"}  # fmt: skip
    facts = {name: getattr(record, name) for name in shared}
    return CertificateRecord(**facts, method="auto", precision="float32", threats=parts, reason=reason)
