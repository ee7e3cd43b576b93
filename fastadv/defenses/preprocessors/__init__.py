"""Defenses that stand between the input and a trained model."""
