"""Instruments of the studies: planar data, angles, separability, convergence. No part of the core's path."""
