"""Attacks: on trained models (evasion) and on training sets (poisoning)."""
