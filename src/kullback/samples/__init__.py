"""Divergence from samples alone: draws on both sides, or draws against a density."""
