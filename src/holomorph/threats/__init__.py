"""Threat models: what an attacker may change, in one radius for all or feature by feature."""

from holomorph.threats.model import ThreatModel

__all__ = ["ThreatModel"]
