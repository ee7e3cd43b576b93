"""Defenses that train in their own way."""
