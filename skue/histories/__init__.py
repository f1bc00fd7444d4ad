"""Interaction histories: the container, the forms of X, files and splits."""
