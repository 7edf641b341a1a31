"""Training: the loop, its checkpoints, and the run folder."""
