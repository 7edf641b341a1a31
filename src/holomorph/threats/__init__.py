"""Threat models: what an attacker may change, in one radius for all or feature by feature."""

from holomorph.threats.model import ThreatModel
from holomorph.threats.neighbours import relative

__all__ = ["ThreatModel", "relative"]
