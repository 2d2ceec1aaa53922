"""Means over draws, with an interval and a word on whether to lean on it."""
