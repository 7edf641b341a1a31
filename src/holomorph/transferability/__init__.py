"""Transferability: which models' adversarial examples fool which others, measured and predicted."""
