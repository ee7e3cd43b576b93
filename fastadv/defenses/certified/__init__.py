"""Defenses that prove what no attack within a distance can change."""
