"""Sums, growing radii, the ascent measure, and rules read from text."""

import pytest
import torch

from holomorph.calculus.measures import Ball, Samples
from holomorph.calculus.norms import norm
from holomorph.errors import ConfigError
from holomorph.rules import PGD, Ascent, Dirichlet, FiniteEnergy, FreeAT, Growing, Plain, Sum, build_rule, parse
from holomorph.rules.registry import COMPLEX, RULES
from holomorph.threats import ThreatModel
from rule_cases import batch, network

THREAT = ThreatModel("inf", 0.1)


def test_a_sum_is_the_sum():
    model, (x, y) = network(norm=False), batch()
    parts = [Plain(), PGD(THREAT, random_start=False)]
    expected = 0.3 * parts[0](model, x, y) + 2 * parts[1](model, x, y)
    rule = Sum(parts, weights=(0.3, 2.0))
    assert torch.isclose(rule(model, x, y), expected)
    assert rule.cost.passes == Plain().cost.passes + parts[1].cost.passes
    assert Sum([Plain(), FreeAT(THREAT)]).replays == 8
    with pytest.raises(ConfigError, match="1 rules and 2 weights"):
        Sum([Plain()], weights=(1.0, 2.0))


def test_a_sum_passes_progress_and_state_on():
    model, (x, y) = network(norm=False), batch()
    rule = Sum([Dirichlet(THREAT), FiniteEnergy(THREAT, seed=4)])
    rule.progress = 0.0
    rule(model, x, y)
    assert all(part.progress == 0.0 for part in rule.rules)
    other = Sum([Dirichlet(THREAT, seed=7), FiniteEnergy(THREAT, seed=8)])
    other.progress = rule.progress
    other.load_state_dict(rule.state_dict())
    assert torch.equal(rule(model, x, y), other(model, x, y))


@pytest.mark.parametrize("progress", [0.0, 0.25, 0.5, 1.0])
def test_growing_is_the_rule_at_the_smaller_radius(progress):
    model, (x, y) = network(norm=False), batch()
    share = 0.2 + 0.8 * min(1.0, progress / 0.5)
    smaller = ThreatModel("inf", 0.1 * share)
    for make in (lambda t: PGD(t), lambda t: FiniteEnergy(t, ramp=0.0, measure=Ball(t, scale=1.5))):
        rule, expected = Growing(make(THREAT), start=0.2, over=0.5), make(smaller)
        rule.progress = expected.progress = progress
        assert torch.isclose(rule(model, x, y), expected(model, x, y))
        assert rule.settings()["rule"]["threat"]["eps"] == 0.1
    with pytest.raises(ConfigError, match="no radius"):
        Growing(Plain())


@pytest.mark.parametrize("threat", [THREAT, ThreatModel(2, 0.5), ThreatModel(1, 1.0)], ids=str)
def test_ascent_measure_climbs_by_its_fraction(threat):
    model, (x, y) = network(norm=False), batch()
    x = 0.25 + x / 2  # away from the walls of the box
    rule = FiniteEnergy(threat, measure=Ascent(threat, steps=4, fraction=0.4))
    drawn = rule.measure.draw(x, rule.generator, y, rule.sample_loss(model, y))
    assert (norm(drawn - x, threat.p) <= 0.4 * threat.radius + 1e-12).all()
    assert (rule.risk(model(drawn), y) > rule.risk(model(x), y)).all()
    with pytest.raises(ConfigError, match="climbs a loss"):
        Ascent(threat).draw(x, rule.generator)


def test_rules_are_read_from_text():
    rule = parse(
        "dirichlet(weight=2, measure=ball(scale=1.5, clip=False)) + 0.5*nfgsm(noise=1) + plain", THREAT, seed=3
    )
    assert rule.weights == (1.0, 0.5, 1.0)
    dirichlet, nfgsm, plain = rule.rules
    assert dirichlet.measure == Ball(THREAT, 1.5, clip=False)
    assert (nfgsm.noise, plain.seed, nfgsm.seed) == (1, 3, 3)
    assert parse("finite(measure=samples)", THREAT).measure == Samples()
    growing = parse("growing(pgd(steps=3), start=0.5)", THREAT, seed=2)
    assert (growing.rule.steps, growing.start, growing.rule.seed) == (3, 0.5, 2)


def test_every_rule_is_read_by_its_name():
    for name, rule in {**RULES, **COMPLEX}.items():
        assert type(parse(name, THREAT)) is rule
    rule = parse("cauchy-riemann(weight=2) + 0.1*maximum-margin(temperature=1)", THREAT)
    assert [part.name for part in rule.rules] == ["cauchy-riemann", "maximum-margin"]


def test_true_and_false_are_no_words():
    assert parse("finite(clip=false)", THREAT).clip is False
    assert parse("pgd(random_start=true)", THREAT).random_start is True
    assert parse("finite(kept=None)", THREAT).kept is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dirichle", "Did you mean 'dirichlet'"),
        ("dirichlet(wieght=2)", "Did you mean 'weight'"),
        ("dirichlet(measure=bal)", "Unknown measure 'bal'. Did you mean 'ball'"),
        ("dirichlet(measure=ball(scal=2))", "Did you mean 'scale'"),
        ("dirichlet(2)", "Cannot read the rule"),
        ("dirichlet(", "Cannot read the rule"),
        ("pgd - plain", "Cannot read the rule"),
        ("pgd(steps=__import__('os'))", "not a number, a word or a list"),
        ("dirichlet(measure=ball(2))", "Name its settings, as in ball(scale=1.5)"),
        ("dirichlet(measure=ball(scale=wide))", "scale is 'wide'; it must be a number"),
        ("dirichlet(measure=ascent(steps=0))", "steps is 0; it must be at least 1"),
        ("growing(pgd, strat=0.2)", "Did you mean 'start'"),
        ("growing", "growing takes one rule whose radius grows"),
        ("growing(pgd, start=early)", "start is 'early'; it must be a number"),
        ("finite(weight=high)", "weight is 'high'; it must be a number"),
        ("finite(segments=2.5)", "segments is 2.5; it must be a whole number"),
        ("finite(clip=1)", "clip is 1; it must be true or false"),
        ("pgd(steps=2.5)", "steps is 2.5; it must be a whole number"),
        ("pgd(steps=true)", "steps is True; it must be a whole number"),
        ("pgd(**{'steps': 3})", "Cannot read the rule"),
        ("'a'*pgd + plain", "Cannot read the rule"),
        ("trades(beta=-6)", "beta is -6; it must not be negative"),
        ("nfgsm(noise=-1)", "noise is -1; it must not be negative"),
        ("cauchy-rieman", "Did you mean 'cauchy-riemann'"),
        ("pgd(steps=0)", "steps is 0; it must be at least 1"),
    ],
)
def test_mistakes_in_texts_are_explained(text, message):
    with pytest.raises(ConfigError) as caught:
        parse(text, THREAT)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["weakly-harmonic", "weakly_harmonic", "cauchy_riemann", "cauchy-riemann(weight=2)"])
def test_names_are_read_with_hyphens_and_with_underscores(text):
    assert parse(text, THREAT).name == text.partition("(")[0].replace("_", "-")


@pytest.mark.parametrize("word", ["finite-difference", "finite_difference"])
def test_words_for_settings_are_read_with_hyphens_and_with_underscores(word):
    rule = parse(f"dirichlet(estimator={word})", THREAT)
    assert rule.estimator == "finite-difference"
    assert build_rule("dirichlet", THREAT, estimator=word).estimator == "finite-difference"
