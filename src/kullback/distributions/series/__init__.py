"""Sums over the integers, with an error."""
