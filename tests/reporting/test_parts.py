"""What the parts say, read from their data and not from the HTML."""

import base64
import re

import pytest

import hand_made as cases
from holomorph.errors import ConfigError
from holomorph.reporting import parts, plots
from holomorph.reporting.markdown import markdown
from holomorph.reporting.render import render
from holomorph.threats import ThreatModel

RECORDS = cases.all_records()


def test_headline_states_the_figures_of_both_models_and_what_the_attacker_may_do():
    headline = parts.summary.summary_part([cases.evaluation(robust=0.5)])["headline"]
    assert headline == (
        "50\u202f% of 360 samples are still classified correctly where every input value may change by up to 0.1. "
        "The undefended baseline, attacked in the same way, keeps 3.1\u202f%."
    )


def test_summary_has_one_row_a_threat_and_one_for_their_union():
    second = ThreatModel(2, 0.5)
    found = cases.evaluation(
        threats=(cases.threat_result(cases.THREAT, 0.7), cases.threat_result(second, 0.6)), robust=0.55, baseline=None
    )
    rows = {name: (own, other) for name, own, _, other in parts.summary.summary_part([found])["rows"]}
    assert rows["robust accuracy, l∞ ≤ 0.1"] == ("70\u202f%", "")
    assert rows["robust accuracy, l₂ ≤ 0.5"] == ("60\u202f%", "")
    assert rows["robust against all of these"][0] == "55\u202f%"
    assert len(parts.accuracy.accuracy_part([found])["pictures"]) == 3  # one a norm, and the classes


def test_summary_gives_the_counted_cost_and_the_measured_one_where_there_is_one():
    def cost(run):
        return next(row for row in parts.summary.summary_part([run])["rows"] if row[0] == "training cost")[1:3]

    assert cost(cases.training()) == ("3×", "of plain training, by passes a sample; 2.9× by wall time")
    assert cost(cases.training(measured_cost=None)) == ("3×", "of plain training, by passes a sample")


def test_a_failed_check_stands_on_the_first_screen_and_first_in_the_table():
    failed = cases.check(11, "unfinished optimisation", "fail", "The loss still moved by 9 % in the last 10 steps.")
    found = cases.evaluation(checks=(*cases.CHECKS, failed))
    assert parts.summary.summary_part([found])["failed"] == (failed,)
    view = parts.checks.checks_part([found])
    assert [check.verdict for check in view["checks"]] == ["fail", "warn", "pass", "pass", "not run"]
    assert view["counts"] == [("fail", 1), ("warn", 1), ("pass", 2), ("not run", 1)]


def test_nothing_lower_is_expected_below_0_percent():
    notes = parts.summary.summary_part(
        [cases.evaluation(robust=0.0001, quick=True).model_copy(update={"robust": 0.0})]
    )["notes"]
    assert notes == ["A quick look: fewer and weaker attacks than a full evaluation."]


def test_quick_and_upper_bound_are_said():
    notes = parts.summary.summary_part(
        [cases.evaluation(quick=True, upper_bound=True, upper_bound_reason="Stopped early.")]
    )["notes"]
    assert notes[0].startswith("A quick look")
    assert notes[1] == "The robust accuracy is only an upper bound. Stopped early."
    (unchecked,) = parts.summary.summary_part([cases.evaluation().model_copy(update={"unchecked": True})])["notes"]
    assert "switched off" in unchecked


def test_sizes_are_in_the_unit_that_was_asked_for():
    threat = ThreatModel("inf", "8/255")
    found = cases.evaluation(threats=(cases.threat_result(threat, 0.5),), baseline=None, per_class=())
    picture = parts.accuracy.accuracy_part([found])["pictures"][0]
    assert "50\u202f% at 8/255." in picture.alt
    drawn = base64.b64decode(picture.source.partition(",")[2]).decode()
    assert "in units of 1/255" in drawn


def test_the_curve_ends_where_the_last_model_has_fallen():
    curve = cases.threat_result(cases.THREAT, 0.5).curve
    early = curve.model_copy(update={"eps": (0.0, 0.1, 0.2, 0.4), "accuracy": (1.0, 0.5, 0.0, 0.0)})
    assert plots.curve_end([early], [cases.THREAT]) == 0.2
    assert plots.curve_end([early], [ThreatModel("inf", 0.3)]) == pytest.approx(0.36)


@pytest.mark.parametrize("part", ["class", "rule", "measured"])
def test_dollar_signs_of_the_users_are_not_formulas(part):
    if part == "class":
        names = tuple(f"{k}$ and ${k}_^" for k in range(10))
        assert len(parts.accuracy.accuracy_part([cases.evaluation(class_names=names)])["pictures"]) == 2
    elif part == "rule":
        record = cases.comparison()
        rules = tuple(rule.model_copy(update={"text": f"my{k}$x$^"}) for k, rule in enumerate(record.rules))
        assert parts.comparison.comparison_part([record.model_copy(update={"rules": rules, "differences": ()})])
    else:
        history = tuple(e.model_copy(update={"measured": {"cost in $^$": 1.0}}) for e in cases.training().history)
        assert len(parts.training.training_part([cases.training(history=history)])["pictures"]) == 3


def test_the_line_for_a_model_card():
    line = parts.summary.summary_part([cases.training(), cases.evaluation(robust=0.5)])["line"]
    assert line == (
        "cnn trained by dirichlet on digits: clean 97.2 % [95.5 to 98.9 %], robust 50 % [44.8 to 55.2 %] at inf:0.1 "
        "(every attack's worst case, 360 samples, no check failed)."
    )
    failed = cases.check(11, "unfinished optimisation", "fail", "The loss still moved.")
    assert "1 check failed" in parts.summary.summary_part([cases.evaluation(checks=(failed,))])["line"]
    assert parts.summary.summary_part([cases.training()])["line"] == ""


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1, 2])
def test_sentences_agree_with_their_numbers(number):
    """No sentence of the page says "1 samples" or "2 check"; 0 is written "no"."""
    some = [cases.check(k, f"check {k}", verdict, "Seen.") for verdict in ("fail", "warn", "pass", "not run")
            for k in range(number)]  # fmt: skip
    history = cases.training().history[: max(number, 1)]
    records = [
        cases.evaluation(samples=number, checks=tuple(some), gallery=cases.gallery(number)),
        cases.training(epochs=number, samples=number, history=history, processes=max(number, 1)),
        cases.diagnostics().model_copy(update={"samples": number}),
        cases.comparison().model_copy(update={"samples": number, "seeds": number}),
    ]
    for text in (re.sub(r"<[^>]*>", "", render(records)), markdown(records)):
        counted = re.findall(r"(?<![\d.,:])(\d+|no) (samples?|checks?|epochs?|seeds?|process(?:es)?)\b", text)
        assert counted
        assert [pair for pair in counted if (pair[0] == "1") == pair[1].endswith("s") and pair[1] != "process"] == []


def test_accuracy_figure_says_its_numbers_in_words():
    alt = parts.accuracy.accuracy_part([cases.evaluation(robust=0.5)])["pictures"][0].alt
    assert "this model: 50\u202f% at 0.1." in alt
    assert "undefended baseline: 3.1\u202f% at 0.1." in alt


def test_without_curves_there_is_no_figure_but_the_attacks_remain():
    result = cases.threat_result(cases.THREAT, 0.5).model_copy(update={"curve": None})
    view = parts.accuracy.accuracy_part([cases.evaluation(threats=(result,), baseline=None, per_class=())])
    assert view["pictures"] == []
    assert len(view["attacks"]) == 2


def test_gallery_draws_images_and_describes_tabular_samples_without():
    ((_, (card, *_)),) = parts.gallery.gallery_part(RECORDS)["groups"]
    assert all(uri.startswith("data:image/png;base64,") for uri in (card.input, card.change, card.adversarial))
    flat = tuple(example.model_copy(update={"shape": (64,)}) for example in cases.gallery(2))
    view = parts.gallery.gallery_part([cases.evaluation(gallery=flat)])
    assert [card.input for card in view["groups"][0][1]] == [None, None]
    assert not view["images"]
    assert (
        len(parts.gallery.gallery_part([cases.evaluation(gallery=cases.gallery(30))])["groups"][0][1])
        == parts.gallery.LIMIT
    )


def test_the_gallery_shows_successful_attacks_first_and_names_the_classes():
    near, far = cases.gallery(2)
    far = far.model_copy(update={"distance": 0.3})
    names = tuple(f"digit {k}" for k in range(10))
    (first, inside), (second, beyond) = parts.gallery.gallery_part(
        [cases.evaluation(gallery=(far, near), class_names=names)]
    )["groups"]
    assert (first, second) == ("Inside the threat: attacks that succeeded", "Beyond the threat: what it would take")
    assert [card.example.index for card in (*inside, *beyond)] == [near.index, far.index]
    assert (inside[0].label, inside[0].predictions[1]) == ("digit 0", "digit 5")
    assert inside[0].size == "l∞ size 0.1"
    assert beyond[0].size == "l∞ size 0.3, the threat allows 0.1"


def test_gradients_compare_the_energies_around_the_samples():
    record = cases.diagnostics()
    assert (
        "× less with the input than the undefended baseline's" in parts.gradients.gradients_part([record])["sentence"]
    )
    swapped = record.model_copy(update={"model": record.baseline, "baseline": record.model})
    assert "× more with the input than" in parts.gradients.gradients_part([swapped])["sentence"]
    same = record.model_copy(update={"baseline": record.model})
    assert (
        "change about as much with the input as the undefended baseline's"
        in parts.gradients.gradients_part([same])["sentence"]
    )
    assert parts.gradients.gradients_part([record.model_copy(update={"baseline": None})])["sentence"] == ""


def test_gradients_that_vanish_everywhere_are_still_drawn():
    record = cases.diagnostics()
    still = record.model.model_copy(update={"norms": (0.0,) * 5})
    picture = parts.gradients.gradients_part([record.model_copy(update={"model": still, "baseline": None})])[
        "pictures"
    ][1]
    assert "5 gradients are exactly zero" in picture.caption


def test_training_draws_what_the_record_has():
    names = [picture.alt.partition(" against")[0] for picture in parts.training.training_part(RECORDS)["pictures"]]
    assert names == ["training loss", "validation accuracy", "risk", "energy"]
    captions = [picture.caption for picture in parts.training.training_part(RECORDS)["pictures"]]
    assert captions[1] == (
        "The share of unperturbed validation samples that are classified correctly. "
        "It rose from 37.5\u202f% to 97.4\u202f%."
    )
    assert captions[2].endswith("without the rule's penalty. It fell from 1.2 to 0.222.")
    bare = tuple(e.model_copy(update={"validation_accuracy": None, "measured": {}}) for e in cases.training().history)
    assert len(parts.training.training_part([cases.training(history=bare, baseline=None)])["pictures"]) == 1


def test_provenance_holds_commands_seed_settings_and_versions():
    view = parts.provenance.provenance_part(RECORDS)
    assert view["commands"] == [cases.training().command, cases.evaluation().command]
    assert ("seed of training", 0) in view["settings"]
    assert view["rule_settings"]["measure"] == "Ball(scale=1)"
    assert view["versions"]["pyautoattack"] == "0.2.0"


@pytest.mark.parametrize("part", parts.PARTS, ids=lambda part: part.name)
def test_a_part_without_its_record_is_left_out_and_two_runs_are_refused(part):
    assert part.build([]) is None
    records = [*RECORDS, cases.comparison()]
    with pytest.raises(ConfigError, match=r"A report speaks of one run, but 2 .* records were given"):
        part.build(records + records)
