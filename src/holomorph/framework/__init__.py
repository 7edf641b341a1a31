"""The explanations: what adversarial examples are, why they transfer, what training removes, measured on a model."""
