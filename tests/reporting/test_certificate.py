"""The proved side of the report: its first sentence, the band below the curve, and proofs that attacks refute."""

import hand_made as cases
from holomorph.records.certificate import Smoothing
from holomorph.reporting.parts import accuracy, certificate, summary
from holomorph.reporting.render import render
from holomorph.threats import ThreatModel

THIN = "\u202f"


def test_the_first_sentence_is_an_interval():
    found = cases.evaluation(robust=0.76, baseline=False)
    proved = cases.certificate(found, proved=0.71)
    share = f"{100 * proved.threats[0].proved:.1f}".removesuffix(".0")
    assert summary.summary_part([found, proved])["headline"] == (
        f"Between {share}{THIN}% (proved) and 76{THIN}% (attacked) of 360 samples withstand every change of up to 0.1 "
        f"in each input value."
    )


def test_the_certificate_inside_an_evaluation_serves_and_says_what_limits_it():
    found = cases.evaluation(robust=0.76, baseline=False)
    proved = cases.certificate(found, proved=0.71)

    def headline(proved):
        return summary.summary_part([found.model_copy(update={"certificate": proved})])["headline"]

    assert headline(proved) == summary.summary_part([found, proved])["headline"]
    late = proved.model_copy(update={"untried": 3, "seconds": 60.0})
    assert headline(late).endswith("3 samples were not tried and count as not proved.")
    small = cases.THREAT.radius / 4
    part = proved.threats[0].model_copy(update={"radii": (small,) * 24 + (0.0,) * 336})
    few = proved.model_copy(update={"threats": (part,), "untried": 2, "searched": (True,) * 24 + (False,) * 336})
    assert headline(few).endswith(
        "of 24 unbroken samples, the median is proved for every change of up to 0.025 in each input value."
    )
    empty = cases.certificate(found, proved=0.0)
    assert headline(empty).startswith(f"Between 0{THIN}% (proved) and 76{THIN}% (attacked)")
    assert headline(empty).endswith(
        "Nothing is proved for this network: the bounds through its layers are too wide for changes of this size."
    )
    odd = empty.model_copy(update={"reason": "The layer 2 (MaxPool2d) cannot be bounded."})
    assert headline(odd).endswith("Nothing is proved for this network: the layer 2 (MaxPool2d) cannot be bounded.")
    assert "MaxPool2d" in render([found.model_copy(update={"certificate": odd})])
    assert headline(cases.certificate(found, samples_hash="others")) == headline(None)


def test_under_two_threats_a_sample_must_be_proved_under_both():
    second = ThreatModel(2, 0.5)
    found = cases.evaluation(
        threats=(cases.threat_result(cases.THREAT, 0.7), cases.threat_result(second, 0.6)), robust=0.55, baseline=False
    )
    proved = cases.certificate(found, proved=0.4)
    both = sum(a >= 0.1 and b >= 0.5 for a, b in zip(*(t.radii for t in proved.threats), strict=True)) / 360
    headline = summary.summary_part([found, proved])["headline"]
    assert headline.startswith(f"Between {100 * both:.1f}".removesuffix(".0"))
    assert "in each input value and every change of up to 0.5 in Euclidean distance" in headline


def test_without_a_certificate_of_the_same_samples_and_classifier_it_is_the_attacked_side_alone():
    found = cases.evaluation(robust=0.5)
    noise = Smoothing(sigma=0.5, draws=1000, failure=0.001, abstained=3)
    for other in (
        cases.certificate(found, samples_hash="others"),
        cases.certificate(found, smoothing=noise),
        cases.certificate(found, threats=()),
    ):
        assert summary.summary_part([found, other])["headline"] == summary.summary_part([found])["headline"]
    page = render([found, cases.certificate(found, smoothing=noise)])
    assert "under Gaussian noise" in page
    assert "Each radius is wrong" in page


def test_the_part_states_both_sides_and_the_methods():
    found = cases.evaluation(robust=0.76)
    proved = cases.certificate(found, proved=0.5)
    view = certificate.certificate_part([found, proved])
    (row,) = view["rows"]
    assert (row.proved, row.attacked, view["refuted"], view["same"]) == (proved.threats[0].proved, 0.76, 0, True)
    count = sum(name == "lines" for name in proved.threats[0].proved_by)
    assert row.methods == f"linear bounds ({count})"
    assert certificate.certificate_part([found]) is None
    alone = certificate.certificate_part([proved])
    assert (alone["rows"][0].attacked, alone["same"]) == (None, False)
    assert 'id="certificate"' in render([proved])


def test_a_refuted_proof_is_an_alarm():
    found = cases.evaluation(robust=0.76)
    part = cases.certificate(found).threats[0]
    broken = next(i for i, size in enumerate(found.threats[0].smallest) if size is not None and size > 0)
    radii = tuple(2 * found.threats[0].smallest[i] if i == broken else r for i, r in enumerate(part.radii))
    wrong = cases.certificate(found, threats=(part.model_copy(update={"radii": radii}),))
    assert certificate.certificate_part([found, wrong])["refuted"] == 1
    assert "A proof is refuted" in render([found, wrong])
    assert "A proof is refuted" not in render([found, cases.certificate(found)])


def test_the_band_reaches_down_to_what_is_proved():
    found = cases.evaluation(robust=0.76, baseline=False)
    picture = accuracy.accuracy_part([found, cases.certificate(found, proved=0.5)])["pictures"][0]
    assert "what is proved" in picture.caption
    assert "what is proved" not in accuracy.accuracy_part([found])["pictures"][0].caption


def test_bounds_that_meet_and_a_model_that_is_never_right_are_said_as_such():
    found = cases.evaluation(robust=0.76, baseline=False)
    proved = cases.certificate(found, proved=0.71)
    share = proved.threats[0].proved
    met = summary.summary_part([found.model_copy(update={"robust": share}), proved])["headline"]
    assert met.startswith("Exactly ")
    assert "Between" not in met
    hopeless = found.model_copy(update={"clean": 0.0, "robust": 0.0})
    for samples, words in ((1, "1 sample is"), (2, "2 samples are")):
        headline = summary.summary_part([hopeless.model_copy(update={"samples": samples})])["headline"]
        assert headline == f"0{THIN}% of {words} classified correctly, even without attack."
