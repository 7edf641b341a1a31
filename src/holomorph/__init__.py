"""Classifiers that withstand adversarial examples, by complex and harmonic analysis, with the reasons why."""
