"""Showing which layer loses what: on the terminal, as a picture, and as files in a folder."""
