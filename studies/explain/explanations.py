"""The theory's predictions against attacks, on Fashion-MNIST: ``python -m studies.explain.explanations [STAGE...]``.

Stages: train (the models of zoo.py), margins (four CNNs, l_inf and l_2), table (of these), turns (their cost beside
FMN's), explain (five CNNs), transfer (ten models), page (a report of it all, after convergence.json). Each
model, record and part is kept under runs/studies/explanations and not worked out twice; the records go to
explanations. The estimate of the margin was designed on validation images; everything here is measured on test
images from the 501st on.
"""

import argparse
import functools
import itertools
import json
import statistics
import time
from collections.abc import Callable

import torch

from holomorph._utils.cache import Cache
from holomorph._utils.fingerprint import fingerprint, model_digest
from holomorph._utils.io import write_atomically
from holomorph._utils.versions import versions
from holomorph.attacks.foolbox import FoolboxAttack
from holomorph.contract.classifier import Classifier
from holomorph.contract.snapshot import under_attack
from holomorph.data import Splits, load_data
from holomorph.explanation.explain import explain
from holomorph.explanation.first_order import first_order
from holomorph.explanation.margins import analytic
from holomorph.explanation.validation import validate_margins
from holomorph.records.explanation import ExplanationRecord, Gap
from holomorph.records.transfer import TransferRecord
from holomorph.reporting import report
from holomorph.threats import ThreatModel
from holomorph.transferability.transfer import transfer
from studies.explain.zoo import RUNS, ZOO, trained
from studies.kept import results

RESULTS = results("explain") / "explanations"
CNNS = ("cnn plain", "cnn dirichlet", "cnn n-fgsm", "cnn pgd")
MOVED = tuple(name for name in ZOO if name not in ("cnn finite", "cnn energy at samples"))
THREATS = (ThreatModel("inf", 0.1), ThreatModel(2, 1.5))
FIRST, TIMED, ROUNDS = 500, 50, 3


def train_all(data: Splits, samples: int) -> None:
    for name in ZOO:
        start = time.process_time()
        model = trained(name, data)
        with torch.no_grad():
            right = (model(data.x_test[:1000]).argmax(1) == data.y_test[:1000]).float().mean()
        print(f"{name}: clean {float(right):.3f}, {time.process_time() - start:.0f} s", flush=True)


def margins_all(data: Splits, samples: int, only: str = "") -> None:
    """Margins of four CNNs in two norms; what the attacks find is kept under RUNS, batch by batch.

    A record that lies in explanations is not made again; without it the estimates are, not the attacks.
    """
    x, y = data.x_test[FIRST : FIRST + samples], data.y_test[FIRST : FIRST + samples]
    for threat, name in itertools.product(THREATS, CNNS):
        stem, model = f"{name.replace(' ', '-')}-{threat.norm}", trained(name, data)
        if (RESULTS / f"margins-{stem}.json").exists() or not stem.startswith(only):
            continue
        cache = Cache(RUNS / f"{stem}.found", fingerprint(f"{threat} thorough {model_digest(model)}", x[:1], y[:1]))
        with under_attack(model):
            classifier = Classifier(model)
            margins = validate_margins(classifier, x, y, threat, thorough=True, cache=cache)
            record = ExplanationRecord(
                model=name, data=data.name, threat=threat, samples=len(x), seed=0, margins=margins,
                clean=float((classifier.predictions(x) == y).float().mean()),
                versions=versions("foolbox", "pyautoattack"),
            )  # fmt: skip
        record.save(RESULTS / f"margins-{stem}.json")
        for a in margins.agreements:
            gap = f"curve within {100 * a.curve_gap.value:.1f} points"
            print(f"{name} {threat} {a.estimate}: rank {a.spearman.value:.3f}, {gap}, {a.faster:.0f}x", flush=True)


def margins_table(data: Splits, samples: int) -> None:
    """The records of the margins as rows of Markdown, accuracies and errors in points and per cent."""
    for threat, name in itertools.product(THREATS, ("cnn plain", "cnn pgd", "cnn n-fgsm", "cnn dirichlet")):
        record = ExplanationRecord.load(RESULTS / f"margins-{name.replace(' ', '-')}-{threat.norm}.json")
        m = record.margins
        plain, quick, thorough = m.agreements
        found, crossed, eps = torch.tensor(m.found), torch.tensor(m.crossed), torch.tensor(m.eps)[:, None]
        own = ((found > eps).float().mean(1) - (torch.minimum(found, crossed) > eps).float().mean(1)).max()
        errors = " / ".join(f"{100 * a.relative_error.value:.1f}" for a in m.agreements)
        ranks = (f"{a.spearman.value:.3f} ({a.spearman.low:.3f} to {a.spearman.high:.3f})" for a in (quick, thorough))
        gaps = (
            f"{100 * g.value:.1f} ({100 * g.low:.1f} to {100 * g.high:.1f})"
            for g in (quick.curve_gap, thorough.curve_gap, thorough.joined_gap)
        )
        cells = (f"{plain.spearman.value:.3f}", *ranks, errors, f"{100 * plain.curve_gap.value:.1f}", *gaps)
        print(f"| {name[4:]} | l_{threat.norm} | {record.samples} | {' | '.join(cells)} | {100 * own:.1f} |")


def turns_all(data: Splits, samples: int) -> None:
    """Processor time of FMN with 100 steps and of the estimates, by turns: what a busy machine does, it does to all."""
    rows: dict[str, dict[str, list[float]]] = {}
    x, y = data.x_test[FIRST : FIRST + TIMED], data.y_test[FIRST : FIRST + TIMED]
    for threat, name in itertools.product(THREATS, CNNS):
        seconds: dict[str, list[float]] = {}
        model = trained(name, data)
        with under_attack(model):
            classifier = Classifier(model)
            works: dict[str, Callable[[], object]] = {
                "fmn": functools.partial(FoolboxAttack("fmn", threat, 100), classifier, x, y, 0),
                "first order": functools.partial(first_order, classifier, x, y, threat, runners_up=3),
                "analytic": functools.partial(analytic, classifier, x, y, threat),
                "analytic, thorough": functools.partial(
                    analytic, classifier, x, y, threat, runners_up=3, expansions=20
                ),
            }
            for _ in range(ROUNDS):
                for label, work in works.items():
                    start = time.process_time()
                    work()
                    seconds.setdefault(label, []).append(time.process_time() - start)
        rows[f"{name} {threat}"] = seconds
        fmn = statistics.median(seconds["fmn"])
        shown = {k: f"{fmn / statistics.median(v):.1f}x" for k, v in seconds.items()}
        print(name, threat, f"fmn {1000 * fmn / TIMED:.1f} ms a sample", shown, flush=True)
        write_atomically(
            RESULTS / "turns.json", (json.dumps({"samples": TIMED, "rows": rows}, indent=1) + "\n").encode()
        )


def explain_all(data: Splits, samples: int) -> None:
    """Energies, harmonicity and boundary of the CNNs of all images, trained by five rules."""
    x, y = data.x_test[FIRST : FIRST + samples], data.y_test[FIRST : FIRST + samples]
    for name in (*CNNS, "cnn finite"):
        file = f"{name.replace(' ', '-')}-inf"
        record = explain(
            trained(name, data), x, y, threat=THREATS[0], reference=data.x_train[:5000], model_name=name,
            data_name=data.name, out=RUNS / file, resume=True, only=("energies", "harmonicity", "boundary"),
        )  # fmt: skip
        record.save(RESULTS / f"{file}.json")


def transfer_all(data: Splits, samples: int) -> None:
    models = {name: trained(name, data) for name in MOVED}
    x, y = data.x_test[FIRST : FIRST + samples], data.y_test[FIRST : FIRST + samples]
    options = {"eps": (0.02, 0.05, 0.1), "steps": 20, "batch_size": 125}
    record = transfer(models, x, y, threat=ThreatModel("inf", 0.05), out=RESULTS, resume=True, **options)
    for s in record.scores:
        figures = f"R2 {s.r_squared.value:.2f}, centred {s.r_squared_centred.value:.2f}"
        print(
            f"{s.attack} {s.step} {s.counted} {s.eps:g} order {s.order}: {figures}, rates {s.rank_success.value:.2f}",
            flush=True,
        )


def page(data: Splits, samples: int) -> None:
    """One report: the Dirichlet CNN's record, the transfer matrix, and the gaps of convergence.json."""
    record = ExplanationRecord.load(RESULTS / "cnn-dirichlet-inf.json")
    margins = ExplanationRecord.load(RESULTS / "margins-cnn-dirichlet-inf.json").margins
    gaps = json.loads((RESULTS.parent / "convergence.json").read_text())
    record = record.model_copy(
        update={"margins": margins, "convergence": tuple(Gap.model_validate(gap) for gap in gaps.values())}
    )
    print(report([record, TransferRecord.load(RESULTS / "transfer.json")], RUNS / "report.html", title="Explanations"))


STAGES = {
    "train": train_all,
    "margins": margins_all,
    "table": margins_table,
    "turns": turns_all,
    "explain": explain_all,
    "transfer": transfer_all,
    "page": page,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", nargs="*", default=list(STAGES), help=", ".join(STAGES))
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--only", default="", help="of the margins: those whose file begins so, as cnn-pgd-2")
    options = parser.parse_args()
    for stage in options.stages:
        more = {"only": options.only} if stage == "margins" else {}
        STAGES[stage](load_data("fashion-mnist"), options.samples, **more)
