"""Attacks: callables that propose adversarial inputs, with their needs as data."""
