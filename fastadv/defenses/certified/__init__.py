"""Defenses that certify what no attack within a distance can change."""
