"""Small tools that several packages share and that know nothing of robustness."""
