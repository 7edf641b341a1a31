"""What can be proved: radii up to which no change of an input alters the answer."""

from holomorph.certification.certify import certify
from holomorph.certification.smoothing import Smoothed

__all__ = ["Smoothed", "certify"]
