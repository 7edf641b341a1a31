"""The audit believes neither the attacks nor the record."""

import json
import re
import shutil
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from holomorph._utils.statistics import proportion_interval
from holomorph.errors import DataError
from holomorph.evaluation.audit import audit
from holomorph.evaluation.consistency import inconsistencies
from holomorph.evaluation.evaluate import evaluate
from holomorph.records.evaluation import EvaluationRecord
from holomorph.threats import ThreatModel
from scenes import THREAT, Scene


@pytest.fixture(scope="module")
def once(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> tuple[EvaluationRecord, Path]:
    folder = tmp_path_factory.mktemp("kept")
    threats = [THREAT, ThreatModel(2, 0.5)]
    record = evaluate(scene.honest, scene.x[:16], scene.y[:16], threats, quick=True, checks=False, out=folder)
    return record, folder / "evaluation.npz"


@pytest.fixture
def kept(once: tuple[EvaluationRecord, Path], tmp_path: Path) -> tuple[EvaluationRecord, Path]:
    """A copy that a test may tamper with."""
    shutil.copy(once[1], tmp_path)
    return once[0], tmp_path


def tamper(folder: Path, name: str, change: object) -> None:
    with np.load(folder / "evaluation.npz") as stored:
        arrays = {key: stored[key] for key in stored}
    arrays[name] = change(arrays[name])  # type: ignore[operator]
    np.savez_compressed(folder / "evaluation.npz", **arrays)


def test_an_honest_record_stands(kept: tuple[EvaluationRecord, Path], scene: Scene) -> None:
    result = audit(kept[0], scene.honest, kept[1])
    assert result.passed, result.discrepancies
    assert (result.clean, result.robust) == (kept[0].clean, kept[0].robust)
    assert result.adversarial > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_models_in_half_precision_are_kept_and_stand(dtype: torch.dtype, scene: Scene, tmp_path: Path) -> None:
    model = deepcopy(scene.honest).to(dtype)
    record = evaluate(model, scene.x[:8], scene.y[:8], THREAT, quick=True, checks=False, out=tmp_path)
    assert record.robust < record.clean
    assert audit(record, model, tmp_path).discrepancies == ()
    assert next(model.parameters()).dtype == dtype


def test_another_model_does_not_pass_for_the_recorded_one(kept: tuple[EvaluationRecord, Path], scene: Scene) -> None:
    assert not audit(kept[0], scene.baseline, kept[1]).passed


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("adversarial_0", lambda a: a * 0 + 0.5, "classified correctly|distances"),
        ("adversarial_0", lambda a: a * 3 - 1, "outside the box"),
        ("smallest_1", lambda a: a / 2, "distances are not"),
        ("y", lambda y: (y + 1) % 10, "saved samples are not"),
    ],
)
def test_tampering_is_found(
    name: str, change: object, words: str, kept: tuple[EvaluationRecord, Path], scene: Scene
) -> None:
    tamper(kept[1], name, change)
    result = audit(kept[0], scene.honest, kept[1])
    assert any(re.search(words, line) for line in result.discrepancies)


@pytest.mark.parametrize(("units", "stands"), [(0, True), (4000, False)])
def test_rounding_is_forgiven_and_nothing_more(
    units: int, stands: bool, kept: tuple[EvaluationRecord, Path], scene: Scene
) -> None:
    """The label's logit is lifted to the predicted class's (a tie), or above it by many units in the last place."""

    class Lifted(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            out: Tensor = scene.honest(z)
            near = (z[:, None] - scene.x[None, :16]).abs().amax(2).min(1)
            top = out.amax(1, keepdim=True)
            lifted = top + units * torch.finfo(out.dtype).eps * out.abs().amax(1, keepdim=True)
            fooled = (near.values > 0) & (out.argmax(1) != scene.y[near.indices])
            return torch.where(fooled[:, None], out.scatter(1, scene.y[near.indices, None], lifted), out)

    record = kept[0].model_copy(update={"certificate": None}).sealed()  # nothing is proved of the lifted network
    assert audit(record, Lifted(), kept[1]).passed is stands


def test_a_boastful_record_is_found_out(kept: tuple[EvaluationRecord, Path], scene: Scene) -> None:
    boast = kept[0].model_copy(update={"robust": 0.99})
    assert any("robust accuracy" in line for line in audit(boast, scene.honest, kept[1]).discrepancies)


SEEN = {
    "a finer curve": lambda r: r["threats"][0]["curve"]["eps"].__setitem__(1, 1e-3),
    "an accuracy of the curve": lambda r: r["threats"][0]["curve"]["accuracy"].__setitem__(3, 1.0),
    "a class": lambda r: r["per_class"][1].update(robust=1.0, clean=1.0, samples=9),
    "more tries": lambda r: r["attacks"][1].update(tried=16),
    "an attack left out": lambda r: r["attacks"].pop(),
    "an attack twice": lambda r: r["attacks"].append({**r["attacks"][-1], "name": "apgd-ce", "broken": 0}),
    "more steps": lambda r: r["attacks"][0]["settings"].update(steps=1000),
    "another seed": lambda r: r.update(seed=5),
    "a full evaluation": lambda r: r.update(quick=False, upper_bound=False, upper_bound_reason=""),
    "another reason": lambda r: r.update(upper_bound_reason="None."),
    "thorough": lambda r: r.update(thorough=True),
    "no baseline": lambda r: r.update(baseline=None, differences=[]),
    "a better baseline": lambda r: r["checks"][21].update(value=0.123),
    "a better gradient": lambda r: r["checks"][23].update(value=0.5),
    "no checks": lambda r: r.update(checks=[]),
    "a nearer example": lambda r: r["gallery"][0].update(distance=1e-3),
    "an interval": lambda r: r["certificate"]["clean_interval"].update(low=0.99),
    "a greater radius": lambda r: r["certificate"]["threats"][0]["radii"].__setitem__(
        slice(None), [1.01 * radius for radius in r["certificate"]["threats"][0]["radii"]]),
}  # fmt: skip


@pytest.fixture(scope="module")
def checked(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> tuple[EvaluationRecord, Path]:
    folder = tmp_path_factory.mktemp("checked")
    record = evaluate(scene.honest, scene.x[:16], scene.y[:16], THREAT, quick=True, baseline=scene.baseline, out=folder)
    return record, folder


@pytest.mark.parametrize("what", ["nothing", *SEEN])
def test_a_record_sealed_anew_after_tampering_is_found_out(
    what: str, checked: tuple[EvaluationRecord, Path], scene: Scene
) -> None:
    content = json.loads(checked[0].model_dump_json())
    SEEN.get(what, lambda r: None)(content)
    record = EvaluationRecord.model_validate_json(json.dumps(content)).sealed()
    found = inconsistencies(record) or audit(record, scene.honest, checked[1]).discrepancies
    assert bool(found) is (what in SEEN), found


def test_a_certificate_is_proved_again_and_must_fit_the_attacks(
    kept: tuple[EvaluationRecord, Path], scene: Scene
) -> None:
    record, folder = kept
    proved = record.certificate
    assert proved is not None
    first = proved.threats[0]
    assert record.proved is not None
    assert 0 < record.proved <= record.robust
    assert proved.reason == ""

    def said(**changes: object) -> str:
        part = first.model_copy(update=changes)
        boast = proved.model_copy(update={"threats": (part, *proved.threats[1:])})
        return " ".join(
            audit(record.model_copy(update={"certificate": boast}).sealed(), scene.honest, folder).discrepancies
        )

    assert "proved accuracy at inf:0.1 is" in said(proved=0.99)
    assert "broken a sample inside its proved radius" in said(radii=(1.0,) * 16)
    alive = [smallest is None or smallest > 0.1 for smallest in record.threats[0].smallest]
    share = proportion_interval(sum(alive), 16)
    radii = tuple(0.1 * a for a in alive)
    boast = said(
        radii=radii, proved_by=tuple("lines" if a else None for a in alive), proved=share.value, interval=share
    )
    assert ("proofs do not succeed again" in boast) == (sum(alive) > round(16 * first.proved))
    other = proved.model_copy(update={"samples_hash": "0"})
    assert "other samples" in " ".join(inconsistencies(record.model_copy(update={"certificate": other}).sealed()))


def test_missing_or_damaged_inputs_are_named(kept: tuple[EvaluationRecord, Path], scene: Scene) -> None:
    record, folder = kept
    with pytest.raises(DataError, match="kept no adversarial inputs"):
        audit(record.model_copy(update={"adversarial_file": None}), scene.honest, folder)
    (folder / "evaluation.npz").write_bytes(b"PK nonsense")
    with pytest.raises(DataError, match="cannot be read"):
        audit(record, scene.honest, folder)
    (folder / "evaluation.npz").unlink()
    with pytest.raises(DataError, match="is missing"):
        audit(record, scene.honest, folder)
