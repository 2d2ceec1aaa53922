"""Integrals over a line, a plane or a space, with an error that can be believed."""
