"""Attacks and their verification: adapters, the evaluator, its checks of itself, the audit."""
