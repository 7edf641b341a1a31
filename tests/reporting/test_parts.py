"""What the parts say, read from their data and not from the HTML."""

import pytest

import hand_made as cases
from holomorph.errors import ConfigError
from holomorph.reporting.parts import PARTS, accuracy, checks, gallery, gradients, provenance, summary, training
from holomorph.threats import ThreatModel

RECORDS = cases.all_records()


def test_headline_states_the_figures_of_both_models_and_what_the_attacker_may_do():
    headline = summary.build([cases.evaluation(robust=0.5)])["headline"]
    assert headline == (
        "50\u202f% of 360 samples are still classified correctly where every input value may change by up to 0.1. "
        "The undefended baseline, attacked in the same way, keeps 3.1\u202f%."
    )


def test_summary_has_one_row_a_threat_and_one_for_their_union():
    second = ThreatModel(2, 0.5)
    found = cases.evaluation(
        threats=(cases.threat_result(cases.THREAT, 0.7), cases.threat_result(second, 0.6)), robust=0.55, baseline=None
    )
    rows = {name: (own, other) for name, own, _, other in summary.build([found])["rows"]}
    assert rows["robust accuracy, l∞ ≤ 0.1"] == ("70\u202f%", "")
    assert rows["robust accuracy, l₂ ≤ 0.5"] == ("60\u202f%", "")
    assert rows["robust against all of these"][0] == "55\u202f%"
    assert len(accuracy.build([found])["pictures"]) == 3  # one a norm, and the classes


def test_summary_gives_the_counted_cost_and_the_measured_one_where_there_is_one():
    def cost(run):
        return next(row for row in summary.build([run])["rows"] if row[0] == "training cost")[1:3]

    assert cost(cases.training()) == ("3×", "of plain training, by passes a sample; 2.9× by wall time")
    assert cost(cases.training(measured_cost=None)) == ("3×", "of plain training, by passes a sample")


def test_a_failed_check_stands_on_the_first_screen_and_first_in_the_table():
    failed = cases.check(11, "unfinished optimisation", "fail", "The loss still moved by 9 % in the last 10 steps.")
    found = cases.evaluation(checks=(*cases.CHECKS, failed))
    assert summary.build([found])["failed"] == (failed,)
    view = checks.build([found])
    assert [check.verdict for check in view["checks"]] == ["fail", "warn", "not run", "pass", "pass"]
    assert view["counts"] == [("fail", 1), ("warn", 1), ("not run", 1), ("pass", 2)]


def test_quick_and_upper_bound_are_said():
    notes = summary.build([cases.evaluation(quick=True, upper_bound=True, upper_bound_reason="Stopped early.")])[
        "notes"
    ]
    assert notes[0].startswith("A quick look")
    assert notes[1] == "The robust accuracy is only an upper bound. Stopped early."


def test_accuracy_figure_says_its_numbers_in_words():
    alt = accuracy.build([cases.evaluation(robust=0.5)])["pictures"][0].alt
    assert "this model: 50\u202f% at 0.1." in alt
    assert "undefended baseline: 3.1\u202f% at 0.1." in alt


def test_without_curves_there_is_no_figure_but_the_attacks_remain():
    result = cases.threat_result(cases.THREAT, 0.5).model_copy(update={"curve": None})
    view = accuracy.build([cases.evaluation(threats=(result,), baseline=None, per_class=())])
    assert view["pictures"] == []
    assert len(view["attacks"]) == 2


def test_gallery_draws_images_and_describes_tabular_samples_without():
    card = gallery.build(RECORDS)["cards"][0]
    assert all(uri.startswith("data:image/png;base64,") for uri in (card.input, card.change, card.adversarial))
    flat = tuple(example.model_copy(update={"shape": (64,)}) for example in cases.gallery(2))
    tabular = gallery.build([cases.evaluation(gallery=flat)])["cards"]
    assert [card.input for card in tabular] == [None, None]
    assert len(gallery.build([cases.evaluation(gallery=cases.gallery(30))])["cards"]) == gallery.LIMIT


def test_gradients_say_how_many_times_smaller_the_median_is():
    record = cases.diagnostics()
    assert gradients.build([record])["ratio"].endswith("×")
    swapped = record.model_copy(update={"model": record.baseline, "baseline": record.model})
    assert gradients.build([swapped])["ratio"] is None


def test_gradients_that_vanish_everywhere_are_still_drawn():
    record = cases.diagnostics()
    still = record.model.model_copy(update={"norms": (0.0,) * 5})
    picture = gradients.build([record.model_copy(update={"model": still, "baseline": None})])["pictures"][0]
    assert "5 gradients are exactly zero" in picture.caption


def test_training_draws_what_the_record_has():
    names = [picture.alt.partition(" against")[0] for picture in training.build(RECORDS)["pictures"]]
    assert names == ["training loss", "validation accuracy", "risk", "energy"]
    bare = tuple(e.model_copy(update={"validation_accuracy": None, "measured": {}}) for e in cases.training().history)
    assert len(training.build([cases.training(history=bare, baseline=None)])["pictures"]) == 1


def test_provenance_holds_commands_seed_settings_and_versions():
    view = provenance.build(RECORDS)
    assert view["commands"] == [cases.training().command, cases.evaluation().command]
    assert ("seed of training", 0) in view["settings"]
    assert view["rule_settings"]["measure"] == "Ball(scale=1)"
    assert view["versions"]["pyautoattack"] == "0.2.0"


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_a_part_without_its_record_is_left_out_and_two_runs_are_refused(part):
    assert part.build([]) is None
    records = [*RECORDS, cases.comparison()]
    with pytest.raises(ConfigError, match=r"A report speaks of one run, but 2 .* records were given"):
        part.build(records + records)
