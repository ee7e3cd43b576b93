"""Defenses, by the moment at which they act."""
