"""Networks: real classifiers, and holomorphic building blocks."""
