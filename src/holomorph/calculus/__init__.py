"""Analytic quantities of any differentiable callable; knows nothing of training."""
