"""Instruments of the studies: planar data, angles, separability, experts, convergence. No part of the core's path."""
