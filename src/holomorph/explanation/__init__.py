"""Explanations: margins, energies, harmonicity and the shape of the boundary, measured on a model."""
