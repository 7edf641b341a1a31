"""Models and loops from elsewhere."""
