"""Divergence from the counts of discrete draws: frequencies, with their bias taken off."""

from kullback.samples.discrete.plug_in import plug_in

__all__ = ["plug_in"]
